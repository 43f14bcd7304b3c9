"""Bytes to RGB: every way in which shopsight reads an image.

JPEGs go through libjpeg-turbo at a power-of-two scale, raw PGM and PPM straight into an array,
everything else through Pillow. Whatever the file, the result is upright sRGB without
transparency. All functions may be called from many threads at once; the decoders run outside the
interpreter lock.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fsspec
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from shopsight.errors import ImageError
from shopsight.images.icc import array_to_srgb, image_to_srgb, upright
from shopsight.images.idx import idx_member, read_member
from shopsight.images.jpeg import SIGNATURE as JPEG_SIGNATURE
from shopsight.images.jpeg import JpegHeader, decode_jpeg, jpeg_header, shrink_for
from shopsight.images.png import broken_chunk
from shopsight.preprocess import Color

SUFFIXES_OF_FORMAT: dict[str, frozenset[str]] = {
    "jpeg": frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    "png": frozenset({".png"}),
    "webp": frozenset({".webp"}),
    "gif": frozenset({".gif"}),
    "bmp": frozenset({".bmp", ".dib"}),
    "tiff": frozenset({".tif", ".tiff"}),
    "avif": frozenset({".avif"}),
    "pnm": frozenset({".pgm", ".ppm", ".pnm", ".pbm"}),
    "jpeg2000": frozenset({".jp2", ".j2k"}),
}
IMAGE_SUFFIXES: frozenset[str] = frozenset().union(*SUFFIXES_OF_FORMAT.values())

MAX_PIXELS = 178_956_970
"""Larger images are refused unread: half a gigabyte as RGB, and Pillow's own limit."""

WHITE: Color = (255, 255, 255)

