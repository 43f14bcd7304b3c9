"""JPEG: size, orientation and profile from the header, and decoding at 1/1, 1/2, 1/4 or 1/8.

libjpeg-turbo shrinks inside the inverse DCT: at 1/2 it transforms 4x4 coefficients of each 8x8
block, at 1/8 only the first. That is where the speed comes from. Scales that are not powers of two
are slower than a full decode, because they have no SIMD code.

The header is read here and not by Pillow for two reasons. Opening a file with Pillow takes 14 to
31 microseconds longer, 2 to 4 % of decoding and resizing a 300x433 photo, and raises Python
warnings for damaged EXIF or multi-picture blocks, which cannot be silenced for one thread alone.
Also, `jpeg_damage` needs the position of the quantization tables, which Pillow does not give.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from shopsight.errors import ImageError
from shopsight.images.jpeg_cleanup import regular
from shopsight.images.jpeg_scans import coefficient_bytes
from shopsight.images.jpeg_segments import FRAME_MARKERS, segments
from shopsight.images.orientation import orientation_of

SHRINKS = (8, 4, 2, 1)
"""By how much a JPEG can be shrunk while it is decoded, largest first."""

_SIGNATURE = b"\xff\xd8\xff"
_START_OF_SCAN = b"\xff\xda"
_END_MARKER = b"\xff\xd9"
_APP1, _APP2 = 0xE1, 0xE2
# Of libjpeg-turbo. "Unsupported marker type" is none of them: there, bytes were overwritten.
_UNSUPPORTED = ("Unsupported JPEG", "Unsupported color conversion", "Could not determine subsampl")
_NO_MEMORY = "Insufficient memory"
_WAY_OUT = "save it as an ordinary JPEG of 8 bits"
_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_ICC = b"ICC_PROFILE\x00"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say.

    Attributes:
        width: pixels as stored, before the orientation is applied.
        height: likewise.
        components: 1 is gray, 3 is color, 4 is CMYK.
        orientation: of EXIF or XMP, 1 to 8; 1 is upright.
        profile: ICC profile, None without one.
        coefficient_bytes: memory for the coefficients that are kept while it is decoded, see
            `jpeg_scans`.
    """

    width: int
    height: int
    components: int
    orientation: int
    profile: bytes | None
    coefficient_bytes: int = 0


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as JPEG files do."""
    return data.startswith(_SIGNATURE)


def jpeg_header(data: bytes, *, where: str | None = None) -> JpegHeader:
    """Read the header of a JPEG file.

    Args:
        data: the file.
        where: the file's name, for the error.

    Returns:
        The header. Whether the pixels can be decoded, only decoding shows.

    Raises:
        ImageError: "truncated", the file ends before its frame header; "unsupported", it has
            hundreds of scans.
    """
    frame: tuple[int, int, int] | None = None
    size = (0, 0, 0)
    end = 2
    exif = xmp = None
    profile_parts: dict[int, bytes] = {}
    for marker, start, end in segments(data):
        if marker in FRAME_MARKERS and end - start >= 6 and end <= len(data):
            height, width, components = struct.unpack_from(">xHHB", data, start)
            frame, size = (marker, start, end), (width, height, components)
        elif marker == _APP1 and data.startswith(_EXIF, start):
            exif = data[start:end]
        elif marker == _APP1 and data.startswith(_XMP, start):
            xmp = data[start:end]
        elif marker == _APP2 and data.startswith(_ICC, start) and end - start > 14:
            # A segment holds at most 64 KiB, so a profile comes in numbered parts.
            profile_parts[data[start + 12]] = data[start + 14 : end]
    if frame is None or 0 in size:
        raise ImageError("truncated", "the JPEG header is cut off or broken", where=where)
    profile = b"".join(part for _, part in sorted(profile_parts.items())) or None
    kept_bytes = coefficient_bytes(data, frame, end, where=where)
    return JpegHeader(*size, orientation_of(exif, xmp), profile, kept_bytes)


def shrunk_size(width: int, height: int, shrink: int) -> tuple[int, int]:
    """Width and height of an image decoded at 1/`shrink`: libjpeg rounds up."""
    return -(-width // shrink), -(-height // shrink)


def shrink_for(width: int, height: int, min_width: int, min_height: int) -> int:
    """The largest of 8, 4, 2, 1 that leaves at least `min_width` x `min_height` pixels."""
    for shrink in SHRINKS:
        shrunk_width, shrunk_height = shrunk_size(width, height, shrink)
        if shrunk_width >= min_width and shrunk_height >= min_height:
            return shrink
    return 1


def decode_jpeg(
    data: bytes,
    header: JpegHeader,
    *,
    shrink: int = 1,
    colorspace: Literal["RGB", "GRAY"] = "RGB",
    strict: bool = False,
    where: str | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    """Decode a JPEG as it is stored: its orientation and its profile are not applied.

    Args:
        data: the file.
        header: what `jpeg_header` gives for it.
        shrink: decode at 1/8, 1/4, 1/2 or 1/1 of the size.
        colorspace: of the result; "GRAY" has one channel.
        strict: refuse damage which the decoder can skip over.
        where: the file's name, for the error.

    Returns:
        Pixels of the size that `shrunk_size` gives.

    Raises:
        ImageError: "truncated" when pixels are missing at the end (also when not strict),
            "damaged" otherwise.
        MemoryError: there is no room for the coefficients.
    """
    try:
        return _decode(data, header, shrink, colorspace, strict=True)
    except ValueError as error:
        problem = str(error)
    if _NO_MEMORY in problem:
        raise MemoryError(problem)
    if _START_OF_SCAN not in data:
        raise ImageError("truncated", "the JPEG ends before its pixels begin", where=where)
    if any(text in problem for text in _UNSUPPORTED):
        raise ImageError("unsupported", f"{problem}; {_WAY_OUT}", where=where)
    clean = regular(data)
    try:
        return _decode(clean, header, shrink, colorspace, strict=True)
    except ValueError as error:
        problem = str(error)
    if "Premature end of JPEG file" in problem:
        # With the end marker added, an image that lacks nothing else decodes without complaint.
        try:
            pixels = _decode(clean + _END_MARKER, header, shrink, colorspace, strict=True)
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
        return _decode(clean, header, shrink, colorspace, strict=False)
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
    """Decode by libjpeg-turbo; `strict` turns its warnings into `ValueError`."""
    min_width, min_height = shrunk_size(header.width, header.height, shrink)
    pixels: UInt8[np.ndarray, "h w c"] = simplejpeg.decode_jpeg(
        data,
        colorspace,
        min_height=min_height,
        min_width=min_width,
        min_factor=shrink,
        strict=strict,
    )
    return pixels
