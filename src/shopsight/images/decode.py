"""Bytes to RGB: every way in which shopsight reads an image.

JPEGs go through libjpeg-turbo at a power-of-two scale, raw PGM and PPM straight into an array,
everything else through Pillow. Whatever the file, the result is upright sRGB without
transparency. All functions may be called from many threads at once; the decoders release the
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
from shopsight.images.icc import array_to_srgb, image_to_srgb
from shopsight.images.idx import idx_member, read_member
from shopsight.images.jpeg import (
    JpegHeader,
    decode_jpeg,
    is_jpeg,
    jpeg_header,
    shrink_for,
    shrunk_size,
)
from shopsight.images.kinds import KINDS, is_image_kind, kind_of_bytes, no_image_message
from shopsight.images.orientation import ORIENTATION_TAG, upright, upright_size
from shopsight.paths import is_url
from shopsight.preprocess import WHITE, Color
from shopsight.runtime import trusted_certificates

MAX_PIXELS = 178_956_970
"""Larger images are refused unread: half a gigabyte as RGB, and Pillow's own limit."""

_PILLOW_FORMATS = ("PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "PPM", "JPEG2000", "JPEG")
_OUR_NAMES = {"DIB": "bmp", "PPM": "pnm", "MPO": "jpeg"}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RAW_PNM = re.compile(rb"P([56])\s(\d{1,9})\s(\d{1,9})\s255\s")
# What Pillow's readers raise on damaged files, besides OSError.
_PILLOW_FAULTS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    AttributeError, ZeroDivisionError, MemoryError, struct.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's first bytes say.

    Attributes:
        format: a key of `kinds.SUFFIXES_OF_FORMAT`.
        width: pixels, upright.
        height: pixels, upright.
    """

    format: str
    width: int
    height: int


def read_bytes(ref: str) -> bytes:
    """Read a file.

    Args:
        ref: a path, a URL (`s3://...`, opened by fsspec) or a member of an IDX container.

    Returns:
        The file's bytes, at least one.

    Raises:
        ImageError: "missing", "empty", "not an image" (a folder), or "unreadable".
    """
    member = idx_member(ref)
    if member is not None and not Path(ref).exists():
        return read_member(*member)
    try:
        if is_url(ref):
            with trusted_certificates(), fsspec.open(ref, "rb") as remote:
                data: bytes = remote.read()
        else:
            with open(ref, "rb") as file:  # noqa: PTH123 - Path.open costs twice as much
                data = file.read()
    except FileNotFoundError:
        raise ImageError("missing", "no such file", where=ref) from None
    except OSError as error:
        # Windows says "permission denied" of a folder.
        if not is_url(ref) and Path(ref).is_dir():
            raise ImageError("not an image", "this is a folder", where=ref) from None
        raise ImageError("unreadable", error.strerror or str(error), where=ref) from error
    if not data:
        raise ImageError("empty", "the file has no bytes", where=ref)
    return data


def header(data: bytes, *, where: str | None = None) -> Header:
    """Read format and upright size, without decoding the pixels.

    Args:
        data: the file.
        where: the file's name, for the error.

    Raises:
        ImageError: the bytes are not an image that can be read.
    """
    if is_jpeg(data):
        jpeg = jpeg_header(data, where=where)
        return Header("jpeg", *upright_size(jpeg.width, jpeg.height, jpeg.orientation))
    raw = _RAW_PNM.match(data)
    if raw is not None:
        return Header("pnm", int(raw[2]), int(raw[3]))
    with _open(data, where) as image:
        # Pillow turns TIFFs by itself.
        orientation = 1 if image.format == "TIFF" else _orientation(image)
        return Header(_format(image), *upright_size(*image.size, orientation))


def decode(
    data: bytes,
    *,
    at_least_px: int | None = None,
    matte: Color = WHITE,
    where: str | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a file to upright RGB.

    Args:
        data: the file.
        at_least_px: a JPEG may come smaller, by a power of two, as long as its short side keeps
            this many pixels; None decodes at full size.
        matte: the color onto which transparent pixels are composited.
        where: the file's name, for the error.

    Raises:
        ImageError: the bytes cannot be decoded; see its `reason`.
    """
    if is_jpeg(data):
        jpeg = jpeg_header(data, where=where)
        check_pixels(jpeg.width, jpeg.height, where)
        shrink = 1
        if at_least_px is not None:
            shrink = shrink_for(jpeg.width, jpeg.height, at_least_px, at_least_px)
        return decode_jpeg_upright(data, jpeg, shrink=shrink, where=where)
    raw = _RAW_PNM.match(data)
    if raw is not None:
        return _decode_raw_pnm(data, raw, where)
    return _decode_by_pillow(data, matte=matte, where=where)


def check_png_checksums(data: bytes, *, where: str | None = None) -> None:
    """Compare the checksums of a PNG's chunks, which decoding does not.

    Args:
        data: the file; anything but a PNG passes.
        where: the file's name, for the error.

    Raises:
        ImageError: "damaged", or the reason why the file cannot be opened.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return
    with _open(data, where) as image:
        try:
            image.verify()
        except _PILLOW_FAULTS as error:
            raise ImageError("damaged", str(error), where=where) from error


def decode_jpeg_upright(
    data: bytes, jpeg: JpegHeader, *, shrink: int, where: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a JPEG whose header is known.

    Args:
        data: the file.
        jpeg: its header.
        shrink: decode at 1/8, 1/4, 1/2 or 1/1 of the size.
        where: the file's name, for the error.

    Returns:
        Upright sRGB.

    Raises:
        ImageError: "truncated" or "damaged".
    """
    if jpeg.components == 4:
        size = shrunk_size(jpeg.width, jpeg.height, shrink)
        return _decode_by_pillow(data, matte=WHITE, where=where, draft=size)
    gray_profile = jpeg.components == 1 and jpeg.profile is not None
    colorspace: Literal["RGB", "GRAY"] = "GRAY" if gray_profile else "RGB"
    pixels = decode_jpeg(data, jpeg, shrink=shrink, colorspace=colorspace, where=where)
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
    """Decode a binary PGM or PPM of 8 bits; `raw` is its matched header."""
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
    """Decode any format; a JPEG no smaller than `draft` (width, height), where that is given."""
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
            raise _fault(error, where) from error
    return upright(pixels, orientation)


def _rgb(image: Image.Image, matte: Color) -> Image.Image:
    """Convert any of Pillow's modes to sRGB, transparent pixels composited onto the matte."""
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
    background = Image.new("RGB", image.size, matte)
    background.paste(image, mask=alpha)
    return background


def _open(data: bytes, where: str | None) -> Image.Image:
    """Open a file by its content, with the readers of `_PILLOW_FORMATS` only."""
    try:
        return Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS)
    except UnidentifiedImageError:
        raise _unknown(data, where) from None
    except _PILLOW_FAULTS as error:
        raise _fault(error, where) from error


