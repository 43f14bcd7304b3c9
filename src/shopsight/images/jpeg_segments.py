"""The segments of a JPEG: what stands before its coded data, between the markers."""

from __future__ import annotations

import re
from collections.abc import Iterator

FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers. DHT, JPG and DAC lie in the same range and are not frames."""

SEQUENTIAL_FRAMES = frozenset({0xC0, 0xC1, 0xC9})
"""Frames whose scans hold all coefficients: baseline and extended."""

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9

MOST_SEGMENTS = 20_000
"""More are not looked at: cameras write a dozen, and 4,000 hold as much as the largest file."""

# What is neither a stray byte nor padding, nor a marker without content.
_MARKER = re.compile(rb"\xff[^\x01\xd0-\xd8\xff]", re.DOTALL)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk over the segments before the first scan.

    Yields:
        The marker's second byte, and where the segment's content starts and ends in `data`. The
        end lies beyond `data` when the file is cut off there.
    """
    at = 2
    for _ in range(MOST_SEGMENTS):
        # Stray bytes and padding between segments are passed over: the decoder judges them.
        found = _MARKER.search(data, at)
        if found is None or found.start() + 4 > len(data):
            return
        at = found.start()
        marker = data[at + 1]
        if marker in {START_OF_SCAN, END_OF_IMAGE}:
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, end
        at = max(end, at + 2)
