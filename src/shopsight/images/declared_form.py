"""What a file declares of its content beside its size: its color space, and whether it moves."""

from __future__ import annotations

from typing import NamedTuple

from shopsight.images import png
from shopsight.images.decode_room import decoding
from shopsight.images.icc import profile_name
from shopsight.images.jpeg import is_jpeg, jpeg_header
from shopsight.images.pillow_reader import open_image

UNTAGGED, GRAY, CMYK = "untagged", "gray", "CMYK"
# Pillow's modes of gray values.
_GRAY_MODES = ("1", "L", "LA", "I", "F")
# Formats in which several images are a film; in TIFF they are pages.
_FILMS = frozenset({"gif", "webp", "avif"})


class DeclaredForm(NamedTuple):
    """What a file declares.

    Attributes:
        color_space: "CMYK", "gray", "sRGB", the name of another profile, or "untagged": RGB without
            one, which is read as sRGB everywhere.
        is_animated: whether it holds several images that are shown one after another.
    """

    color_space: str
    is_animated: bool


def declared_form(data: bytes) -> DeclaredForm:
    """Read what a file declares, without decoding its pixels.

    Raises:
        ImageError: the bytes are not an image that can be read.
    """
    if is_jpeg(data):
        jpeg = jpeg_header(data)
        if jpeg.components != 3:
            return DeclaredForm(GRAY if jpeg.components == 1 else CMYK, is_animated=False)
        return DeclaredForm(_of_profile(jpeg.profile), is_animated=False)
    with decoding():
        opened = open_image(data, where=None)
        with opened.image as image:
            # What is read of a PNG has no animation any more.
            film = opened.kind in _FILMS and getattr(image, "is_animated", False)
            moving = film or (opened.kind == "png" and _is_animated_png(data))
            if image.mode == "CMYK":
                return DeclaredForm(CMYK, moving)
            if image.mode.startswith(_GRAY_MODES):
                return DeclaredForm(GRAY, moving)
            return DeclaredForm(_of_profile(image.info.get("icc_profile")), moving)


def _is_animated_png(data: bytes) -> bool:
    return any(kind == b"acTL" for kind, _, _ in png.chunks(data))


def _of_profile(profile: bytes | None) -> str:
    return profile_name(profile) if profile else UNTAGGED
