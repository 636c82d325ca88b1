"""Whether a compressed picture (JPEG, JPEG-LS) is one that its DICOM header announces.

GDCM ends the whole process, not only the call, on some broken streams; so they are looked over first. Checks
the markers before the coded data and that the end is there. Leaves out the coded data themselves.
Source: ISO/IEC 10918-1 annex B, 14495-1 annex C.
"""

from __future__ import annotations

from collections.abc import Iterator

_SOS, _DHT = 0xDA, 0xC4
# Tables, restart interval, JPEG-LS parameters, comment, applications.
_OTHERS = {_SOS, _DHT, 0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}
# Start of frame: JPEG (without the markers among them that mean something else), and JPEG-LS.
_SOF = {*range(0xC0, 0xD0), 0xF7} - {_DHT, 0xC8, 0xCC}


def is_sound(stream: bytes, rows: int, columns: int, samples: int) -> bool:
    """Whether ``stream`` holds a picture of this size, and all of its markers make sense."""
    if not stream.startswith(b"\xff\xd8\xff"):
        return False
    try:
        segments = list(_segments(stream))
        return _is_sound_jpeg(segments, rows, columns, samples) and stream.rfind(b"\xff\xd9") > 0
    except IndexError:
        return False


def _number(data: bytes, offset: int, size: int) -> int:
    """An unsigned big-endian number. Raises IndexError beyond the end."""
    if offset + size > len(data):
        raise IndexError(offset)
    return int.from_bytes(data[offset : offset + size], "big")


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of the segments up to the start of the scan; IndexError when they don't fit."""
    offset = 2
    while True:
        if _number(stream, offset, 1) != 0xFF:
            raise IndexError(offset)
        marker = _number(stream, offset + 1, 1)
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        length = _number(stream, offset + 2, 2)
        if length < 2 or offset + 2 + length > len(stream):
            raise IndexError(offset)
        yield marker, stream[offset + 4 : offset + 2 + length]
        if marker == _SOS:
            return
        offset += 2 + length


def _is_sound_jpeg(segments: list[tuple[int, bytes]], rows: int, columns: int, samples: int) -> bool:
    if not all(_is_known(marker, payload) for marker, payload in segments):
        return False
    frames = [payload for marker, payload in segments if marker in _SOF]
    lossless_ls = any(marker == 0xF7 for marker, _ in segments)
    if len(frames) != 1 or not 2 <= _number(frames[0], 0, 1) <= 16:
        return False
    frame = frames[0]
    size = (_number(frame, 1, 2), _number(frame, 3, 2), _number(frame, 5, 1))
    if size != (rows, columns, samples) or len(frame) != 6 + 3 * samples:
        return False
    names = {frame[6 + 3 * n] for n in range(samples)}
    factors = [(frame[7 + 3 * n] >> 4, frame[7 + 3 * n] & 15) for n in range(samples)]
    if len(names) != samples or any(not (1 <= h <= 4 and 1 <= v <= 4) for h, v in factors):
        return False
    tables = _huffman_tables(segments)
    return tables is not None and _is_sound_scan(segments[-1][1], names, None if lossless_ls else tables)


def _is_known(marker: int, payload: bytes) -> bool:
    """Whether a segment may come before a scan, and JFIF and Adobe ones are of a kind that GDCM survives."""
    if marker == 0xE0 and payload.startswith(b"JFIF\0"):
        return _number(payload, 5, 1) == 1
    if marker == 0xEE and payload.startswith(b"Adobe"):
        return _number(payload, 11, 1) <= 1
    return marker in _SOF or marker in _OTHERS


def _huffman_tables(segments: list[tuple[int, bytes]]) -> set[int] | None:
    """The numbers of the direct-current (and lossless) tables, or None where a table is broken."""
    tables = set()
    for marker, payload in segments:
        offset = 0
        while marker == _DHT and offset < len(payload):
            kind, counts = _number(payload, offset, 1), payload[offset + 1 : offset + 17]
            # A prefix code can't have more words than its tree has leaves.
            room = sum(count << (16 - length) for length, count in enumerate(counts, start=1))
            if len(counts) != 16 or kind >> 4 > 1 or kind & 15 > 3 or room > 1 << 16 or sum(counts) > 256:
                return None
            offset += 17 + sum(counts)
            if offset > len(payload):
                return None
            if kind >> 4 == 0:
                tables.add(kind & 15)
    return tables


def _is_sound_scan(scan: bytes, names: set[int], tables: set[int] | None) -> bool:
    """Whether a scan header names components of the frame, and tables that exist (None: it has none)."""
    count = _number(scan, 0, 1)
    if not 1 <= count <= len(names) or len(scan) != 4 + 2 * count:
        return False
    chosen = [(scan[1 + 2 * n], scan[2 + 2 * n] >> 4) for n in range(count)]
    return all(name in names and (tables is None or table in tables) for name, table in chosen)
