"""What rules about images ask of the pixels: white borders, fill, frames, edges that are touched.

All of it is measured on upright sRGB with transparent pixels laid on white. Rules only compare the
values, so that one decode serves every set of rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

NEAR_WHITE, PURE_WHITE = 240, 255
"""Least level of a pixel's darkest channel that is near white, and pure white."""
BORDER = 0.02
"""Width of the strip along the edges in which white is counted, as a fraction of the short side."""
WHITE_SHARE = 0.98
"""Fraction of the strip that is near white where the ground is called white."""

# Beside a dark edge the white of a JPEG has waves of some levels, within a block of 16 pixels: the
# rest of the strip says how white it is, where it is at least this fraction.
_DARK, _RINGING_PX, _LEAST_QUIET = 200, 16, 0.25
# The product is looked for in a copy of at most this size: finer detail moves no edge by a percent.
_SMALL_PX = 384
# Parts smaller than this fraction of the image are dust and artifacts of compression.
_SPECK = 0.0002
# A product cut by an edge leaves white corners, and so many sides that are white as a whole.
_FEWEST_WHITE_SIDES, _FEWEST_WHITE = 2, 0.5
_WHITE_CORNER = 2.0
# By how many levels something differs from the ground at least, in noise of that many deviations.
_LEAST_STEP, _MOST_STEP, _DEVIATIONS = 3.0, 12.0, 4.0
# Below this fraction of its hull, what is seen of a product is a few pieces: the rest may be white.
_WHOLE = 0.4
# A frame: colors within so many levels, on nearly all of each side, no thicker than a tenth.
_FRAME_LEVELS, _FRAME_SHARE, _THICKEST = 20, 0.98, 0.1
# Behind a frame another color begins at once, nearly along the whole side.
_BEHIND_FRAME, _SOFT_EDGE_PX = 0.7, 3
_TOUCHING = 0.01
SIDES = ("top", "bottom", "left", "right")


@dataclass(frozen=True, slots=True)
class PixelMeasures:
    """What is measured of an image.

    Attributes:
        near_white: fraction of the strip along the edges (`BORDER`) that is near white.
        pure_white: fraction of it that is pure white. What lies within 16 px of a dark edge, where
            compression makes waves, counts as the rest of the strip does.
        is_cut: the ground is white, and the product goes beyond an edge.
        fill: how far what is darker than near white reaches: its width as a fraction of the
            image's, or its height, whichever is larger. None where the ground is not white.
        most_fill: likewise of all that differs from the ground at all, which shows light products;
            1.0 where the product may reach further: what is seen of it is a few pieces, or goes
            beyond an edge.
        touched: sides that the product touches, of `SIDES`; empty where the ground is not white.
        frame_px: width of a frame of one color around the image, 0 without one.
        frame_color: its color as `#rrggbb`, empty without one.
    """

    near_white: float
    pure_white: float
    is_cut: bool
    fill: float | None
    most_fill: float | None
    touched: tuple[str, ...]
    frame_px: int
    frame_color: str

    @property
    def is_packshot(self) -> bool:
        """Whether the product is shown on white, not in a scene."""
        return self.near_white >= WHITE_SHARE or self.is_cut


def measure_pixels(pixels: UInt8[np.ndarray, "h w 3"]) -> PixelMeasures:
    """Measure an image.

    Args:
        pixels: upright sRGB.
    """
    height, width = pixels.shape[:2]
    strip_px = max(1, round(BORDER * min(height, width)))
    sides = _sides(pixels, strip_px)
    near, pure = _white_shares(pixels, strip_px)
    is_cut = _FEWEST_WHITE <= near < WHITE_SHARE and _is_cut(pixels, sides, strip_px)
    fill = most_fill = None
    touched: tuple[str, ...] = ()
    if near >= WHITE_SHARE or is_cut:
        small = _small(pixels)
        product = _without_specks(_darkest(small) < NEAR_WHITE)
        fill, touched = _extent(product), _touched(product)
        most_fill = 1.0 if is_cut else max(fill, _most_fill(small))
    frame_px, frame_color = _frame(pixels)
    return PixelMeasures(near, pure, is_cut, fill, most_fill, touched, frame_px, frame_color)


def _sides(pixels: UInt8[np.ndarray, "h w 3"], depth: int) -> tuple[np.ndarray, ...]:
    """Strips along the edges, in the order of `SIDES`, each with its first row at the edge."""
    turned = pixels.transpose(1, 0, 2)
    return pixels[:depth], pixels[::-1][:depth], turned[:depth], turned[::-1][:depth]


def _white_shares(pixels: UInt8[np.ndarray, "h w 3"], strip_px: int) -> tuple[float, float]:
    """Fractions of the strip that are near white, and pure white."""
    count = near = pure = quiet = quiet_pure = 0
    for side in _without_corners(_sides(pixels, strip_px + _RINGING_PX), strip_px):
        least = _darkest(side)
        dark = (least < _DARK).astype(np.uint8)
        beside = cv2.dilate(dark, np.ones((2 * _RINGING_PX + 1,) * 2, np.uint8))[:strip_px] > 0
        strip = least[:strip_px]
        is_white, is_pure = strip >= NEAR_WHITE, strip >= PURE_WHITE
        count += strip.size
        near += int(np.count_nonzero(is_white))
        pure += int(np.count_nonzero(is_pure))
        quiet += int(np.count_nonzero(is_white & ~beside))
        quiet_pure += int(np.count_nonzero(is_pure & ~beside))
    if quiet < _LEAST_QUIET * count:
        return near / count, pure / count
    return near / count, near / count * quiet_pure / quiet