def _unknown(data: bytes, where: str | None) -> ImageError:
    """Say what a file is that no reader takes for its own."""
    kind = kind_of_bytes(data)
    if kind is None:
        what = f"starts with {bytes(data[:12])!r}, which is not an image format"
        return ImageError("not an image", what, where=where)
    if kind == "text":
        begin = bytes(data[:40]).decode(errors="replace")
        return ImageError("not an image", f"text, no image: it begins {begin!r}", where=where)
    if not is_image_kind(kind):
        return ImageError("not an image", no_image_message(kind), where=where)
    if KINDS[kind].way_out:
        return ImageError("unsupported", no_image_message(kind), where=where)
    what = f"starts like {KINDS[kind].words}, and its header is cut off or broken"
    return ImageError("damaged", what, where=where)


def _fault(error: Exception, where: str | None) -> ImageError:
    """Turn one of Pillow's many exceptions into an `ImageError`."""
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
    """Refuse a decompression bomb: a small file whose header claims very many pixels.

    Args:
        width: as the header says.
        height: likewise.
        where: the file's name, for the error.

    Raises:
        ImageError: "too large", more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(
            "too large", f"{width}x{height} is more than {MAX_PIXELS:,} pixels", where=where
        )


def _format(image: Image.Image) -> str:
    """Name the format as `kinds.KINDS` does."""
    name = image.format or ""
    return _OUR_NAMES.get(name, name.lower())


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation of an image that Pillow opened; 1 where it has none."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except _PILLOW_FAULTS:
        return 1  # A broken EXIF block says nothing about the pixels.
    return orientation if isinstance(orientation, int) else 1
