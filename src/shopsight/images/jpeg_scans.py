"""The scans of a JPEG: how many it has, and how much memory it takes that there are several.

Where one scan holds everything, each row of blocks is decoded and forgotten. Where there are
several (of progressive JPEGs, and of those whose components come one after the other), the decoder
keeps all coefficients of the image until the last scan, two bytes each, whatever the size to which
it shrinks it. And a scan of 14 bytes can ask it to go through all of them once more.
"""

from __future__ import annotations

from shopsight.errors import ImageError
from shopsight.images.jpeg_segments import START_OF_SCAN

MAX_SCANS = 100
"""An encoder writes 6 to 20, libjpeg-turbo suggests to stop at 500.

A scan costs up to .5 ns per pixel however few bytes it has (two cores of an x86 server): 100 of
them at most 9 s of an image of `pixel_limit.MAX_PIXELS`, .05 s of one megapixel.
"""

_SCAN = bytes([0xFF, START_OF_SCAN])
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BLOCK_PX, _BLOCK_BYTES = 8, 128


def coefficient_bytes(
    data: bytes, frame: tuple[int, int, int], behind_header: int, *, where: str | None
) -> int:
    """How much memory the coefficients take that are kept while a JPEG is decoded.

    Args:
        data: the file.
        frame: the frame segment, as `jpeg_segments.segments` yields it, with all its components.
        behind_header: where to look for the first scan.
        where: the file's name, for the error.

    Returns:
        Bytes; 0 where one scan holds everything.

    Raises:
        ImageError: "unsupported", more than `MAX_SCANS` scans.
    """
    marker, start, end = frame
    scan = data.find(_SCAN, behind_header)
    if scan < 0 or scan + 4 >= len(data):
        return 0  # No pixels: decoding says so.
    if marker not in _PROGRESSIVE and data[scan + 4] >= data[start + 5]:
        return 0
    count = data.count(_SCAN, scan)
    if count > MAX_SCANS:
        what = f"a JPEG of {count:,} scans, more than {MAX_SCANS}; save it as an ordinary JPEG"
        raise ImageError("unsupported", what, where=where)
    height = int.from_bytes(data[start + 1 : start + 3], "big")
    width = int.from_bytes(data[start + 3 : start + 5], "big")
    # From the seventh byte on, each component has 3: its number, sampling, and table.
    sampling = [(data[at] >> 4, data[at] & 15) for at in range(start + 7, end, 3)]
    if not sampling:
        return 0
    widest = max(1, *(across for across, _ in sampling))
    highest = max(1, *(down for _, down in sampling))
    units = -(-width // (_BLOCK_PX * widest)) * -(-height // (_BLOCK_PX * highest))
    return units * sum(across * down for across, down in sampling) * _BLOCK_BYTES
