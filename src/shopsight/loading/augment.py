"""Augmentation: each image changed by random numbers of its own, uint8 in and uint8 out.

Geometry is one warp straight to the training size, color one matrix; blur, noise and erasing
follow. An image whose numbers change nothing comes out as the same bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from shopsight.config.augment_settings import AugmentSettings
from shopsight.loading.counter_rng import Purpose, uniforms
from shopsight.loading.geometric import (
    fill_colors,
    flip_into,
    resize_into,
    shift_into,
    warp,
    warp_matrices,
)
from shopsight.loading.photometric import (
    NOISE_OFFSETS,
    add_noise,
    blur,
    channel_orders,
    color_matrices,
    equalize,
    erase,
    recolor,
)
from shopsight.preprocess import WHITE, Color, PadColor

CLAHE_CLIP_LIMITS = (1.0, 4.0)
ERASE_ASPECTS = (0.3, 1 / 0.3)


class RandomDraw(IntEnum):
    """The position of each random number: switching one change on or off moves none of the others.

    Append only: a resumed run must find the same numbers.
    """

    HFLIP = 0
    VFLIP = 1
    WARP = 2
    WARP_KIND = 3
    SCALE = 4
    ROTATE = 5
    SHIFT_X = 6
    SHIFT_Y = 7
    STRETCH = 8
    COLOR = 9
    COLOR_KIND = 10
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
Uniforms = Float64[np.ndarray, "b numbers"]


class Geometry(NamedTuple):
    """Where the pixels go.

    Attributes:
        hflip: Mirrored left and right.
        vflip: Mirrored top and bottom.
        warped: The matrix is needed; else flips and `moves` do it.
        moves: Whole pixels to the right and down.
        matrices: From target to source pixels.
        reduction: Source pixels per target pixel.
    """

    hflip: Bool[np.ndarray, "b"]
    vflip: Bool[np.ndarray, "b"]
    warped: Bool[np.ndarray, "b"]
    moves: Int64[np.ndarray, "b 2"]
    matrices: Float64[np.ndarray, "b 2 3"]
    reduction: Float64[np.ndarray, "b"]


class ColorPlan(NamedTuple):
    """What happens to the colors; never both the matrix and CLAHE.

    Attributes:
        recolored: The matrix applies.
        matrices: Color matrices, from RGB to RGB.
        mean_factors: Factors of the image's mean gray, which is added.
        equalized: CLAHE applies.
        clip_limits: CLAHE's.
    """

    recolored: Bool[np.ndarray, "b"]
    matrices: Float64[np.ndarray, "b 3 3"]
    mean_factors: Float64[np.ndarray, "b"]
    equalized: Bool[np.ndarray, "b"]
    clip_limits: Float64[np.ndarray, "b"]


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
    """Change each image by the random numbers of (seed, epoch, its sample id).

    Args:
        images: Left as they are.
        samples: Sample ids; which images are in one batch changes nothing.
        settings: Probabilities and ranges.
        seed: Seed of the run.
        epoch: Epoch of the run.
        size_px: Side of the result; the warp goes there directly.
        fill: The color outside the image, or "edge" for the mean of its outermost pixels.
    """
    rand = uniforms(seed, epoch, samples, len(RandomDraw), purpose=Purpose.AUGMENT)
    out = np.empty((len(images), size_px, size_px, 3), np.uint8)
    geometry = _plan_geometry(rand, settings, source_px=images.shape[1], target_px=size_px)
    _apply_geometry(images, geometry, out=out, fills=fill_colors(images, fill))
    _apply_color(out, rand, settings)
    _apply_blur(out, rand, settings)
    _apply_noise(out, rand, settings)
    _apply_erasing(out, rand, settings)
    return out


def _plan_geometry(
    rand: Uniforms, settings: AugmentSettings, *, source_px: int, target_px: int
) -> Geometry:
    warped = rand[:, RandomDraw.WARP] < settings.affine_prob
    kinds = _choice(rand, RandomDraw.WARP_KIND, settings.affine_kinds)

    def of(*names: str) -> Bool[np.ndarray, "b"]:
        return warped & np.isin(kinds, ("all", *names))

    scale = np.where(of("scale"), _within(rand, RandomDraw.SCALE, settings.scale), 1.0)
    rotate_deg = np.where(
        of("rotate"), _either_way(rand, RandomDraw.ROTATE, settings.rotate_deg), 0.0
    )
    log_stretch = np.where(
        of(), _either_way(rand, RandomDraw.STRETCH, np.log1p(settings.aspect_jitter)), 0.0
    )
    shifts = [
        _either_way(rand, which, settings.translate)
        for which in (RandomDraw.SHIFT_X, RandomDraw.SHIFT_Y)
    ]
    shift = np.where(of("translate")[:, None], np.stack(shifts, axis=1), 0.0)
    bends = (scale != 1.0) | (rotate_deg != 0.0) | (log_stretch != 0.0)
    moved = (shift != 0.0).any(axis=1)
    hflip = rand[:, RandomDraw.HFLIP] < settings.hflip_prob
    vflip = rand[:, RandomDraw.VFLIP] < settings.vflip_prob
    return Geometry(
        hflip=hflip,
        vflip=vflip,
        # A shift alone goes by whole pixels, because half a pixel would blur the image: at
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


def _apply_geometry(
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
        image = images[i]
        if warped[i]:
            warp(image, geometry.matrices[i], out=target, fill=fills[i], reduction=reduction[i])
            continue
        x_px, y_px = moves[i]
        if x_px or y_px:
            moved = np.empty_like(image)
            shift_into(image, out=moved, x_px=x_px, y_px=y_px, fill=fills[i])
            image = moved
        if same_size:
            flip_into(image, out=target, hflip=hflip[i], vflip=vflip[i])
        else:
            turned = np.empty_like(image)
            flip_into(image, out=turned, hflip=hflip[i], vflip=vflip[i])
            resize_into(turned, out=target)


def _apply_color(
    out: UInt8[np.ndarray, "b t t 3"], rand: Uniforms, settings: AugmentSettings
) -> None:
    if settings.color_jitter_prob == 0.0:
        return
    plan = _plan_color(rand, settings)
    for i in np.flatnonzero(plan.recolored).tolist():
        recolor(out[i], plan.matrices[i], float(plan.mean_factors[i]))
    for i in np.flatnonzero(plan.equalized).tolist():
        equalize(out[i], float(plan.clip_limits[i]))


def _plan_color(rand: Uniforms, settings: AugmentSettings) -> ColorPlan:
    changed = rand[:, RandomDraw.COLOR] < settings.color_jitter_prob
    kinds = _choice(rand, RandomDraw.COLOR_KIND, settings.color_kinds)

    def of(*names: str) -> Bool[np.ndarray, "b"]:
        return changed & np.isin(kinds, names)

    light, tint = of("jitter", "brightness-contrast"), of("jitter", "hue-saturation")
    matrices, mean_factors = color_matrices(
        brightness=np.where(light, _within(rand, RandomDraw.BRIGHTNESS, settings.brightness), 1.0),
        contrast=np.where(light, _within(rand, RandomDraw.CONTRAST, settings.contrast), 1.0),
        saturation=np.where(tint, _within(rand, RandomDraw.SATURATION, settings.saturation), 1.0),
        hue=np.where(tint, _either_way(rand, RandomDraw.HUE, settings.hue), 0.0),
    )
    shuffled = of("channel-shuffle")
    matrices[shuffled] = channel_orders(rand[shuffled, RandomDraw.CHANNELS])
    return ColorPlan(
        recolored=light | tint | shuffled,
        matrices=matrices,
        mean_factors=mean_factors,
        equalized=of("clahe"),
        clip_limits=_within(rand, RandomDraw.CLAHE, CLAHE_CLIP_LIMITS),
    )


def _apply_blur(
    out: UInt8[np.ndarray, "b t t 3"], rand: Uniforms, settings: AugmentSettings
) -> None:
    blurred = np.flatnonzero(rand[:, RandomDraw.BLUR] < settings.blur_prob)
    if len(blurred):
        kinds = _choice(rand, RandomDraw.BLUR_KIND, settings.blur_kinds)
        sizes = 3 + 2 * (rand[:, RandomDraw.BLUR_PX] * ((settings.blur_px - 1) // 2)).astype(int)
        for i in blurred.tolist():
            blur(out[i], kinds[i], int(sizes[i]))


def _apply_noise(
    out: UInt8[np.ndarray, "b t t 3"], rand: Uniforms, settings: AugmentSettings
) -> None:
    std = rand[:, RandomDraw.NOISE_STD] * settings.noise_std
    corner = [RandomDraw.NOISE_X, RandomDraw.NOISE_Y]
    offsets = (rand[:, corner] * NOISE_OFFSETS).astype(int).tolist()
    negative = (rand[:, RandomDraw.NOISE_SIGN] < 0.5).tolist()
    for i in np.flatnonzero(rand[:, RandomDraw.NOISE] < settings.noise_prob).tolist():
        x, y = offsets[i]
        add_noise(out[i], std=float(std[i]), x=x, y=y, negative=negative[i])


def _apply_erasing(
    out: UInt8[np.ndarray, "b t t 3"], rand: Uniforms, settings: AugmentSettings
) -> None:
    erased = np.flatnonzero(rand[:, RandomDraw.ERASE] < settings.random_erasing_prob)
    if not len(erased):
        return
    area = _within(rand, RandomDraw.ERASE_AREA, settings.random_erasing_area).tolist()
    low, high = np.log(ERASE_ASPECTS)
    aspect = np.exp(_within(rand, RandomDraw.ERASE_ASPECT, (low, high))).tolist()
    corners = rand[:, [RandomDraw.ERASE_X, RandomDraw.ERASE_Y]].tolist()
    mean = (rand[:, RandomDraw.ERASE_MEAN] < 0.5).tolist()
    colors = (rand[:, RandomDraw.ERASE_RED : RandomDraw.ERASE_BLUE + 1] * 256).astype(int).tolist()
    for i in erased.tolist():
        x, y = corners[i]
        color = None if mean[i] else (colors[i][0], colors[i][1], colors[i][2])
        erase(out[i], area=area[i], aspect=aspect[i], x=x, y=y, color=color)


def _choice(rand: Uniforms, which: RandomDraw, kinds: tuple[Kind, ...]) -> list[Kind]:
    return [kinds[int(value * len(kinds))] for value in rand[:, which].tolist()]


def _within(
    rand: Uniforms, which: RandomDraw, span: tuple[float, float]
) -> Float64[np.ndarray, "b"]:
    low, high = span
    return low + (high - low) * rand[:, which]


def _either_way(rand: Uniforms, which: RandomDraw, largest: float) -> Float64[np.ndarray, "b"]:
    return (2.0 * rand[:, which] - 1.0) * largest
