"""Every format but ordinary JPEGs: opened by Pillow, and turned into upright sRGB on a matte.

Pillow's reader is chosen by the first bytes and called directly. `Image.open` would try one after
another, hide why the right one refused, and warn of large images without their name.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import struct
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images import levels, png
from shopsight.images.declared_size import is_cut_off, size_before_opening
from shopsight.images.decode_cost import opening_cost, wide_tiff_cost
from shopsight.images.decode_room import take_room
from shopsight.images.gif import check_blocks
from shopsight.images.image_modes import Opened, stored_values, to_srgb
from shopsight.images.kinds import KINDS, is_image_kind, kind_of_bytes, no_image_message
from shopsight.images.orientation import orientation_of
from shopsight.images.pixel_limit import check_pixels
from shopsight.images.tiff import TiffDirectory, read_directory
from shopsight.preprocess import Color

_READER_OF_KIND = {
    "jpeg": "PIL.JpegImagePlugin.JpegImageFile",
    "png": "PIL.PngImagePlugin.PngImageFile",
    "webp": "PIL.WebPImagePlugin.WebPImageFile",
    "gif": "PIL.GifImagePlugin.GifImageFile",
    "bmp": "PIL.BmpImagePlugin.BmpImageFile",
    "tiff": "PIL.TiffImagePlugin.TiffImageFile",
    "avif": "PIL.AvifImagePlugin.AvifImageFile",
    "pnm": "PIL.PpmImagePlugin.PpmImageFile",
    "jpeg2000": "PIL.Jpeg2KImagePlugin.Jpeg2KImageFile",
    "ico": "PIL.IcoImagePlugin.IcoImageFile",
    "tga": "PIL.TgaImagePlugin.TgaImageFile",
}
# Of the extra `heic`, and its twin whose wheels hold no encoder. Neither is registered with Pillow,
# which would change what the rest of the process opens.
_HEIC_MODULES = ("pillow_heif", "pi_heif")
_HEIC_READER = "as_plugin.HeifImageFile"
# A BMP without its file header, as it lies on Windows' clipboard.
_HEADERLESS_BMP = "PIL.BmpImagePlugin.DibImageFile"
# More make Pillow write to stderr, without the file's name.
_MAX_CHANNELS = 8
# Pillow takes 20 microseconds for each.
_MAX_STRIPS = 200_000
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
# What Pillow's readers raise on damaged files, besides OSError.
_PILLOW_FAULTS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    AttributeError, ZeroDivisionError, MemoryError, RuntimeError, struct.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def open_image(data: bytes, *, where: str | None) -> Opened:
    """Read the header of an image of any format, within a block of `decoding`.

    Raises:
        ImageError: it is none, or of a format that is not read; see its `reason`.
    """
    kind = kind_of_bytes(data)
    if kind is None and data.endswith(_TGA_FOOTER):
        kind = "tga"
    reader = _reader(kind, data)
    if kind is None or reader is None:
        raise _not_read(kind, data, where)
    tiff = None
    if kind == "tiff":
        tiff = read_directory(data)
        if tiff is None:
            what = "the TIFF's directory is cut off or broken"
            raise ImageError("truncated", what, where=where)
        if tiff.is_camera_raw:
            raise ImageError("unsupported", no_image_message("raw"), where=where)
        many = tiff.num_channels > _MAX_CHANNELS or tiff.num_strips > _MAX_STRIPS
        if tiff.has_wide_planes or many:
            raise _unsupported_layout(tiff, where)
        data = tiff.quiet
    elif kind == "png":
        data = png.still(data, where=where)
    elif kind == "gif":
        check_blocks(data, where=where)
    size = size_before_opening(kind, data)
    if size is not None:
        check_pixels(*size, where)
        take_room(opening_cost(size, len(data)), size=size, where=where)
    try:
        image = reader(io.BytesIO(data), "")
    except _PILLOW_FAULTS as error:
        if tiff is None or tiff.is_cut or not tiff.is_for_opencv:
            raise _fault(error, kind, data, tiff, where, opening=True) from error
        image = _wide_tiff(data, tiff, where)
    frame = image.tile[0].extents if kind == "gif" and image.tile else None
    return Opened(image, kind, _orientation(image, kind, tiff), tiff, frame)


def decode_opened(
    opened: Opened, data: bytes, *, matte: Color, where: str | None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image that `open_image` opened to sRGB, transparent pixels on the matte.

    Args:
        opened: what was made of `data`.
        data: the file.
        matte: the color under transparent pixels.
        where: the file's name, for the error.

    Returns:
        RGB as stored: `Opened.orientation` is not applied.

    Raises:
        ImageError: the pixels cannot be decoded; see its `reason`.
    """
    try:
        opened.image.load()
        return to_srgb(opened, data, matte=matte, where=where)
    except _PILLOW_FAULTS as error:
        raise _fault(error, opened.kind, data, opened.tiff, where) from error


