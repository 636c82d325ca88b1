"""Files in and out: scans and masks to ``Volume`` (``read``), labels to the scan's own grid (``labels``)."""
