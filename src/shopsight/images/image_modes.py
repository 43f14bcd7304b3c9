"""From any of Pillow's modes to sRGB: wide values, palettes, transparency, profiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num
from PIL import Image

from shopsight.images import levels, png
from shopsight.images.icc import image_to_srgb
from shopsight.images.tiff import TiffDirectory
from shopsight.preprocess import Color

# Many programs write four channels and leave the fourth at zero.
_ALPHA_MAY_BE_UNUSED = frozenset({"bmp", "ico", "tga"})


class Opened(NamedTuple):
    """An image whose header was read.

    Attributes:
        image: Pillow's, not turned; its pixels are read at `load`.
        kind: its format, a key of `kinds.KINDS`.
        orientation: 1 to 8.
        tiff: the directory, of a TIFF.
        frame: of a GIF, the part that its first image covers: left, top, right, bottom.
    """

    image: Image.Image
    kind: str
    orientation: int
    tiff: TiffDirectory | None
    frame: tuple[int, int, int, int] | None


def to_srgb(opened: Opened, data: bytes, *, matte: Color, where: str | None) -> Image.Image:
    """Convert an image whose pixels are loaded to sRGB, transparent pixels laid on the matte.

    Args:
        opened: what was made of `data`.
        data: the file.
        matte: the color under transparent pixels.
        where: the file's name, for the error.

    Returns:
        An "RGB" image, not turned.

    Raises:
        ImageError: "unsupported": values of which none is known to be white.
    """
    image, kind, tiff = opened.image, opened.kind, opened.tiff
    profile = image.info.get("icc_profile")
    alpha: Image.Image | None = None
    if image.mode.startswith("I") or image.mode == "F":
        image, alpha = _gray_of_wide(opened, where)
    elif kind == "png" and png.depth_and_color(data) == (16, 2) and "transparency" in image.info:
        image, alpha = _keyed_rgb_of_16_bits(data, image.info["transparency"])
    elif image.has_transparency_data:
        image, alpha = _split_alpha(opened, data)
    elif tiff is not None and tiff.sample_format == 2 and image.mode == "L":
        image = Image.fromarray(levels.from_any(np.asarray(image).view(np.int8), where=where))
    elif image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("L" if image.mode in {"1", "L;16"} else "RGB")
    if profile:
        image = image_to_srgb(image, profile)
    image = image.convert("RGB")
    if opened.frame not in {None, (0, 0, *image.size)}:
        alpha = _within(opened.frame, alpha, image.size)
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


def _within(
    frame: tuple[int, int, int, int], alpha: Image.Image | None, size: tuple[int, int]
) -> Image.Image:
    """The opacity of an image that covers only a part of its canvas, as browsers show it."""
    mask = Image.new("L", size, 0)
    mask.paste(255 if alpha is None else alpha.crop(frame), frame)
    return mask


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
        if image.mode == "I" and tiff is not None and tiff.sample_format == 1:
            values = values.view(np.uint32)  # Pillow has no mode for them.
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
    decoded = stored_values(data)
    if decoded is None:
        raise ValueError("the PNG's pixels cannot be decoded")
    values = decoded[:, :, 2::-1]
    opaque = (values != np.array(key)).any(axis=2)
    return Image.fromarray(levels.from_bits(values, 16)), _mask(opaque)


def stored_values(data: bytes) -> Num[np.ndarray, "..."] | None:
    """Decode by OpenCV, which keeps every type; channels are in the order BGR. None on failure."""
    import cv2  # Imported late, so that decoding images does not wait for it.

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _mask(opaque: Bool[np.ndarray, "h w"]) -> Image.Image:
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))
