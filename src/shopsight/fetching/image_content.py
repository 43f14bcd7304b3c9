"""What a server sent instead of, or as, an image: its first bytes decide, not its name."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from shopsight.control_characters import one_line
from shopsight.errors import ImageError, RemoteError
from shopsight.images.damage import check_whole
from shopsight.images.decode import decode, header
from shopsight.images.jpeg import is_jpeg
from shopsight.images.kinds import KINDS, is_image_kind, kind_of_bytes
from shopsight.images.pixel_limit import check_pixels

SUFFIX_OF_KIND = {
    "jpeg": ".jpg", "tiff": ".tif", "pnm": ".pnm", "jpeg2000": ".jp2", "jpeg-xl": ".jxl",
    "jpeg-xr": ".jxr", "photoshop": ".psd", "gimp": ".xcf", "raw": ".raw", "metafile": ".emf",
    "cursor": ".cur", "dicom": ".dcm",
}  # fmt: skip
"""The suffix under which a kind of image is kept, where it is not the kind's own name."""

_LONGEST_TITLE, _LOOKED_AT = 80, 1 << 16
_TITLE = re.compile(rb"<title[^>]*>(.{0,1000}?)</title", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image file says of itself.

    Attributes:
        kind: a key of `images.kinds.KINDS`.
        width: pixels, upright; None of a format that is not read.
        height: likewise.
    """

    kind: str
    width: int | None
    height: int | None


def suffix_of_kind(kind: str) -> str:
    """The suffix under which an image of this kind is kept.

    >>> suffix_of_kind("jpeg"), suffix_of_kind("heic")
    ('.jpg', '.heic')
    """
    return SUFFIX_OF_KIND.get(kind, f".{kind}")


def read_facts(data: bytes, *, asked: str, answered: str, is_measured: bool) -> ImageFacts:
    """Look at what a server sent.

    An image that is not read (HEIC without its extra, a raw file) is one nevertheless.

    Args:
        data: what it sent.
        asked: the address that was asked for.
        answered: the one that gave it, behind redirects.
        is_measured: its length was said beforehand. What ends with its connection may have been cut
            off, and is looked at closely.

    Raises:
        ImageError: it is no image, or one that cannot be decoded.
        RemoteError: "interrupted".
    """
    if not data:
        raise ImageError("empty", "the server sent an empty file")
    kind = kind_of_bytes(data)
    if kind is None or not is_image_kind(kind):
        raise ImageError("not an image", _other_words(kind, data, asked, answered))
    if not is_measured:
        _refuse_cut_off(data)
    try:
        found = header(data)
    except ImageError as error:
        if error.reason == "unsupported" and KINDS[kind].way_out:
            return ImageFacts(kind, None, None)
        raise
    check_pixels(found.width, found.height, None)
    return ImageFacts(found.format, found.width, found.height)


def _refuse_cut_off(data: bytes) -> None:
    try:
        if is_jpeg(data):
            check_whole(data)
        else:
            decode(data)
    except ImageError as error:
        if error.reason == "unsupported":
            return
        what = f"the answer ends without a length, and the image is not whole: {error.what}"
        raise RemoteError("interrupted", what) from error


def _other_words(kind: str | None, data: bytes, asked: str, answered: str) -> str:
    """What came instead of an image; of a page its title, and where a redirect led."""
    words = "bytes of no known kind" if kind is None else KINDS[kind].words
    if kind == "html":
        title = _title(data)
        words += f" titled {title!r}" if title else " without a title"
    led = f", to which {asked} was redirected" if answered != asked else ""
    return f"the server sent {words}, no image" + (f", from {answered}{led}" if led else "")


def _title(page: bytes) -> str:
    found = _TITLE.search(page[:_LOOKED_AT])
    if found is None:
        return ""
    text = html.unescape(found[1].decode("utf-8", "replace"))
    text = one_line(" ".join(text.split()))
    return text if len(text) <= _LONGEST_TITLE else f"{text[:_LONGEST_TITLE]}..."
