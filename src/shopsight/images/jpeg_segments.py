"""The segments of a JPEG: what stands before its coded data, between the markers."""

from __future__ import annotations

from collections.abc import Iterator

FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers. DHT, JPG and DAC lie in the same range and are not frames."""

SEQUENTIAL_FRAMES = frozenset({0xC0, 0xC1, 0xC9})
"""Frames whose scans hold all coefficients: baseline and extended."""

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9

_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk over the segments before the first scan.

    Yields:
        The marker's second byte, and where the segment's content starts and ends in `data`. The
        end lies beyond `data` when the file is cut off there.
    """
    at, size = 2, len(data)
    while at + 4 <= size:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:
            at += 1  # Stray bytes or padding between segments: the decoder judges them.
        elif marker in _STANDALONE_MARKERS:
            at += 2
        elif marker in {START_OF_SCAN, END_OF_IMAGE}:
            return
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, at + 4, end
            at = max(end, at + 2)