def _without_corners(sides: tuple[np.ndarray, ...], strip_px: int) -> Iterator[np.ndarray]:
    """The strips, with each corner in one of them only, from the edge inwards."""
    top, bottom, left, right = sides
    height = left.shape[1]
    yield top
    if height > 1:
        yield bottom
    if height > 2 * strip_px:
        yield left[:, strip_px:-strip_px]
        yield right[:, strip_px:-strip_px]


def _is_cut(
    pixels: UInt8[np.ndarray, "h w 3"], sides: tuple[np.ndarray, ...], strip_px: int
) -> bool:
    """Whether a product on white goes beyond an edge: the corners are white, and whole sides."""
    white_sides = sum(_near_white(side) >= WHITE_SHARE for side in sides)
    corner_px = max(1, round(_WHITE_CORNER * strip_px))
    corners = [
        pixels[rows, columns]
        for rows in (slice(corner_px), slice(-corner_px, None))
        for columns in (slice(corner_px), slice(-corner_px, None))
    ]
    white_corners = all(_near_white(corner) >= WHITE_SHARE for corner in corners)
    return white_corners and white_sides >= _FEWEST_WHITE_SIDES


def _near_white(pixels: np.ndarray) -> float:
    return float((_darkest(pixels) >= NEAR_WHITE).mean())


def _small(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    height, width = pixels.shape[:2]
    scale = _SMALL_PX / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _without_specks(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The mask without parts that are too small to be of the product."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= max(1.0, _SPECK * mask.size)
    large[0] = False
    kept: Bool[np.ndarray, "h w"] = large[parts]
    return kept


def _extent(mask: Bool[np.ndarray, "h w"]) -> float:
    """Width or height of what is in the mask, as a fraction of the image's, the larger of both."""
    return max(_span(np.any(mask, axis=0)), _span(np.any(mask, axis=1)))


def _span(hit: np.ndarray) -> float:
    places = np.flatnonzero(hit)
    return float(places[-1] - places[0] + 1) / len(hit) if len(places) else 0.0


def _touched(mask: Bool[np.ndarray, "h w"]) -> tuple[str, ...]:
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return tuple(side for side, edge in zip(SIDES, edges, strict=True) if edge.mean() >= _TOUCHING)


def _most_fill(small: UInt8[np.ndarray, "h w 3"]) -> float:
    """How far all that differs from the ground reaches; 1.0 where that is not known."""
    ground = np.concatenate([side.reshape(-1, 3) for side in _sides(small, 1)])
    ground = ground[_darkest(ground) >= NEAR_WHITE]
    color = np.median(ground, axis=0)
    step = np.clip(_DEVIATIONS * ground.std(axis=0).max(), _LEAST_STEP, _MOST_STEP)
    seen = _without_specks(_differences(small, color) >= step)
    return _extent(seen) if _is_whole(seen) else 1.0


def _is_whole(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Whether what is seen is a thing with an outline, not a few pieces of one."""
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    if not contours:
        return False
    area = sum(cv2.contourArea(contour) for contour in contours)
    hull = cv2.contourArea(cv2.convexHull(np.concatenate(contours)))
    return bool(area >= _WHOLE * hull)


def _frame(pixels: UInt8[np.ndarray, "h w 3"]) -> tuple[int, str]:
    """Width and color of a frame of one color; a white one is a margin and none."""
    thickest = int(_THICKEST * min(pixels.shape[:2]))
    if thickest <= _SOFT_EDGE_PX:
        return 0, ""
    ring = np.concatenate([side.reshape(-1, 3) for side in _sides(pixels, 1)])
    color = np.median(ring, axis=0)
    if color.min() >= NEAR_WHITE or _like(ring, color).mean() < _FRAME_SHARE:
        return 0, ""
    widths = [_frame_width(side, color) for side in _sides(pixels, thickest + _SOFT_EDGE_PX + 1)]
    if min(widths) == 0:
        return 0, ""
    return min(widths), "#" + "".join(f"{round(level):02x}" for level in color)


def _frame_width(side: np.ndarray, color: Float64[np.ndarray, "3"]) -> int:
    """Rows of a frame along one side, 0 where there is none that ends sharply."""
    like = _like(side, color)
    outside = like.mean(axis=1) >= _FRAME_SHARE
    width = len(outside) if outside.all() else int(np.argmin(outside))
    if not 0 < width < len(outside) - _SOFT_EDGE_PX:
        return 0
    # Corners that darken by and by leave the color within the width; a frame does not.
    if np.median(np.abs(side[(width - 1) // 2] - color)) > _FRAME_LEVELS / 4:
        return 0
    # Of the row behind, the ends lie in the frame's other sides.
    behind = like[width + _SOFT_EDGE_PX - 1, width:-width]
    return width if 1 - behind.mean() >= _BEHIND_FRAME else 0


def _like(pixels: np.ndarray, color: Float64[np.ndarray, "3"]) -> np.ndarray:
    """Where pixels have a color, but for a few levels."""
    near: np.ndarray = _differences(pixels, color) <= _FRAME_LEVELS
    return near


def _darkest(pixels: np.ndarray) -> np.ndarray:
    """The level of each pixel's darkest channel; `min` along so short an axis takes ten times."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    darkest: np.ndarray = np.minimum(np.minimum(red, green), blue)
    return darkest


def _differences(pixels: np.ndarray, color: Float64[np.ndarray, "3"]) -> np.ndarray:
    """By how many levels each pixel differs from a color, in the channel that differs most."""
    of_channels = [
        np.abs(pixels[..., channel].astype(np.int16) - np.int16(round(color[channel])))
        for channel in range(3)
    ]
    most: np.ndarray = np.maximum(np.maximum(*of_channels[:2]), of_channels[2])
    return most
