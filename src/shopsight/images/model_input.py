"""From a file's bytes to the square image that the network sees: the one code path.

Train, evaluate, predict and export all come through here. Mean and standard deviation are not
applied here but on the batch, by the model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import interpolate

from shopsight.errors import ImageError
from shopsight.images.decode import check_pixels, decode, decode_jpeg_upright
from shopsight.images.jpeg import SHRINKS, jpeg_header
from shopsight.images.jpeg import SIGNATURE as JPEG_SIGNATURE
from shopsight.preprocess import Color, Preprocess

PREPROCESS_VERSION = 1
"""Raised whenever the same file and the same Preprocess would give other pixels than before."""


class Box(NamedTuple):
    """The part of the image that counts, in pixels of the upright image at full size."""

    x: float
    y: float
    w: float
    h: float


def preprocess_image(
    data: bytes, preprocess: Preprocess, *, box: Box | None = None, where: str | None = None
) -> UInt8[np.ndarray, "s s 3"]:
    """Decode an image and lay it on the square of side `preprocess.size_px`.

    JPEGs are decoded at the smallest power-of-two scale that still need not be enlarged.

    Raises:
        ImageError: the bytes cannot be decoded, or the box lies outside the image.
    """
    if not data.startswith(JPEG_SIGNATURE):
        rgb = decode(data, matte=preprocess.matte, where=where)
        return preprocess_array(rgb, preprocess, box=box, where=where)
    jpeg = jpeg_header(data, where=where)
    check_pixels(jpeg.width, jpeg.height, where)
    width, height = jpeg.width, jpeg.height
    if jpeg.orientation >= 5:
        width, height = height, width
    part = _whole_or_inside(box, width, height, where)
    goal = _resized(part.w, part.h, preprocess)
    shrink = next((n for n in SHRINKS if part.w / n >= goal[0] and part.h / n >= goal[1]), 1)
    rgb = decode_jpeg_upright(data, jpeg, shrink=shrink, where=where)
    return _laid(_cut(rgb, part, width, height), goal, preprocess)


def preprocess_array(
    rgb: UInt8[np.ndarray, "h w 3"],
    preprocess: Preprocess,
    *,
    box: Box | None = None,
    where: str | None = None,
) -> UInt8[np.ndarray, "s s 3"]:
    """Lay RGB pixels on the square of side `preprocess.size_px`.

    Raises:
        ImageError: the box lies outside the image.
    """
    height, width = rgb.shape[:2]
    part = _whole_or_inside(box, width, height, where)
    goal = _resized(part.w, part.h, preprocess)
    return _laid(_cut(rgb, part, width, height), goal, preprocess)


def resize(
    rgb: UInt8[np.ndarray, "h w 3"], width: int, height: int, interpolation: str = "bicubic"
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Antialiased resize on uint8 ("bilinear" or "bicubic"), within a level of Pillow's."""
    if rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(rgb)
    # torch warns of arrays that cannot be written to, and needs its own strides.
    pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
    # The batch axis is put first, then channels are moved: torch then keeps channels last inside
    # and gives the result back that way, which saves two copies.
    batch = pixels[None].permute(0, 3, 1, 2)
    resized = interpolate(batch, (height, width), mode=interpolation, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def edge_color(rgb: UInt8[np.ndarray, "h w 3"]) -> Color:
    """Mean color of the outermost pixels, the corners counted once."""
    edges = (rgb[0], rgb[-1], rgb[1:-1, 0], rgb[1:-1, -1])
    red, green, blue = np.concatenate(edges).mean(axis=0).round().astype(int).tolist()
    return red, green, blue


class _Part(NamedTuple):
    """A part of an image in whole pixels, not empty."""

    x: int
    y: int
    w: int
    h: int


def _whole_or_inside(box: Box | None, width: int, height: int, where: str | None) -> _Part:
    """The part of the image inside the box; what of the box lies outside is ignored."""
    if box is None:
        return _Part(0, 0, width, height)
    left, top = max(0, round(box.x)), max(0, round(box.y))
    right, bottom = min(width, round(box.x + box.w)), min(height, round(box.y + box.h))
    if box.w <= 0 or box.h <= 0 or left >= width or top >= height or right < 0 or bottom < 0:
        raise ImageError(
            "bad box", f"box {tuple(box)} lies outside the {width}x{height} image", where=where
        )
    return _Part(left, top, max(1, right - left), max(1, bottom - top))


def _cut(
    rgb: UInt8[np.ndarray, "h w 3"], part: _Part, width: int, height: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """`part` is in pixels of the full `width` and `height`, of which `rgb` is the whole."""
    if part == (0, 0, width, height):
        return rgb
    scale_x, scale_y = rgb.shape[1] / width, rgb.shape[0] / height
    left, top = round(part.x * scale_x), round(part.y * scale_y)
    right, bottom = round((part.x + part.w) * scale_x), round((part.y + part.h) * scale_y)
    return rgb[top : max(bottom, top + 1), left : max(right, left + 1)]


def _resized(width: int, height: int, preprocess: Preprocess) -> tuple[int, int]:
    """Width and height of the whole image on the square's scale."""
    size = preprocess.size_px
    match preprocess.resize:
        case "squash":
            return size, size
        case "pad":
            scale = size / max(width, height)
        case "crop":
            scale = max(size, round(size / preprocess.crop_fraction)) / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _laid(
    rgb: UInt8[np.ndarray, "h w 3"], goal: tuple[int, int], preprocess: Preprocess
) -> UInt8[np.ndarray, "s s 3"]:
    """Resize to `goal` (width, height) and make it square."""
    resized = resize(rgb, *goal, preprocess.interpolation)
    match preprocess.resize:
        case "squash":
            return resized
        case "crop":
            return _middle(resized, preprocess.size_px)
        case "pad":
            color = preprocess.pad_color
            return _padded(
                resized, preprocess.size_px, edge_color(rgb) if color == "edge" else color
            )


def _middle(rgb: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "s s 3"]:
    top, left = round((rgb.shape[0] - size) / 2), round((rgb.shape[1] - size) / 2)
    return np.ascontiguousarray(rgb[top : top + size, left : left + size])


def _padded(rgb: UInt8[np.ndarray, "h w 3"], size: int, color: Color) -> UInt8[np.ndarray, "s s 3"]:
    height, width = rgb.shape[:2]
    if (height, width) == (size, size):
        return rgb
    square = np.empty((size, size, 3), np.uint8)
    # Whole rows at a time: writing three values at a time would cost as much as the resize.
    square.reshape(size, -1)[:] = np.tile(np.array(color, np.uint8), size)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = rgb
    return square
