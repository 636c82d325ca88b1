"""Which DICOM objects aren't pictures of anatomy, what to call them, and what to do instead.

Leaves out pictures of every kind, which ``dicom_headers`` describes.
"""

from __future__ import annotations

from pydicom import Dataset

_SCAN = "Open the scan that it belongs to."
_SEGMENTATION = "Open the scan that it was drawn on, and this file as a mask."
_SLIDE = "Whole-slide tiles aren't supported; export a region of the slide as TIFF and open that."

# Modality (0008,0060) -> what it is, what to do.
_MODALITIES = {
    "SEG": ("a segmentation (DICOM SEG)", _SEGMENTATION),
    "RTSTRUCT": ("a radiotherapy structure set (RTSTRUCT)", _SCAN),
    "RTDOSE": ("a radiotherapy dose grid (RTDOSE)", _SCAN),
    "RTPLAN": ("a radiotherapy plan (RTPLAN)", _SCAN),
    "RTRECORD": ("a radiotherapy treatment record (RTRECORD)", _SCAN),
    "SR": ("a structured report (SR)", _SCAN),
    "PR": ("a presentation state (PR)", _SCAN),
    "KO": ("a key object note (KO)", _SCAN),
    "REG": ("a registration (REG)", _SCAN),
    "FID": ("a set of fiducial points (FID)", _SCAN),
    "RWV": ("a real-world value map (RWV)", _SCAN),
    "DOC": ("an encapsulated document (DOC)", _SCAN),
    "M3D": ("a 3D model (M3D)", _SCAN),
    "ECG": ("an electrocardiogram (ECG)", _SCAN),
    "HD": ("a haemodynamic recording (HD)", _SCAN),
    "AU": ("a sound recording (AU)", _SCAN),
    "PLAN": ("a plan", _SCAN),
    "ANN": ("a set of slide annotations (ANN)", _SLIDE),
    "SM": ("a whole-slide microscopy scan (SM)", _SLIDE),
}
# SOP classes by the start of their UID after 1.2.840.10008.5.1.4.1.1; the longest start counts.
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = {
    "66.1": "REG",
    "66.2": "FID",
    "66.3": "REG",
    "66.4": "SEG",
    "66.5": "SEG",
    "66.7": "SEG",
    "67": "RWV",
    "77.1.6": "SM",
    "88": "SR",
    "9": "ECG",
    "11": "PR",
    "104": "DOC",
    "481.2": "RTDOSE",
    "481.3": "RTSTRUCT",
    "481.4": "RTRECORD",
    "481.5": "RTPLAN",
    "481.6": "RTRECORD",
    "481.7": "RTRECORD",
    "481.8": "RTPLAN",
    "481.9": "RTRECORD",
    "91.1": "ANN",
}
_DIRECTORY = "1.2.840.10008.1.3.10"


def refusal(dataset: Dataset) -> tuple[str, str] | None:
    """(what the object is, what to do) for an object that isn't a picture of anatomy, else None.

    The SOP class decides, then the modality. Raises what pydicom raises about broken values.
    """
    uid = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if uid == _DIRECTORY or "DirectoryRecordSequence" in dataset:
        return "an index of other files (DICOMDIR)", "Open the folder that it lies in."
    parts = uid.removeprefix(_STORAGE).split(".") if uid.startswith(_STORAGE) else []
    for length in range(len(parts), 0, -1):
        kind = _CLASSES.get(".".join(parts[:length]))
        if kind:
            return _MODALITIES[kind]
    return _MODALITIES.get(str(dataset.get("Modality") or "").strip().upper())


def is_segmentation(dataset: Dataset) -> bool:
    """Whether a dataset is a DICOM SEG."""
    return refusal(dataset) == _MODALITIES["SEG"]
