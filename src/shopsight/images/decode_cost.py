"""How many bytes of memory an image takes while it is decoded and made smaller, at its peak.

Estimated from what its header says, before anything is decoded. `bench/bench_decode_memory.py`
compares the estimates with measured peaks: they lie above, so that what is taken of the room
(`decode_room`) is there.
"""

from __future__ import annotations

from shopsight.images.image_modes import Opened
from shopsight.images.jpeg import JpegHeader, shrunk_size
from shopsight.images.tiff import TiffDirectory

_FIXED_BYTES = 8 << 20
"""Tables, and rows that are decoded."""
# Strips of the conversion to sRGB and of resizing, of at most 2^21 pixels: bytes of each pixel.
_STRIP_PIXELS, _STRIP = 1 << 21, 6

# Bytes of each pixel, for all that is there at a time.
_RGB = 3
_TURNED = 3
# Means of the blocks of a JPEG as floats of 32 bits, twice, and their luma.
_MEANS = 28
# Storage of Pillow's modes; every other one has 4. What it hands over to NumPy is there three
# times: as it has it, in pieces, and joined.
_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 6, "I;16B": 6, "I;16L": 6, "I": 12, "F": 12}
# What decoders take beside it: canvases, planes of luma and chroma, a copy as bytes.
_DECODER_BYTES = {"webp": 10, "avif": 12, "heic": 12, "jpeg2000": 16, "pnm": 4}
# A PNG of 16 bits with a transparent color is read once more, by OpenCV.
_KEYED_16_BITS = 14
# Copies of the file: without what is not needed, and inside of decoders.
_COPIES_OF_KIND = {"tiff": 3, "png": 2, "webp": 3, "avif": 2, "heic": 3, "jpeg2000": 2}
_COPIES_OF_JPEG = 3


def jpeg_cost(header: JpegHeader, encoded_bytes: int, *, shrink: int) -> int:
    """Bytes for a JPEG that is decoded at 1/`shrink` of its size."""
    each = _RGB + _TURNED * (header.orientation != 1) + 4 * (header.components == 4)
    return _jpeg_bytes(header, encoded_bytes, shrink, each)


def damage_cost(header: JpegHeader, encoded_bytes: int) -> int:
    """Bytes for the search for damage in a JPEG, which decodes it at 1/8 of its size."""
    return _jpeg_bytes(header, encoded_bytes, 8, _RGB + _MEANS)


def raw_cost(width: int, height: int, encoded_bytes: int) -> int:
    """Bytes for a binary PGM or PPM of 8 bits."""
    return encoded_bytes + _pixel_bytes(width, height, _RGB)


def opened_cost(opened: Opened, encoded_bytes: int) -> int:
    """Bytes for a file that Pillow reads, whose header was read."""
    image, kind = opened.image, opened.kind
    each = _BYTES_OF_MODE.get(image.mode, 4) + _DECODER_BYTES.get(kind, 0) + _RGB
    if kind == "png" and isinstance(image.info.get("transparency"), tuple):
        each += _KEYED_16_BITS
    each = max(each, (_RGB + _TURNED) * (opened.orientation != 1))
    return _COPIES_OF_KIND.get(kind, 1) * encoded_bytes + _pixel_bytes(*image.size, each)


def opening_cost(size: tuple[int, int], encoded_bytes: int) -> int:
    """Bytes for a WebP or an icon, whose reader takes its canvases when it opens it."""
    return 3 * encoded_bytes + _pixel_bytes(*size, 4 + _DECODER_BYTES["webp"] + _RGB)


def wide_tiff_cost(tiff: TiffDirectory, encoded_bytes: int) -> int:
    """Bytes for a TIFF that OpenCV reads."""
    values = tiff.num_channels * tiff.bits // 8
    return 3 * encoded_bytes + _pixel_bytes(*tiff.size, values + _RGB + 4)


def _jpeg_bytes(header: JpegHeader, encoded_bytes: int, shrink: int, each: int) -> int:
    width, height = shrunk_size(header.width, header.height, shrink)
    pixels = _pixel_bytes(width, height, each)
    return _COPIES_OF_JPEG * encoded_bytes + header.coefficient_bytes + pixels


def _pixel_bytes(width: int, height: int, each: int) -> int:
    pixels = width * height
    return _FIXED_BYTES + each * pixels + _STRIP * min(pixels, _STRIP_PIXELS)
