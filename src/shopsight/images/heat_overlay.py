"""A heat map over the photo that it is about.

The colors rise in lightness from dark blue to yellow and pass no red or green: people who cannot
tell those two apart read them as well, and so does a print in gray. The photo itself is shown in
gray below them, so that its own colors are not taken for heat.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, UInt8

from shopsight.images.decode import decode, header
from shopsight.images.model_input import resize
from shopsight.preprocess import Color

LONGEST_PX, SHORTEST_PX = 1600, 320
"""Of an overlay's longer side: larger photos are shrunk, tiny ones enlarged by whole pixels."""

RAMP: tuple[Color, ...] = (
    (8, 29, 88),
    (52, 70, 124),
    (112, 112, 130),
    (176, 156, 104),
    (255, 231, 84),
)
"""From no heat to the most, at equal distances."""
_LEAST_OPAQUE, _MOST_OPAQUE = 0.30, 0.72
_GRAYED = 0.65
_NOT_SEEN_PALER = 0.62
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def decode_for_overlay(
    data: bytes, *, matte: Color, where: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a photo upright, at the size at which it is shown.

    Args:
        data: the file.
        matte: the color below transparent pixels.
        where: the file's name, for errors.

    Raises:
        ImageError: it cannot be decoded.
    """
    known = header(data, where=where)
    longer = max(known.width, known.height)
    scale = min(1.0, LONGEST_PX / longer)
    width, height = (max(1, round(scale * side)) for side in (known.width, known.height))
    rgb = decode(data, at_least_px=min(width, height), matte=matte, where=where)
    if scale < 1:
        return resize(rgb, width, height)
    times = max(1, SHORTEST_PX // longer)
    return np.ascontiguousarray(rgb.repeat(times, axis=0).repeat(times, axis=1))


def ramp_colors(heat: Float[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n 3"]:
    """The colors of values from 0 to 1, 0 to 255 each."""
    place = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(heat, place, [color[one] for color in RAMP]) for one in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def overlay(
    rgb: UInt8[np.ndarray, "h w 3"], heat: Float32[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay a heat map over its photo.

    Args:
        rgb: the upright photo.
        heat: what speaks for a label, per pixel. What speaks against it has no heat; where it is
            NaN, the network saw nothing, and the photo is paler.
    """
    colors, opaque = _colors_over(heat)
    photo = rgb.astype(np.float32)
    photo += _GRAYED * ((photo @ _LUMA)[:, :, None] - photo)
    found = photo + opaque[:, :, None] * (colors - photo)
    return np.asarray(found.round().clip(0, 255), np.uint8)


def heat_layer(heat: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 4"]:
    """What `overlay` lays over the gray photo, with its opacity as the fourth channel."""
    colors, opaque = _colors_over(heat)
    layer = np.concatenate([colors, 255 * opaque[:, :, None]], axis=2)
    return np.asarray(layer.round().clip(0, 255), np.uint8)


def _colors_over(
    heat: Float32[np.ndarray, "h w"],
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """Colors, and how much they cover: white where the network saw nothing."""
    seen = np.isfinite(heat)
    warmth = np.where(seen, heat, 0).clip(0)
    warmth = warmth / max(float(warmth.max(initial=0)), 1e-12)
    colors = np.where(seen[:, :, None], ramp_colors(warmth), np.float32(255))
    opaque = _LEAST_OPAQUE + (_MOST_OPAQUE - _LEAST_OPAQUE) * warmth
    return colors, np.where(seen, opaque, _NOT_SEEN_PALER).astype(np.float32)
