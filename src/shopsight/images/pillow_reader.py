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
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images import levels, png
from shopsight.images.icc import image_to_srgb
from shopsight.images.kinds import KINDS, is_image_kind, kind_of_bytes, no_image_message
from shopsight.images.orientation import orientation_of, upright
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
    "heic": "pillow_heif.as_plugin.HeifImageFile",
}
# A BMP without its file header, as it lies on Windows' clipboard.
_HEADERLESS_BMP = "PIL.BmpImagePlugin.DibImageFile"
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
# What Pillow's readers raise on damaged files, besides OSError.
_PILLOW_FAULTS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    AttributeError, ZeroDivisionError, MemoryError, RuntimeError, struct.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
# Many programs write four channels and leave the fourth at zero.
_ALPHA_MAY_BE_UNUSED = frozenset({"bmp", "ico", "tga"})


class Opened(NamedTuple):
    """An image whose header was read.

    Attributes:
        image: Pillow's, not turned; its pixels are read at `load`.
        kind: its format, a key of `kinds.KINDS`.
        orientation: 1 to 8.
        tiff: the directory, of a TIFF.
    """

    image: Image.Image
    kind: str
    orientation: int
    tiff: TiffDirectory | None


def open_image(data: bytes, *, where: str | None) -> Opened:
    """Read the header of an image of any format.

    Raises:
        ImageError: it is none, or of a format that is not read; see its `reason`.
    """
    kind = kind_of_bytes(data)
    if kind is None and data.endswith(_TGA_FOOTER):
        kind = "tga"
    if kind not in _READER_OF_KIND or (kind == "heic" and not heic_is_read()):
        raise _not_read(kind, data, where)
    tiff = None
    if kind == "tiff":
        tiff = read_directory(data)
        if tiff is None:
            what = "the TIFF's directory is cut off or broken"
            raise ImageError("truncated", what, where=where)
        if tiff.is_camera_raw:
            raise ImageError("unsupported", no_image_message("raw"), where=where)
        data = tiff.quiet
    elif kind == "png":
        data = png.without_broken_extras(data)
    try:
        image = _reader(kind, data)(io.BytesIO(data), "")
    except _PILLOW_FAULTS as error:
        raise _fault(error, kind, tiff, where, opening=True) from error
    return Opened(image, kind, _orientation(image, kind, tiff), tiff)


def decode_opened(
    opened: Opened, data: bytes, *, matte: Color, where: str | None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image that `open_image` opened to upright sRGB, transparent pixels on the matte.

    Args:
        opened: what was made of `data`.
        data: the file.
        matte: the color under transparent pixels.
        where: the file's name, for the error.

    Raises:
        ImageError: the pixels cannot be decoded; see its `reason`.
    """
    try:
        opened.image.load()
        pixels = np.array(_rgb(opened, data, matte, where))
    except _PILLOW_FAULTS as error:
        raise _fault(error, opened.kind, opened.tiff, where) from error
    return upright(pixels, opened.orientation)


@cache
def heic_is_read() -> bool:
    """Whether the extra that reads HEIC is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def _reader(kind: str, data: bytes) -> Any:
    headerless = kind == "bmp" and not data.startswith(b"BM")
    return _class(_HEADERLESS_BMP if headerless else _READER_OF_KIND[kind])


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


def _rgb(opened: Opened, data: bytes, matte: Color, where: str | None) -> Image.Image:
    """Convert any of Pillow's modes to sRGB, transparent pixels composited onto the matte."""
    image, kind = opened.image, opened.kind
    profile = image.info.get("icc_profile")
    alpha: Image.Image | None = None
    if image.mode.startswith("I") or image.mode == "F":
        image, alpha = _gray_of_wide(opened, where)
    elif kind == "png" and png.depth_and_color(data) == (16, 2) and "transparency" in image.info:
        image, alpha = _keyed_rgb_of_16_bits(data, image.info["transparency"])
    elif image.has_transparency_data:
        image, alpha = _split_alpha(opened, data)
    elif image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("L" if image.mode in {"1", "L;16"} else "RGB")
    if profile:
        image = image_to_srgb(image, profile)
    image = image.convert("RGB")
    if alpha is None:
        return image
    background = Image.new("RGB", image.size, matte)
    background.paste(image, mask=alpha)
    return background


def _split_alpha(opened: Opened, data: bytes) -> tuple[Image.Image, Image.Image | None]:
    """Separate the color and the opacity; no opacity where the format's channel is unused."""
    image = opened.image
    if opened.kind == "png" and isinstance(image.info.get("transparency"), int):
        depth, color = png.depth_and_color(data)
        if color == 0 and depth in {2, 4}:
            # Pillow scales the gray values to 8 bits, and not the one that is transparent.
            image.info["transparency"] *= 255 // (2**depth - 1)
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    unused = opened.kind in _ALPHA_MAY_BE_UNUSED and alpha.getextrema() == (0, 0)
    return image.convert("RGB"), None if unused else alpha


def _gray_of_wide(opened: Opened, where: str | None) -> tuple[Image.Image, Image.Image | None]:
    """Scale gray values of more than 8 bits, and floats, to 8 bits."""
    image, tiff = opened.image, opened.tiff
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        bits = tiff.bits if tiff is not None else 16
        gray = levels.from_bits(values, bits if 8 < bits < 16 else 16)
    elif image.mode == "I" and opened.kind in {"pnm", "png"}:
        # Pillow has scaled them to 16 bits.
        gray = levels.from_bits(values, 16)
    else:
        gray = levels.from_any(values, where=where)
    if tiff is not None and tiff.white_is_zero:
        gray = 255 - gray
    key = image.info.get("transparency")
    alpha = _mask(values != key) if isinstance(key, int) else None
    return Image.fromarray(gray), alpha


def _keyed_rgb_of_16_bits(
    data: bytes, key: tuple[int, int, int]
) -> tuple[Image.Image, Image.Image]:
    """Read a PNG whose transparent color has 16 bits, of which Pillow keeps 8."""
    import cv2  # Imported late, so that decoding images does not wait for it.

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError("the PNG's pixels cannot be decoded")
    values = decoded[:, :, 2::-1]
    opaque = (values != np.array(key)).any(axis=2)
    return Image.fromarray(levels.from_bits(values, 16)), _mask(opaque)


def _mask(opaque: Bool[np.ndarray, "h w"]) -> Image.Image:
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))


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


def _fault(
    error: Exception,
    kind: str,
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
        return ImageError("too large", "does not fit in memory", where=where)
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return ImageError("truncated", text, where=where)
    if tiff is not None and tiff.is_cut:
        return ImageError("truncated", "the TIFF ends before its pixels do", where=where)
    if tiff is not None and opening:
        what = f"{tiff.layout()}, which is not read: save it with 8 bits per channel"
        return ImageError("unsupported", what, where=where)
    if "conversion" in text or "unsupported" in text.lower():
        return ImageError("unsupported", text, where=where)
    if opening:
        text = f"starts like {KINDS[kind].words}, and its header is cut off or broken ({text})"
    return ImageError("damaged", text, where=where)
