"""Bytes to RGB: every way in which shopsight reads an image.

JPEGs go through libjpeg-turbo at a power-of-two scale, raw PGM and PPM straight into an array,
everything else through Pillow. Whatever the file, the result is upright sRGB without
transparency. All functions may be called from many threads at once; the decoders release the
interpreter lock.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from shopsight.errors import ImageError, LocationError
from shopsight.images.decode_cost import jpeg_cost, opened_cost, raw_cost
from shopsight.images.decode_room import decoding, take_room
from shopsight.images.icc import array_to_srgb
from shopsight.images.idx import idx_member, read_member
from shopsight.images.jpeg import (
    SHRINKS,
    JpegHeader,
    decode_jpeg,
    is_jpeg,
    jpeg_header,
    shrink_for,
    shrunk_size,
)
from shopsight.images.orientation import upright, upright_size
from shopsight.images.pillow_reader import decode_opened, open_image
from shopsight.images.pixel_limit import check_pixels
from shopsight.io.access import PUBLIC, Access
from shopsight.io.addresses import shown
from shopsight.io.opening import IMAGE_BYTES, read_location
from shopsight.paths import is_url
from shopsight.preprocess import WHITE, Color
from shopsight.text import has_escapes

NOT_UNICODE = "the name of the file, or of its folder, is not Unicode (UTF-8): rename it"

_RAW_PNM = re.compile(rb"P([56])\s(\d{1,9})\s(\d{1,9})\s255\s")


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


def read_bytes(ref: str, access: Access = PUBLIC) -> bytes:
    """Read a file.

    Args:
        ref: a path, a URL (see `shopsight.io.addresses`) or a member of an IDX container.
        access: which files, hosts and stores may be read: `Catalog.access`.

    Returns:
        The file's bytes, at least one.

    Raises:
        ImageError: "missing", "empty", "not an image" (a folder), "unreadable", "outside" (what
            `access` allows), "too large", or for a URL one of `shopsight.io.reasons`.
    """
    member = idx_member(ref)
    if member is not None and not os.path.exists(ref):  # noqa: PTH110 - as below
        return read_member(*member, roots=access.roots)
    try:
        data = read_location(ref, access, most_bytes=IMAGE_BYTES)
    except LocationError as error:
        raise ImageError(error.reason, error.what, where=shown(ref), fix=error.fix) from error
    except FileNotFoundError:
        if has_escapes(ref):
            raise ImageError("unreadable", NOT_UNICODE, where=ref) from None
        # An empty name, mostly a variable of a script that is not set, is shown as such.
        raise ImageError("missing", "no such file", where=ref or repr(ref)) from None
    except OSError as error:
        # Windows says "permission denied" of a folder.
        # Unlike Path.is_dir, no error for a name that is too long.
        if not is_url(ref) and os.path.isdir(ref):  # noqa: PTH112
            raise ImageError("not an image", "this is a folder", where=ref) from None
        raise ImageError("unreadable", error.strerror or str(error), where=ref) from error
    except ValueError as error:
        # A zero byte, which no name has.
        raise ImageError("missing", f"no such file: {error}", where=repr(ref)) from error
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
    with decoding():
        opened = open_image(data, where=where)
        with opened.image as image:
            return Header(opened.kind, *upright_size(*image.size, opened.orientation))


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
    with decoding():
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


def decode_jpeg_upright(
    data: bytes, jpeg: JpegHeader, *, shrink: int, where: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a JPEG whose header is known, within a block of `decoding`.

    Args:
        data: the file.
        jpeg: its header.
        shrink: decode at 1/8, 1/4, 1/2 or 1/1 of the size.
        where: the file's name, for the error.

    Returns:
        Upright sRGB.

    Raises:
        ImageError: "truncated", "damaged" or "too large".
    """
    cost = jpeg_cost(jpeg, len(data), shrink=shrink)
    take_room(cost, size=(jpeg.width, jpeg.height), where=where)
    if jpeg.components == 4:
        # Pillow goes on without a word where pixels are missing.
        decode_jpeg(data, jpeg, shrink=SHRINKS[0], where=where)
        size = shrunk_size(jpeg.width, jpeg.height, shrink)
        return _decode_by_pillow(data, matte=WHITE, where=where, draft=size)
    gray_profile = jpeg.components == 1 and jpeg.profile is not None
    colorspace: Literal["RGB", "GRAY"] = "GRAY" if gray_profile else "RGB"
    pixels = decode_jpeg(data, jpeg, shrink=shrink, colorspace=colorspace, where=where)
    if jpeg.profile is not None:
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
    take_room(raw_cost(width, height, len(data)), size=(width, height), where=where)
    values = np.frombuffer(data, np.uint8, count=width * height * channels, offset=raw.end())
    pixels = values.reshape(height, width, channels)
    return pixels.repeat(3, axis=2) if channels == 1 else pixels.copy()


def _decode_by_pillow(
    data: bytes, *, matte: Color, where: str | None, draft: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode any format; a JPEG no smaller than `draft` (width, height), where that is given."""
    opened = open_image(data, where=where)
    with opened.image as image:
        check_pixels(*image.size, where)
        if draft is None:
            take_room(opened_cost(opened, len(data)), size=image.size, where=where)
        else:
            image.draft(None, draft)
        pixels = decode_opened(opened, data, matte=matte, where=where)
    orientation = opened.orientation
    del image, opened  # Their pixels are no longer needed.
    return upright(pixels, orientation)
