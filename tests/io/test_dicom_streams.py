"""Broken compressed streams are recognised before GDCM sees them, which would end the process."""

from __future__ import annotations

import pytest

from napari_ibisagent.io.dicom_streams import is_sound


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
FRAME = segment(0xC3, bytes([16]) + (6).to_bytes(2, "big") + (9).to_bytes(2, "big") + bytes([1, 1, 0x11, 0]))
TABLE = segment(0xC4, bytes([0, 0, 3]) + bytes(14) + bytes([0, 1, 2]))
SCAN = segment(0xDA, bytes([1, 1, 0, 1, 0, 0])) + b"data" + b"\xff\xd9\0"
START = b"\xff\xd8"


@pytest.mark.parametrize("stream", [START + JFIF + FRAME + TABLE + SCAN, START + TABLE + FRAME + SCAN])
def test_sound_streams(stream: bytes) -> None:
    assert is_sound(stream, 6, 9, 1)
    assert not is_sound(stream, 9, 6, 1) and not is_sound(stream, 6, 9, 3)
    assert not is_sound(stream[:-3], 6, 9, 1)  # the end of the picture is missing


@pytest.mark.parametrize("stop", range(0, len(START + JFIF + FRAME + TABLE) + 8, 3))
def test_streams_cut_in_their_headers(stop: int) -> None:
    assert not is_sound((START + JFIF + FRAME + TABLE + SCAN)[:stop], 6, 9, 1)


@pytest.mark.parametrize(
    "parts",
    [
        (JFIF.replace(b"JFIF\0\1", b"JFIF\0\7"), FRAME, TABLE, SCAN),
        (segment(0xEE, b"Adobe\0\x64\0\0\0\0\2"), FRAME, TABLE, SCAN),
        (segment(0xD5, b""), FRAME, TABLE, SCAN),
        (FRAME, FRAME, TABLE, SCAN),
        (FRAME, SCAN),
        (FRAME, TABLE.replace(bytes([0, 0, 3]), bytes([0, 3, 0])), SCAN),
        (FRAME, TABLE, SCAN.replace(bytes([1, 1, 0, 1]), bytes([1, 9, 0, 1]))),
    ],
    ids=["jfif", "adobe", "marker", "two frames", "no table", "overfull table", "unknown component"],
)
def test_streams_with_broken_headers(parts: tuple[bytes, ...]) -> None:
    assert not is_sound(START + b"".join(parts), 6, 9, 1)
