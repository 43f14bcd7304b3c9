"""Changes of color and texture of single uint8 images, made in place or as one matrix."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import permutations
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from shopsight.preprocess import Color

BlurKind = Literal["box", "gaussian", "median"]

# ITU-R BT.601, the luma of Pillow's and OpenCV's gray.
LUMA = np.array([0.299, 0.587, 0.114])
# NTSC's luma and the plane of the colors: hue is the angle in the plane of I and Q.
_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_CHANNEL_ORDERS = np.array([np.eye(3)[list(order)] for order in permutations(range(3))])
# The noise table holds 128 + 32 g for a standard normal g: four standard deviations fit.
_NOISE_MIDDLE, _NOISE_UNIT = 128.0, 32.0
NOISE_OFFSETS = 256


def color_matrices(
    *,
    brightness: Float64[np.ndarray, "b"],
    contrast: Float64[np.ndarray, "b"],
    saturation: Float64[np.ndarray, "b"],
    hue: Float64[np.ndarray, "b"],
) -> tuple[Float64[np.ndarray, "b 3 3"], Float64[np.ndarray, "b"]]:
    """Combine brightness, contrast, saturation and hue, in this order, into one matrix per image.

    Each of the four is linear in the colors, but for contrast's mean:

    - brightness b: rgb -> b rgb;
    - contrast k: rgb -> m + k (rgb - m) with m the image's mean gray, here of the brightened image,
      b m; so far k b rgb + (1 - k) b m;
    - saturation f: rgb -> y + f (rgb - y) with y the pixel's own gray, luma . rgb: the matrix
      f 1 + (1 - f) (1, 1, 1)^T luma^T;
    - hue: a turn in the plane of I and Q, inverse(YIQ) R YIQ.

    Grays pass through the last two unchanged, so that the mean's part stays (1 - k) b m for all
    three channels. One matrix product per pixel replaces four passes over the image, and the
    values are rounded and clipped once.

    Args:
        brightness: Factor.
        contrast: Factor of the distance from the mean gray.
        saturation: Factor of the distance from the pixel's gray.
        hue: Turn, as a fraction of the full circle.

    Returns:
        The matrices, and the factors of the mean gray that `recolor` adds.
    """
    turn = 2 * np.pi * hue
    rotation = np.zeros((len(hue), 3, 3))
    rotation[:, 0, 0] = 1.0
    rotation[:, 1, 1] = rotation[:, 2, 2] = np.cos(turn)
    rotation[:, 2, 1] = np.sin(turn)
    rotation[:, 1, 2] = -rotation[:, 2, 1]
    rotate_hue = np.linalg.inv(_YIQ) @ rotation @ _YIQ
    keep = saturation[:, None, None]
    saturate = keep * np.eye(3) + (1 - keep) * np.outer(np.ones(3), LUMA)
    matrices = (contrast * brightness)[:, None, None] * (rotate_hue @ saturate)
    return matrices, (1 - contrast) * brightness


def channel_orders(choice: Float64[np.ndarray, "b"]) -> Float64[np.ndarray, "b 3 3"]:
    """Return one of the six orders of the channels for each number in [0, 1), as matrices."""
    matrices: Float64[np.ndarray, "b 3 3"]
    matrices = _CHANNEL_ORDERS[(choice * len(_CHANNEL_ORDERS)).astype(int)]
    return matrices


def recolor(
    image: UInt8[np.ndarray, "s s 3"], matrix: Float64[np.ndarray, "3 3"], mean_factor: float
) -> None:
    """Replace each color by `matrix @ rgb + mean_factor * mean gray of the image`, clipped."""
    affine = np.empty((3, 4))
    affine[:, :3] = matrix
    affine[:, 3] = mean_factor * float(LUMA @ cv2.mean(image)[:3]) if mean_factor else 0.0
    cv2.transform(image, affine, dst=image)


def equalize(image: UInt8[np.ndarray, "s s 3"], clip_limit: float) -> None:
    """Equalize the lightness by contrast-limited adaptive histograms (CLAHE).

    Source: Zuiderveld 1994, "Contrast limited adaptive histogram equalization".
    """
    tiles = 8 if len(image) >= 64 else 2
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    # The object keeps its histograms in itself: one per call, because threads call this.
    equalizer = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles))
    cv2.insertChannel(equalizer.apply(cv2.extractChannel(lab, 0)), lab, 0)
    cv2.cvtColor(lab, cv2.COLOR_LAB2RGB, dst=image)


def add_noise(
    image: UInt8[np.ndarray, "s s 3"], *, std: float, x: int, y: int, negative: bool
) -> None:
    """Add Gaussian noise: a window of one fixed table.

    Sampling normal numbers takes longer than all other changes together; a window at a random
    offset of one table, with a random sign, gives 2 x 256 x 256 different noises for the price of
    an addition.

    Args:
        image: Changed in place.
        std: Standard deviation, of 255.
        x: Offset of the window, 0 <= x < NOISE_OFFSETS.
        y: Likewise.
        negative: Whether the noise is subtracted.
    """
    side = len(image)
    window = _noise_table(side + NOISE_OFFSETS)[y : y + side, x : x + side]
    weight = (-std if negative else std) / _NOISE_UNIT
    cv2.addWeighted(image, 1.0, window, weight, -_NOISE_MIDDLE * weight, dst=image)


def blur(image: UInt8[np.ndarray, "s s 3"], kind: BlurKind, kernel_px: int) -> None:
    """Blur in place with an odd kernel."""
    if kind == "box":
        cv2.blur(image, (kernel_px, kernel_px), dst=image)
    elif kind == "gaussian":
        cv2.GaussianBlur(image, (kernel_px, kernel_px), 0, dst=image)
    else:
        cv2.medianBlur(image, kernel_px, dst=image)


def erase(
    image: UInt8[np.ndarray, "s s 3"],
    *,
    area: float,
    aspect: float,
    x: float,
    y: float,
    color: Color | None,
) -> None:
    """Cover a box with one color.

    Args:
        image: Changed in place.
        area: Fraction of the image.
        aspect: Height by width.
        x: Where the box is, from 0 (left) to 1 (right).
        y: Where the box is, from 0 (top) to 1 (bottom).
        color: None is the image's mean color; a gray image gets its red as a gray.

    Source: Zhong et al. 2017, "Random Erasing Data Augmentation".
    """
    side = len(image)
    height = min(side, max(1, round(side * math.sqrt(area * aspect))))
    width = min(side, max(1, round(side * math.sqrt(area / aspect))))
    left, top = round(x * (side - width)), round(y * (side - height))
    red, green, blue = cv2.mean(image)[:3]
    if color is None:
        color = (round(red), round(green), round(blue))
    elif red == green == blue:
        # A colored box would be a thing that no gray image holds.
        color = (color[0],) * 3
    image[top : top + height, left : left + width] = color


@lru_cache(maxsize=8)
def _noise_table(side: int) -> UInt8[np.ndarray, "{side} {side} 3"]:
    normal = np.random.default_rng(20).standard_normal((side, side, 3), dtype=np.float32)
    table: UInt8[np.ndarray, "{side} {side} 3"]
    table = np.clip(np.rint(_NOISE_MIDDLE + _NOISE_UNIT * normal), 0, 255).astype(np.uint8)
    table.setflags(write=False)
    return table
