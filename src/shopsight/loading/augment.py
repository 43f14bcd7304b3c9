"""Augmentation: each picture changed by draws of its own, uint8 in and uint8 out.

Geometry is one warp straight to the training size, colour one matrix; noise, blur and erasing
follow. A picture that is drawn no change comes out as the same bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from shopsight.config.recipe import AugmentSettings
from shopsight.loading.counter_rng import Purpose, draws
from shopsight.loading.geometric import (
    fill_colors,
    flip_into,
    resize_into,
    shift_into,
    warp,
    warp_matrices,
)
from shopsight.loading.photometric import (
    NOISE_PLACES,
    add_noise,
    blur,
    channel_orders,
    color_matrices,
    equalize,
    erase,
    recolor,
)
from shopsight.preprocess import Color, PadColor

WHITE: Color = (255, 255, 255)
CLAHE_CLIP_LIMITS = (1.0, 4.0)
ERASE_ASPECTS = (0.3, 1 / 0.3)


class Draw(IntEnum):
    """The place of each draw: switching one part on or off changes no draw of the others."""

    HFLIP = 0
    VFLIP = 1
    WARP = 2
    WARP_KIND = 3
    SCALE = 4
    ROTATE = 5
    SHIFT_X = 6
    SHIFT_Y = 7
    STRETCH = 8
    COLOUR = 9
    COLOUR_KIND = 10
    BRIGHTNESS = 11
    CONTRAST = 12
    SATURATION = 13
    HUE = 14
    CLAHE = 15
    CHANNELS = 16
    NOISE = 17
    NOISE_STD = 18
    NOISE_X = 19
    NOISE_Y = 20
    NOISE_SIGN = 21
    BLUR = 22
    BLUR_KIND = 23
    BLUR_PX = 24
    ERASE = 25
    ERASE_AREA = 26
    ERASE_ASPECT = 27
    ERASE_X = 28
    ERASE_Y = 29
    ERASE_MEAN = 30
    ERASE_RED = 31
    ERASE_GREEN = 32
    ERASE_BLUE = 33


Kind = TypeVar("Kind", bound=str)
Draws = Float64[np.ndarray, "b draws"]


class Geometry(NamedTuple):
    """What happens to the pixels' places.

    Attributes:
        matrices: from target to source pixels.
        warped: the matrix is needed; else flips and `moves` (whole pixels, x and y) do it.
        reduction: source pixels per target pixel.
    """

    hflip: Bool[np.ndarray, "b"]
    vflip: Bool[np.ndarray, "b"]
    warped: Bool[np.ndarray, "b"]
    moves: Int64[np.ndarray, "b 2"]
    matrices: Float64[np.ndarray, "b 2 3"]
    reduction: Float64[np.ndarray, "b"]


class Colour(NamedTuple):
    """Attributes:
    recolored: the matrix applies.
    equalized: CLAHE applies, with this clip limit; never both.
    """

    recolored: Bool[np.ndarray, "b"]
    matrices: Float64[np.ndarray, "b 3 3"]
    pull: Float64[np.ndarray, "b"]
    equalized: Bool[np.ndarray, "b"]
    clip_limit: Float64[np.ndarray, "b"]


def augment(
    images: UInt8[np.ndarray, "b s s 3"],
    samples: Int64[np.ndarray, "b"],
    *,
    settings: AugmentSettings,
    seed: int,
    epoch: int,
    size_px: int,
    fill: PadColor = WHITE,
) -> UInt8[np.ndarray, "b {size_px} {size_px} 3"]:
    """Change each picture by what is drawn for (seed, epoch, its sample id).

    Args:
        samples: sample ids; which pictures share a batch changes nothing.
        size_px: side of the result; the warp goes there directly.
        fill: the colour outside the picture, or "edge" for the mean of its outermost pixels.
    """
    drawn = draws(seed, epoch, samples, len(Draw), purpose=Purpose.AUGMENT)
    out = np.empty((len(images), size_px, size_px, 3), np.uint8)
    geometry = _geometry(drawn, settings, source_px=images.shape[1], target_px=size_px)
    _place(images, geometry, out=out, fills=fill_colors(images, fill))
    _colour(out, drawn, settings)
    _blur(out, drawn, settings)
    _noise(out, drawn, settings)
    _erase(out, drawn, settings)
    return out


def _geometry(
    drawn: Draws, settings: AugmentSettings, *, source_px: int, target_px: int
) -> Geometry:
    warped = drawn[:, Draw.WARP] < settings.warp
    kinds = _choice(drawn, Draw.WARP_KIND, settings.warp_kinds)

    def of(*names: str) -> Bool[np.ndarray, "b"]:
        return warped & np.isin(kinds, ("all", *names))

    scale = np.where(of("scale"), _within(drawn, Draw.SCALE, settings.scale), 1.0)
    rotate_deg = np.where(of("rotate"), _either_way(drawn, Draw.ROTATE, settings.rotate_deg), 0.0)
    log_stretch = np.where(of(), _either_way(drawn, Draw.STRETCH, np.log1p(settings.stretch)), 0.0)
    shifts = [_either_way(drawn, place, settings.shift) for place in (Draw.SHIFT_X, Draw.SHIFT_Y)]
    shift = np.where(of("shift")[:, None], np.stack(shifts, axis=1), 0.0)
    bends = (scale != 1.0) | (rotate_deg != 0.0) | (log_stretch != 0.0)
    moved = (shift != 0.0).any(axis=1)
    hflip = drawn[:, Draw.HFLIP] < settings.hflip
    vflip = drawn[:, Draw.VFLIP] < settings.vflip
    return Geometry(
        hflip=hflip,
        vflip=vflip,
        # A shift alone goes by whole pixels, because half a pixel would blur the picture: at
        # 28 px that is more of a change than the shift.
        warped=bends | (moved & (source_px != target_px)),
        moves=-np.rint(shift * source_px).astype(np.int64),
        matrices=warp_matrices(
            source_px=source_px,
            target_px=target_px,
            hflip=hflip,
            vflip=vflip,
            scale=scale,
            rotate_rad=np.deg2rad(rotate_deg),
            stretch=np.exp(log_stretch),
            shift=shift,
        ),
        reduction=scale * source_px / target_px,
    )


def _place(
    images: UInt8[np.ndarray, "b s s 3"],
    geometry: Geometry,
    *,
    out: UInt8[np.ndarray, "b t t 3"],
    fills: list[Color],
) -> None:
    same_size = images.shape[1] == out.shape[1]
    hflip, vflip, warped = (column.tolist() for column in geometry[:3])
    moves, reduction = geometry.moves.tolist(), geometry.reduction.tolist()
    for i, target in enumerate(out):
        picture = images[i]
        if warped[i]:
            warp(picture, geometry.matrices[i], out=target, fill=fills[i], reduction=reduction[i])
            continue
        x_px, y_px = moves[i]
        if x_px or y_px:
            moved = np.empty_like(picture)
            shift_into(picture, out=moved, x_px=x_px, y_px=y_px, fill=fills[i])
            picture = moved
        if same_size:
            flip_into(picture, out=target, hflip=hflip[i], vflip=vflip[i])
        else:
            turned = np.empty_like(picture)
            flip_into(picture, out=turned, hflip=hflip[i], vflip=vflip[i])
            resize_into(turned, out=target)


def _colour(out: UInt8[np.ndarray, "b t t 3"], drawn: Draws, settings: AugmentSettings) -> None:
    if settings.colour == 0.0:
        return
    plan = _colour_plan(drawn, settings)
    for i in np.flatnonzero(plan.recolored).tolist():
        recolor(out[i], plan.matrices[i], float(plan.pull[i]))
    for i in np.flatnonzero(plan.equalized).tolist():
        equalize(out[i], float(plan.clip_limit[i]))


def _colour_plan(drawn: Draws, settings: AugmentSettings) -> Colour:
    coloured = drawn[:, Draw.COLOUR] < settings.colour
    kinds = _choice(drawn, Draw.COLOUR_KIND, settings.colour_kinds)

    def of(*names: str) -> Bool[np.ndarray, "b"]:
        return coloured & np.isin(kinds, names)

    light, tint = of("jitter", "brightness-contrast"), of("jitter", "hue-saturation")
    matrices, pull = color_matrices(
        brightness=np.where(light, _within(drawn, Draw.BRIGHTNESS, settings.brightness), 1.0),
        contrast=np.where(light, _within(drawn, Draw.CONTRAST, settings.contrast), 1.0),
        saturation=np.where(tint, _within(drawn, Draw.SATURATION, settings.saturation), 1.0),
        hue=np.where(tint, _either_way(drawn, Draw.HUE, settings.hue), 0.0),
    )
    shuffled = of("channel-shuffle")
    matrices[shuffled] = channel_orders(drawn[shuffled, Draw.CHANNELS])
    return Colour(
        recolored=light | tint | shuffled,
        matrices=matrices,
        pull=pull,
        equalized=of("clahe"),
        clip_limit=_within(drawn, Draw.CLAHE, CLAHE_CLIP_LIMITS),
    )


def _blur(out: UInt8[np.ndarray, "b t t 3"], drawn: Draws, settings: AugmentSettings) -> None:
    blurred = np.flatnonzero(drawn[:, Draw.BLUR] < settings.blur)
    if len(blurred):
        kinds = _choice(drawn, Draw.BLUR_KIND, settings.blur_kinds)
        sizes = 3 + 2 * (drawn[:, Draw.BLUR_PX] * ((settings.blur_px - 1) // 2)).astype(int)
        for i in blurred.tolist():
            blur(out[i], kinds[i], int(sizes[i]))


def _noise(out: UInt8[np.ndarray, "b t t 3"], drawn: Draws, settings: AugmentSettings) -> None:
    std = drawn[:, Draw.NOISE_STD] * settings.noise_std
    place = (drawn[:, [Draw.NOISE_X, Draw.NOISE_Y]] * NOISE_PLACES).astype(int).tolist()
    negative = (drawn[:, Draw.NOISE_SIGN] < 0.5).tolist()
    for i in np.flatnonzero(drawn[:, Draw.NOISE] < settings.noise).tolist():
        x, y = place[i]
        add_noise(out[i], std=float(std[i]), x=x, y=y, negative=negative[i])


def _erase(out: UInt8[np.ndarray, "b t t 3"], drawn: Draws, settings: AugmentSettings) -> None:
    erased = np.flatnonzero(drawn[:, Draw.ERASE] < settings.erase)
    if not len(erased):
        return
    area = _within(drawn, Draw.ERASE_AREA, settings.erase_area).tolist()
    low, high = np.log(ERASE_ASPECTS)
    aspect = np.exp(_within(drawn, Draw.ERASE_ASPECT, (low, high))).tolist()
    place = drawn[:, [Draw.ERASE_X, Draw.ERASE_Y]].tolist()
    mean = (drawn[:, Draw.ERASE_MEAN] < 0.5).tolist()
    colors = (drawn[:, Draw.ERASE_RED : Draw.ERASE_BLUE + 1] * 256).astype(int).tolist()
    for i in erased.tolist():
        x, y = place[i]
        color = None if mean[i] else (colors[i][0], colors[i][1], colors[i][2])
        erase(out[i], area=area[i], aspect=aspect[i], x=x, y=y, color=color)


def _choice(drawn: Draws, place: Draw, kinds: tuple[Kind, ...]) -> list[Kind]:
    return [kinds[int(value * len(kinds))] for value in drawn[:, place].tolist()]


def _within(drawn: Draws, place: Draw, span: tuple[float, float]) -> Float64[np.ndarray, "b"]:
    low, high = span
    return low + (high - low) * drawn[:, place]


def _either_way(drawn: Draws, place: Draw, largest: float) -> Float64[np.ndarray, "b"]:
    return (2.0 * drawn[:, place] - 1.0) * largest
