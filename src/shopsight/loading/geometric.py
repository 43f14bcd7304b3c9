"""Affine warps of uint8 images: one matrix for flip, scale, rotation, stretch and shift.

**Coordinates.** The center of pixel (i, j) is the point (i, j), as OpenCV has it. An image of side
s then reaches from -1/2 to s - 1/2, and its middle is (s - 1) / 2: not s / 2, which would shift
every result by half a pixel.

**Inverse mapping.** The matrix leads from target to source. Each target pixel asks where it comes
from and gets exactly one value; the other way round, pixels of the source would land beside each
other and leave holes. A random "window of the source" is therefore the natural parameter, and no
matrix is ever inverted.

**Aliasing.** Bilinear sampling reads the four source pixels around a point. Where target pixels
are r > 1 source pixels apart it skips what lies between, and detail finer than 2 r pixels comes
out as false patterns. A Gaussian before the warp takes that detail away.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from shopsight.preprocess import Color, PadColor

_FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
# Standard deviation of the Gaussian in source pixels, per unit of reduction. It came nearest to 8x
# supersampling on product photos at every reduction from 1.2 to 3.5: 42 dB at 1.75, against 36
# without and 39 with an INTER_AREA resize before the warp, which also takes three times as long.
_SIGMA_PER_REDUCTION = 0.34
_REDUCTION_THAT_ALIASES = 1.2


def warp_matrices(
    *,
    source_px: int,
    target_px: int,
    hflip: Bool[np.ndarray, "b"],
    vflip: Bool[np.ndarray, "b"],
    scale: Float64[np.ndarray, "b"],
    rotate_rad: Float64[np.ndarray, "b"],
    stretch: Float64[np.ndarray, "b"],
    shift: Float64[np.ndarray, "b 2"],
) -> Float64[np.ndarray, "b 2 3"]:
    """Return matrices from target pixels to source pixels, as `cv2.WARP_INVERSE_MAP` takes them.

    A target pixel u is moved to the middle of the target, scaled, mirrored, turned, and moved to
    the (shifted) middle of the source:

        x = R(rotate) diag(a, b) (u - (t - 1)/2) + (s - 1)/2 + shift s,
        a = +-p sqrt(stretch),  b = +-p / sqrt(stretch),  p = scale s / t,

    with s and t the sides of source and target, and a minus sign for a flip. The two square roots
    leave the window's area, p^2 per target pixel, as it is. The first factors are the left 2 x 2
    block L of the result, and its last column is what is left at u = 0:
    (s - 1)/2 + shift s - L (t - 1)/2.

    Args:
        source_px: s, the side of the source.
        target_px: t, the side of the target.
        hflip: Mirror left and right.
        vflip: Mirror top and bottom.
        scale: Side of the window that fills the target, in sides of the source.
        rotate_rad: Angle of the window; positive turns x towards y.
        stretch: Width of the window by its height.
        shift: x and y of the window's middle, in sides of the source.
    """
    cos, sin = np.cos(rotate_rad), np.sin(rotate_rad)
    per_px = scale * source_px / target_px
    across = per_px * np.sqrt(stretch) * np.where(hflip, -1.0, 1.0)
    down = per_px / np.sqrt(stretch) * np.where(vflip, -1.0, 1.0)
    matrices = np.empty((len(scale), 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cos * across, -sin * down
    matrices[:, 1, 0], matrices[:, 1, 1] = sin * across, cos * down
    middle = (source_px - 1) / 2 + shift * source_px
    matrices[:, :, 2] = middle - matrices[:, :, :2].sum(axis=2) * (target_px - 1) / 2
    return matrices


def warp(
    image: UInt8[np.ndarray, "s s 3"],
    matrix: Float64[np.ndarray, "2 3"],
    *,
    out: UInt8[np.ndarray, "t t 3"],
    fill: Color,
    reduction: float,
) -> None:
    """Warp `image` into `out`.

    Args:
        image: The source.
        matrix: From target to source, see `warp_matrices`.
        out: The target, overwritten.
        fill: What lies outside the image becomes this.
        reduction: Source pixels per target pixel along a side.
    """
    if reduction > _REDUCTION_THAT_ALIASES:
        sigma = _SIGMA_PER_REDUCTION * reduction
        # Two standard deviations to each side hold 95 % of the weight. Below 1 px the three pixels
        # around the middle do, and OpenCV is far faster with 3 x 3.
        side = 3 if sigma < 1.0 else 2 * int(np.ceil(2 * sigma)) + 1
        image = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    cv2.warpAffine(image, matrix, out.shape[:2], dst=out, flags=_FLAGS, borderValue=fill)


def flip_into(
    image: UInt8[np.ndarray, "s s 3"],
    *,
    out: UInt8[np.ndarray, "s s 3"],
    hflip: bool,
    vflip: bool,
) -> None:
    """Copy `image` into `out`, mirrored: the same pixels, no interpolation."""
    if hflip or vflip:
        # 40 times as fast as assigning a slice with a negative step.
        cv2.flip(image, -1 if hflip and vflip else int(not vflip), dst=out)
    else:
        out[:] = image


def shift_into(
    image: UInt8[np.ndarray, "s s 3"],
    *,
    out: UInt8[np.ndarray, "s s 3"],
    x_px: int,
    y_px: int,
    fill: Color,
) -> None:
    """Copy `image` into `out`, moved right by `x_px` and down by `y_px` whole pixels."""
    side = len(image)
    x_px, y_px = (max(-side, min(side, move)) for move in (x_px, y_px))
    out[:] = np.asarray(fill, np.uint8)
    rows, from_rows = _overlap(side, y_px)
    columns, from_columns = _overlap(side, x_px)
    out[rows, columns] = image[from_rows, from_columns]


def resize_into(image: UInt8[np.ndarray, "s s 3"], *, out: UInt8[np.ndarray, "t t 3"]) -> None:
    """Resize without aliasing: means of areas downwards, bilinear upwards."""
    shrinks = len(out) < len(image)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.resize(image, out.shape[:2], dst=out, interpolation=method)


def fill_colors(images: UInt8[np.ndarray, "b s s 3"], pad_color: PadColor) -> list[Color]:
    """Return the color outside each image: `pad_color`, or the mean of its outermost pixels."""
    if pad_color != "edge":
        return [pad_color] * len(images)
    sides = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    mean = np.concatenate(sides, axis=1).mean(axis=1)
    return [(r, g, b) for r, g, b in np.rint(mean).astype(int).tolist()]


def _overlap(side: int, move: int) -> tuple[slice, slice]:
    """Return where the moved pixels go, and where they come from, along one axis."""
    return (
        slice(max(0, move), side + min(0, move)),
        slice(max(0, -move), side - max(0, move)),
    )