def heic_module() -> str | None:
    """The module that reads HEIC; None where neither is installed."""
    return next((name for name in _HEIC_MODULES if importlib.util.find_spec(name)), None)


def _reader(kind: str | None, data: bytes) -> Any:
    """Pillow's class for a kind; None for what is not read."""
    if kind == "heic":
        module = heic_module()
        return None if module is None else _class(f"{module}.{_HEIC_READER}")
    if kind == "bmp" and not data.startswith(b"BM"):
        return _class(_HEADERLESS_BMP)
    return None if kind not in _READER_OF_KIND else _class(_READER_OF_KIND[kind])


@cache
def _class(name: str) -> Any:
    """Import a reader when the first file of its format comes."""
    module, _, reader = name.rpartition(".")
    return getattr(importlib.import_module(module), reader)


def _orientation(image: Image.Image, kind: str, tiff: TiffDirectory | None) -> int:
    info = image.info
    if kind == "heic":
        return 1  # Its decoder turns it, and leaves the entries of EXIF and XMP as they were.
    if tiff is not None:
        found = tiff.orientation
        return orientation_of(None, tiff.xmp) if found is None else found
    exif = info.get("exif") or _exif_of_text(info.get("Raw profile type exif"))
    return orientation_of(exif, info.get("xmp") or info.get("XML:com.adobe.xmp"))


def _exif_of_text(text: str | None) -> bytes | None:
    """Unpack the hexadecimal EXIF that ImageMagick wrote into PNGs before they had a chunk."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if text else None
    except ValueError:
        return None


def _wide_tiff(data: bytes, tiff: TiffDirectory, where: str | None) -> Image.Image:
    """Read a TIFF of a layout that OpenCV knows and Pillow does not."""
    check_pixels(*tiff.size, where)
    take_room(wide_tiff_cost(tiff, len(data)), size=tiff.size, where=where)
    values = stored_values(data)
    if values is None:
        raise _unsupported_layout(tiff, where)
    values = values[:, :, ::-1] if values.ndim == 3 else values
    wide = tiff.bits == 16
    pixels = levels.from_bits(values, 16) if wide else levels.from_any(values, where=where)
    return Image.fromarray(255 - pixels if tiff.white_is_zero else pixels)


def _not_read(kind: str | None, data: bytes, where: str | None) -> ImageError:
    """Say what a file is that no reader takes."""
    if kind is None:
        what = f"starts with {bytes(data[:12])!r}, which is not an image format"
        return ImageError("not an image", what, where=where)
    if kind == "text":
        begin = bytes(data[:40]).decode(errors="replace")
        return ImageError("not an image", f"text, no image: it begins {begin!r}", where=where)
    reason = "unsupported" if is_image_kind(kind) else "not an image"
    return ImageError(reason, no_image_message(kind), where=where)


def _unsupported_layout(tiff: TiffDirectory, where: str | None) -> ImageError:
    what = f"{tiff.layout()}, which is not read: save it with 8 bits per channel"
    return ImageError("unsupported", what, where=where)


def _fault(
    error: Exception,
    kind: str,
    data: bytes,
    tiff: TiffDirectory | None,
    where: str | None,
    *,
    opening: bool = False,
) -> ImageError:
    """Turn one of Pillow's many exceptions into an `ImageError`."""
    text = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too large", text, where=where)
    if isinstance(error, MemoryError):
        raise error  # Said by `decoding`.
    if "Decompressed data too large" in text:
        what = "a profile or text in the PNG that is packed is larger than 1 MB"
        return ImageError("too large", what, where=where)
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return ImageError("truncated", text, where=where)
    if tiff is not None and tiff.is_cut:
        return ImageError("truncated", "the TIFF ends before its pixels do", where=where)
    if tiff is not None and opening:
        return _unsupported_layout(tiff, where)
    if is_cut_off(kind, data):
        what = f"{KINDS[kind].words} that ends before its pixels do"
        return ImageError("truncated", what, where=where)
    if "conversion" in text or "unsupported" in text.lower():
        return ImageError("unsupported", text, where=where)
    if opening:
        text = f"starts like {KINDS[kind].words}, and its header is cut off or broken ({text})"
    return ImageError("damaged", text, where=where)
