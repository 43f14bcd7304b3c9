"""From any of Pillow's modes to sRGB: wide values, palettes, transparency, profiles.

An image of 100 megapixels has half a gigabyte in each of the forms between. So all but what
depends on the image as a whole (the range of its values) is done by strips of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num, UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images import levels, png
from shopsight.images.icc import image_to_srgb
from shopsight.images.tiff import TiffDirectory
from shopsight.preprocess import Color

# Many programs write four channels and leave the fourth at zero.
_ALPHA_MAY_BE_UNUSED = frozenset({"bmp", "ico", "tga"})
# Pixels that are converted at a time. Smaller images, which most are, make one strip.
_STRIP_PIXELS = 1 << 20


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


class _Layers(NamedTuple):
    """An image on its way to sRGB.

    Attributes:
        color: of any mode with at most 8 bits per channel.
        opacity: of mode "L"; None where `color` says it, or everything is opaque.
        has_alpha: whether `color` says what is transparent.
    """

    color: Image.Image
    opacity: Image.Image | None = None
    has_alpha: bool = False


def to_srgb(
    opened: Opened, data: bytes, *, matte: Color, where: str | None
) -> UInt8[np.ndarray, "h w 3"]:
    """Convert an image whose pixels are loaded to sRGB, transparent pixels laid on the matte.

    Args:
        opened: what was made of `data`.
        data: the file.
        matte: the color under transparent pixels.
        where: the file's name, for the error.

    Returns:
        RGB, not turned.

    Raises:
        ImageError: "unsupported": values of which none is known to be white.
    """
    layers = _layers(opened, data, where)
    profile = opened.image.info.get("icc_profile")
    width, height = layers.color.size
    frame = None if opened.frame == (0, 0, width, height) else opened.frame
    rgb = np.empty((height, width, 3), np.uint8)
    for top, bottom in _strips(width, height):
        strip = _rows(layers, top, bottom)
        part = None if frame is None else (frame[0], frame[1] - top, frame[2], frame[3] - top)
        rgb[top:bottom] = np.asarray(_strip_to_srgb(strip, profile, part, matte))
    return rgb


def _layers(opened: Opened, data: bytes, where: str | None) -> _Layers:
    """Do what depends on the image as a whole."""
    image, kind, tiff = opened.image, opened.kind, opened.tiff
    if image.mode.startswith("I") or image.mode == "F":
        return _Layers(*_gray_of_wide(opened, where))
    if kind == "png" and png.depth_and_color(data) == (16, 2) and "transparency" in image.info:
        return _Layers(*_keyed_rgb_of_16_bits(data, image.info["transparency"]))
    if image.has_transparency_data:
        return _Layers(image, has_alpha=_has_used_alpha(opened, data))
    if tiff is not None and tiff.sample_format == 2 and image.mode == "L":
        signed = np.asarray(image).view(np.int8)
        return _Layers(Image.fromarray(levels.from_any(signed, where=where)))
    return _Layers(image)


def _strips(width: int, height: int) -> Iterator[tuple[int, int]]:
    """The first row of each strip, and the first one behind it."""
    rows = max(1, _STRIP_PIXELS // width)
    return ((top, min(height, top + rows)) for top in range(0, height, rows))


def _rows(layers: _Layers, top: int, bottom: int) -> _Layers:
    """A strip of an image; the image itself where that is all of it."""
    color, opacity = layers.color, layers.opacity
    width, height = color.size
    if (top, bottom) == (0, height):
        return layers
    box = (0, top, width, bottom)
    cut = None if opacity is None else opacity.crop(box)
    return layers._replace(color=color.crop(box), opacity=cut)


def _strip_to_srgb(
    strip: _Layers,
    profile: bytes | None,
    frame: tuple[int, int, int, int] | None,
    matte: Color,
) -> Image.Image:
    """Convert a strip to "RGB"; `frame` is the part that the image covers, counted from its top."""
    color, opacity, has_alpha = strip
    if has_alpha:
        color, opacity = _split_alpha(color)
    elif color.has_transparency_data:
        color = color.convert("RGBA").convert("RGB")
    elif color.mode not in {"L", "RGB", "CMYK"}:
        color = color.convert("L" if color.mode in {"1", "L;16"} else "RGB")
    if profile:
        color = image_to_srgb(color, profile)
    if color.mode != "RGB":
        color = color.convert("RGB")
    if frame is not None:
        opacity = _within(frame, opacity, color.size)
    if opacity is None:
        return color
    background = Image.new("RGB", color.size, matte)
    background.paste(color, mask=opacity)
    return background


def _has_used_alpha(opened: Opened, data: bytes) -> bool:
    """Whether the opacity counts, which it does not where the format's channel is unused."""
    image = opened.image
    if opened.kind == "png" and isinstance(image.info.get("transparency"), int):
        depth, color = png.depth_and_color(data)
        if color == 0 and depth in {2, 4}:
            # Pillow scales the gray values to 8 bits, and not the one that is transparent.
            image.info["transparency"] *= 255 // (2**depth - 1)
    if opened.kind not in _ALPHA_MAY_BE_UNUSED or image.mode not in {"RGBA", "LA"}:
        return True
    return image.getextrema()[-1] != (0, 0)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Separate the color and the opacity."""
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    return image.convert("RGB"), image.getchannel("A")


def _within(
    frame: tuple[int, int, int, int], opacity: Image.Image | None, size: tuple[int, int]
) -> Image.Image:
    """The opacity of an image that covers only a part of its canvas, as browsers show it."""
    mask = Image.new("L", size, 0)
    mask.paste(255 if opacity is None else opacity.crop(frame), frame)
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
    try:
        import cv2  # Imported late, so that decoding images does not wait for it.
    except ModuleNotFoundError as error:
        raise ImageError(
            "unsupported",
            "has pixels of 16 bits, which OpenCV reads, and that is not installed",
            fix='pip install "shopsight[train]"',
        ) from error
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _mask(opaque: Bool[np.ndarray, "h w"]) -> Image.Image:
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))
