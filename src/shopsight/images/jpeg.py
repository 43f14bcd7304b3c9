"""JPEG: what the header says, and decoding at 1/1, 1/2, 1/4 or 1/8 of the size.

Scaling happens inside the inverse DCT, which is where the speed comes from. Other scales than
powers of two are slower than a full decode.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from shopsight.errors import ImageError

SIGNATURE = b"\xff\xd8\xff"
SHRINKS = (8, 4, 2, 1)

_END_MARKER = b"\xff\xd9"
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END_OF_IMAGE, _APP1, _APP2 = 0xDA, 0xD9, 0xE1, 0xE2
_EXIF = b"Exif\x00\x00"
_ICC = b"ICC_PROFILE\x00"
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the pixels say; width and height as stored, before orientation."""

    width: int
    height: int
    components: int
    orientation: int
    profile: bytes | None


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end (of what follows the length) of each segment before the first scan."""
    at, size = 2, len(data)
    while at + 4 <= size:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:
            at += 1  # Stray bytes or padding between segments: the decoder judges them.
        elif marker in _STANDALONE_MARKERS:
            at += 2
        elif marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            return
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, at + 4, end
            at = max(end, at + 2)


def jpeg_header(data: bytes, *, where: str | None = None) -> JpegHeader:
    """What the segments up to the first scan say.

    Raises:
        ImageError: the file ends before a frame header.
    """
    frame: tuple[int, int, int] | None = None
    orientation = 1
    profile_parts: dict[int, bytes] = {}
    for marker, start, end in segments(data):
        if marker in FRAME_MARKERS and end - start >= 6 and end <= len(data):
            height, width, components = struct.unpack_from(">xHHB", data, start)
            frame = (width, height, components)
        elif marker == _APP1 and data.startswith(_EXIF, start):
            orientation = exif_orientation(data[start + len(_EXIF) : end])
        elif marker == _APP2 and data.startswith(_ICC, start) and end - start > 14:
            profile_parts[data[start + 12]] = data[start + 14 : end]
    if frame is None or 0 in frame:
        raise ImageError("truncated", "the JPEG header is cut off or broken", where=where)
    profile = b"".join(part for _, part in sorted(profile_parts.items())) or None
    return JpegHeader(*frame, orientation, profile)


def exif_orientation(exif: bytes) -> int:
    """The orientation (1..8) in an EXIF block that starts with its TIFF header; 1 if none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "4xI", exif)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(entries):
            tag, value = struct.unpack_from(order + "H6xH", exif, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def shrink_for(width: int, height: int, at_least_px: int, side: Literal["short", "long"]) -> int:
    """The largest of 8, 4, 2, 1 that leaves `side` of the image at least `at_least_px`."""
    length = min(width, height) if side == "short" else max(width, height)
    return next((n for n in SHRINKS if -(-length // n) >= at_least_px), 1)


def decode_jpeg(
    data: bytes,
    header: JpegHeader,
    *,
    shrink: int = 1,
    colorspace: Literal["RGB", "GRAY"] = "RGB",
    strict: bool = False,
    where: str | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    """Decode at 1/`shrink` of the size, as stored (no orientation, no profile).

    Args:
        strict: refuse what the decoder could paper over.

    Raises:
        ImageError: "truncated" when pixels are missing at the end (also when not strict),
            "damaged" otherwise.
    """
    try:
        return _decode(data, header, shrink, colorspace, strict=True)
    except ValueError as error:
        problem = str(error)
    if "Premature end of JPEG file" in problem:
        # With the end marker added, an image that lacks nothing else decodes without complaint.
        data += _END_MARKER
        try:
            pixels = _decode(data, header, shrink, colorspace, strict=True)
        except ValueError:
            raise ImageError(
                "truncated", "the JPEG ends before its pixels do", where=where
            ) from None
        if strict:
            raise ImageError("damaged", "the JPEG's end marker is missing", where=where)
        return pixels
    if strict:
        raise ImageError("damaged", problem, where=where)
    try:
        return _decode(data, header, shrink, colorspace, strict=False)
    except ValueError as error:
        raise ImageError("damaged", str(error), where=where) from error


def _decode(
    data: bytes,
    header: JpegHeader,
    shrink: int,
    colorspace: Literal["RGB", "GRAY"],
    *,
    strict: bool,
) -> UInt8[np.ndarray, "h w c"]:
    pixels: UInt8[np.ndarray, "h w c"] = simplejpeg.decode_jpeg(
        data,
        colorspace,
        min_height=-(-header.height // shrink),
        min_width=-(-header.width // shrink),
        min_factor=shrink,
        strict=strict,
    )
    return pixels
