"""Mixup and CutMix: each image blended with one drawn from the whole training set."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy.special import betaincinv

from shopsight.config.sections import AugmentSettings
from shopsight.loading.counter_rng import Purpose, uniforms

_MIXED, _PARTNER, _KIND, _SHARE, _X, _Y, _COUNT = range(7)


@dataclass(frozen=True)
class MixPlan:
    """Which image is mixed with which, and how.

    Attributes:
        partner: position in the population.
        share: weight of the image's own target; 1 where nothing is mixed.
        cut: a box is pasted (CutMix); else the images are averaged (mixup).
        boxes: left, top, right, bottom in pixels of what the partner covers.
    """

    partner: Int64[np.ndarray, "b"]
    share: Float64[np.ndarray, "b"]
    cut: Bool[np.ndarray, "b"]
    boxes: Int64[np.ndarray, "b 4"]

    @property
    def mixed(self) -> Bool[np.ndarray, "b"]:
        return self.share < 1.0


def mixes(settings: AugmentSettings) -> bool:
    """Whether these settings mix any image."""
    return settings.mix_prob > 0.0 and (settings.mixup > 0.0 or settings.cutmix > 0.0)


def mix_plan(
    samples: Int64[np.ndarray, "b"],
    *,
    settings: AugmentSettings,
    seed: int,
    epoch: int,
    population: int,
    size_px: int,
) -> MixPlan:
    """Draw partner, share and box for each sample.

    The partner comes from all `population` samples and not from the batch, so that how batches
    are cut changes nothing. With mixup and CutMix both on, half of the images get each.

    Source: Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix".
    """
    rand = uniforms(seed, epoch, samples, _COUNT, purpose=Purpose.MIX)
    cut_chance = 0.5 if settings.mixup and settings.cutmix else float(settings.cutmix > 0.0)
    cut = rand[:, _KIND] < cut_chance
    share = np.where(
        cut, _beta(rand[:, _SHARE], settings.cutmix), _beta(rand[:, _SHARE], settings.mixup)
    )
    boxes = _boxes(share, rand[:, _X], rand[:, _Y], size_px)
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / size_px**2
    share = np.where(cut, 1.0 - covered, share)
    mixed = rand[:, _MIXED] < (settings.mix_prob if mixes(settings) else 0.0)
    return MixPlan(
        partner=(rand[:, _PARTNER] * population).astype(np.int64),
        share=np.where(mixed, share, 1.0),
        cut=cut,
        boxes=boxes,
    )


def mix_into(
    images: UInt8[np.ndarray, "b s s 3"], partners: UInt8[np.ndarray, "m s s 3"], plan: MixPlan
) -> None:
    """Mix `images` in place with `partners`, one for each image that the plan mixes."""
    for partner, i in zip(partners, np.flatnonzero(plan.mixed).tolist(), strict=True):
        if plan.cut[i]:
            left, top, right, bottom = plan.boxes[i].tolist()
            images[i, top:bottom, left:right] = partner[top:bottom, left:right]
        else:
            share = float(plan.share[i])
            cv2.addWeighted(images[i], share, partner, 1.0 - share, 0.0, dst=images[i])


def _beta(uniform: Float64[np.ndarray, "b"], alpha: float) -> Float64[np.ndarray, "b"]:
    """Beta(alpha, alpha) by the inverse of its distribution function."""
    return np.asarray(betaincinv(alpha, alpha, uniform)) if alpha else np.ones_like(uniform)


def _boxes(
    share: Float64[np.ndarray, "b"],
    x: Float64[np.ndarray, "b"],
    y: Float64[np.ndarray, "b"],
    size_px: int,
) -> Int64[np.ndarray, "b 4"]:
    half = np.sqrt(1.0 - share) * size_px / 2
    middles = (x * size_px, y * size_px)
    edges = [middle - half for middle in middles] + [middle + half for middle in middles]
    # The part of the box that lies outside is cut off, as in the original.
    return np.clip(np.rint(np.stack(edges, axis=1)), 0, size_px).astype(np.int64)