_PILLOW_FORMATS = ("PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "PPM", "JPEG2000", "JPEG")
_OUR_NAMES = {"DIB": "bmp", "PPM": "pnm", "MPO": "jpeg"}
_UNSUPPORTED_SIGNATURES = (
    (re.compile(rb".{4}ftyp(?:heic|heix|hevc|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%PDF"), "PDF"),
    (re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg", re.DOTALL), "SVG"),
)
_RAW_PNM = re.compile(rb"P([56])\s(\d{1,9})\s(\d{1,9})\s255\s")
_ORIENTATION_TAG = 0x0112
# What Pillow's readers raise on damaged files, besides OSError.
_PILLOW_FAULTS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    AttributeError, ZeroDivisionError, MemoryError, struct.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's first bytes say; width and height in pixels, upright."""

    format: str
    width: int
    height: int


def read_bytes(ref: str) -> bytes:
    """The bytes behind a path, a URL (`s3://...`, by fsspec) or a member of an IDX container.

    Raises:
        ImageError: "missing", "empty", "not an image" (a folder), or "unreadable".
    """
    member = idx_member(ref)
    if member is not None and not Path(ref).exists():
        return read_member(*member)
    try:
        if "://" in ref:
            with fsspec.open(ref, "rb") as remote:
                data: bytes = remote.read()
        else:
            with open(ref, "rb") as file:  # noqa: PTH123 - Path.open costs twice as much
                data = file.read()
    except FileNotFoundError:
        raise ImageError("missing", "no such file", where=ref) from None
    except IsADirectoryError:
        raise ImageError("not an image", "this is a folder", where=ref) from None
    except OSError as error:
        raise ImageError("unreadable", error.strerror or str(error), where=ref) from error
    if not data:
        raise ImageError("empty", "the file has no bytes", where=ref)
    return data


def header(data: bytes, *, where: str | None = None) -> Header:
    """Format and upright size, without decoding the pixels.

    Raises:
        ImageError: these bytes are no image that can be read.
    """
    if data.startswith(JPEG_SIGNATURE):
        jpeg = jpeg_header(data, where=where)
        width, height = jpeg.width, jpeg.height
        return Header("jpeg", *((height, width) if jpeg.orientation >= 5 else (width, height)))
    raw = _RAW_PNM.match(data)
    if raw is not None:
        return Header("pnm", int(raw[2]), int(raw[3]))
    with _open(data, where) as image:
        width, height = image.size
        # Pillow turns TIFFs by itself.
        if image.format != "TIFF" and _orientation(image) >= 5:
            width, height = height, width
        return Header(_format(image), width, height)


def decode(
    data: bytes,
    *,
    at_least_px: int | None = None,
    side: Literal["short", "long"] = "short",
    matte: Color = WHITE,
    where: str | None = None,
    strict: bool = False,
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode to upright RGB.

    Args:
        at_least_px: a JPEG may come smaller, by a power of two, but its `side` no smaller than
            this; None decodes at full size.
        matte: what transparent pixels are laid on.
        where: the file's name, for the error.
        strict: refuse damage that the decoder could paper over (an audit's question).

    Raises:
        ImageError: with its `reason`.
    """
    if data.startswith(JPEG_SIGNATURE):
        jpeg = jpeg_header(data, where=where)
        check_pixels(jpeg.width, jpeg.height, where)
        shrink = 1
        if at_least_px is not None:
            shrink = shrink_for(jpeg.width, jpeg.height, at_least_px, side)
        return decode_jpeg_upright(data, jpeg, shrink=shrink, strict=strict, where=where)
    raw = _RAW_PNM.match(data)
    if raw is not None:
        return _decode_raw_pnm(data, raw, where)
    if strict:
        fault = broken_chunk(data)
        if fault is not None:
            raise ImageError("damaged", fault, where=where)
    return _decode_by_pillow(data, matte=matte, where=where)


def decode_jpeg_upright(
    data: bytes, jpeg: JpegHeader, *, shrink: int, strict: bool = False, where: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a JPEG whose header is known, at 1/`shrink` of its size, upright and in sRGB."""
    if jpeg.components == 4:
        size = (-(-jpeg.width // shrink), -(-jpeg.height // shrink))
        return _decode_by_pillow(data, matte=WHITE, where=where, draft=size)
    gray_profile = jpeg.components == 1 and jpeg.profile is not None
    pixels = decode_jpeg(
        data,
        jpeg,
        shrink=shrink,
        colorspace="GRAY" if gray_profile else "RGB",
        strict=strict,
        where=where,
    )
    if jpeg.profile is not None:
        if gray_profile:
            gray = image_to_srgb(Image.fromarray(pixels[:, :, 0]), jpeg.profile)
            pixels = np.array(gray.convert("RGB"))
        else:
            pixels = array_to_srgb(pixels, jpeg.profile)
    return upright(pixels, jpeg.orientation)


def _decode_raw_pnm(
    data: bytes, raw: re.Match[bytes], where: str | None
) -> UInt8[np.ndarray, "h w 3"]:
    width, height = int(raw[2]), int(raw[3])
    check_pixels(width, height, where)
    channels = 1 if raw[1] == b"5" else 3
    missing = width * height * channels - (len(data) - raw.end())
    if missing > 0 or width * height == 0:
        raise ImageError("truncated", f"{missing} bytes of pixels are missing", where=where)
    values = np.frombuffer(data, np.uint8, count=width * height * channels, offset=raw.end())
    pixels = values.reshape(height, width, channels)
    return pixels.repeat(3, axis=2) if channels == 1 else pixels.copy()


def _decode_by_pillow(
    data: bytes, *, matte: Color, where: str | None, draft: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    with _open(data, where) as image:
        check_pixels(*image.size, where)
        try:
            if draft is not None:
                image.draft(None, draft)
            image.load()
            # Read after loading: Pillow turns TIFFs by itself and then drops the tag.
            orientation = _orientation(image)
            pixels = np.array(_rgb(image, matte))
        except _PILLOW_FAULTS as error:
            raise _fault(error, data, where) from error
    return upright(pixels, orientation)


def _rgb(image: Image.Image, matte: Color) -> Image.Image:
    """Any of Pillow's modes as RGB: profile applied, transparency laid on the matte."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        # 16 bits per pixel ("I" is what Pillow makes of a 16-bit PGM): 65535 is white.
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("L" if image.mode in {"1", "L;16"} else "RGB")
    if profile:
        image = image_to_srgb(image, profile)
    image = image.convert("RGB")
    if alpha is None:
        return image
    ground = Image.new("RGB", image.size, matte)
    ground.paste(image, mask=alpha)
    return ground


def _open(data: bytes, where: str | None) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS)
    except UnidentifiedImageError:
        for signature, name in _UNSUPPORTED_SIGNATURES:
            if signature.match(data[:1024]):
                raise ImageError("unsupported", f"{name} files are not read", where=where) from None
        raise ImageError(
            "not an image", f"starts with {bytes(data[:12])!r}, which no image does", where=where
        ) from None
    except _PILLOW_FAULTS as error:
        raise _fault(error, data, where) from error


def _fault(error: Exception, data: bytes, where: str | None) -> ImageError:
    """What one of Pillow's many exceptions means."""
    text = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too large", text, where=where)
    if isinstance(error, MemoryError):
        return ImageError("too large", "does not fit in memory", where=where)
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return ImageError("truncated", text, where=where)
    if "conversion" in text or "unsupported" in text.lower():
        return ImageError("unsupported", text, where=where)
    return ImageError("damaged", text, where=where)


def check_pixels(width: int, height: int, where: str | None) -> None:
    """Refuse a decompression bomb: a small file that says it holds very many pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            "too large", f"{width}x{height} is more than {MAX_PIXELS:,} pixels", where=where
        )


def _format(image: Image.Image) -> str:
    name = image.format or ""
    return _OUR_NAMES.get(name, name.lower())


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _PILLOW_FAULTS:
        return 1  # A broken EXIF block says nothing about the pixels.
    return orientation if isinstance(orientation, int) else 1
