"""Mixup and CutMix: each image blended with another one of the whole training set.

Both train on x = lam x1 + (1 - lam) x2 with the target lam y1 + (1 - lam) y2: the network learns
to change its answer in proportion as the image changes, and is less sure between the classes.
Mixup averages the pixels. CutMix pastes a box of x2, and lam is the fraction of x1 that is left.
lam is sampled from Beta(alpha, alpha), which is symmetric: near 0 or 1 for a small alpha (almost
plain images), around 1/2 for a large one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy.special import betaincinv

from shopsight.config.augment_settings import AugmentSettings
from shopsight.loading.counter_rng import Purpose, uniforms

_MIXED, _PARTNER, _KIND, _LAM, _X, _Y, _COUNT = range(7)


@dataclass(frozen=True)
class MixPlan:
    """Which image is mixed with which, and how.

    Attributes:
        partner: Index in the population.
        lam: Weight of the image's own target, lambda; 1 where nothing is mixed.
        cut: Whether a box is pasted (CutMix); else the images are averaged (mixup).
        boxes: Left, top, right, bottom in pixels of what the partner covers.
    """

    partner: Int64[np.ndarray, "b"]
    lam: Float64[np.ndarray, "b"]
    cut: Bool[np.ndarray, "b"]
    boxes: Int64[np.ndarray, "b 4"]

    @property
    def mixed(self) -> Bool[np.ndarray, "b"]:
        """Whether each image is mixed at all."""
        return self.lam < 1.0


def mixes(settings: AugmentSettings) -> bool:
    """Return whether these settings mix any image."""
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
    """Choose partner, lambda and box for each sample.

    The partner comes from all `population` samples and not from the batch, so that how batches
    are cut changes nothing. With mixup and CutMix both on, half of the images get each.

    CutMix's box has sides sqrt(1 - lam) of the image's and its middle anywhere, so that it covers
    1 - lam of the image; what lies outside is cut off and whole pixels are rounded to, after which
    lam is the fraction that really stays uncovered.

    Args:
        samples: Sample ids.
        settings: The alphas and the probability.
        seed: Seed of the run.
        epoch: Epoch of the run.
        population: Number of all samples.
        size_px: Side of the images.

    Source: Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix".
    """
    rand = uniforms(seed, epoch, samples, _COUNT, purpose=Purpose.MIX)
    cut_chance = 0.5 if settings.mixup and settings.cutmix else float(settings.cutmix > 0.0)
    cut = rand[:, _KIND] < cut_chance
    lam = np.where(cut, _beta(rand[:, _LAM], settings.cutmix), _beta(rand[:, _LAM], settings.mixup))
    boxes = _boxes(lam, rand[:, _X], rand[:, _Y], size_px)
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / size_px**2
    lam = np.where(cut, 1.0 - covered, lam)
    mixed = rand[:, _MIXED] < (settings.mix_prob if mixes(settings) else 0.0)
    return MixPlan(
        partner=(rand[:, _PARTNER] * population).astype(np.int64),
        lam=np.where(mixed, lam, 1.0),
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
            lam = float(plan.lam[i])
            cv2.addWeighted(images[i], lam, partner, 1.0 - lam, 0.0, dst=images[i])


def _beta(uniform: Float64[np.ndarray, "b"], alpha: float) -> Float64[np.ndarray, "b"]:
    """Turn uniform numbers into ones of Beta(alpha, alpha); 1 where alpha is 0.

    By the inverse of the distribution function: one uniform number per value, where rejection
    sampling would take an unknown number of them and need a state.
    """
    return np.asarray(betaincinv(alpha, alpha, uniform)) if alpha else np.ones_like(uniform)


def _boxes(
    lam: Float64[np.ndarray, "b"],
    x: Float64[np.ndarray, "b"],
    y: Float64[np.ndarray, "b"],
    size_px: int,
) -> Int64[np.ndarray, "b 4"]:
    half = np.sqrt(1.0 - lam) * size_px / 2
    middles = (x * size_px, y * size_px)
    edges = [middle - half for middle in middles] + [middle + half for middle in middles]
    # What lies outside is cut off, as in the original.
    return np.clip(np.rint(np.stack(edges, axis=1)), 0, size_px).astype(np.int64)
