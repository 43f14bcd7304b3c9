"""What calibration error chance alone gives: of n images no model comes out at zero.

Of 100 images with a confidence of 90 %, 90 are right in the mean, and 84 to 96 in 95 of 100
samples. A mean *distance* between confidence and accuracy therefore never vanishes: fifteen bins
of a perfectly calibrated model are off by some 10 % on a hundred images. What an error says is
seen beside those of models that are calibrated by construction: image i is right with probability
c_i, its confidence, and everything else is as it was.

**Drawn.** Photos of one product succeed and fail together: with probability rho^(1/2) an image
takes the uniform number that its family has drawn, else one of its own, and it is right where that
lies below c_i. So every image is right with probability c_i exactly, and two images of a family,
which share the number with probability rho, have the covariance

    rho (min(c_i, c_j) - c_i c_j).

rho is what makes the sum of these, over all pairs of a family, that of the products of their
residuals r = right - c, within 0..1. A straight line of r over c is taken off first: confidences
that are all too high are no dependence.

**Normal.** Of many images, and of pairs of images and labels, the sums of residuals per bin are
taken as normal, with the covariance of the G families' sums s_f, each less its share m_f of the
bins' means r (both one number per bin):

    S = G / (G - 1) sum_f (s_f - m_f r) (s_f - m_f r)'.

A calibrated model's bins vary no less than independent cells do, sum c (1 - c), and S is scaled
up to that.

Source: Broecker & Smith 2007, "Increasing the reliability of reliability diagrams"; Vaicenavicius
et al. 2019, "Evaluating model calibration in classification"; Kumar et al. 2019, "Verified
uncertainty calibration", for the bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from shopsight.metrics.calibration import bin_index
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import LEVEL, student_widening

DRAWS = 2000
MOST_SAMPLED_IMAGES = 10_000
"""Images whose right and wrong are sampled one by one; of more, the sums of the bins are normal."""
NUMBERS_AT_ONCE = 1 << 22
"""Uniform numbers that are sampled at once."""


@dataclass(frozen=True, eq=False)
class Chance:
    """What right less confidence sums to in the bins of calibrated models.

    Attributes:
        sums: One row per simulated model.
        cells: Images, or pairs of an image and a label, in each bin.
    """

    sums: Float64[np.ndarray, "r bins"]
    cells: Int64[np.ndarray, "bins"]

    @property
    def errors(self) -> Float64[np.ndarray, "r"]:
        """The calibration error of each model."""
        errors: Float64[np.ndarray, "r"] = np.abs(self.sums).sum(axis=1) / self.cells.sum()
        return errors

    @property
    def gaps(self) -> Float64[np.ndarray, "r"]:
        """Mean confidence less accuracy of each model."""
        gaps: Float64[np.ndarray, "r"] = -self.sums.sum(axis=1) / self.cells.sum()
        return gaps

    def p_value(self, *, error: float, gap: float) -> float:
        """How often a calibrated model is as far off as this, in its error or in its gap.

        A model that is off alike in all bins is found by the signed gap, one that is too sure in
        some and too unsure in others by the error. Each has a rank among the simulated values. The
        better rank of the two, among the better ranks of the simulated models, is one test of both.
        """
        errors, gaps = np.append(self.errors, error), np.append(np.abs(self.gaps), abs(gap))
        better = np.minimum(_tails(errors), _tails(gaps))
        return float(np.mean(better <= better[-1]))

    def band(self) -> tuple[Float64[np.ndarray, "bins"], Float64[np.ndarray, "bins"]]:
        """How far the accuracy of each bin lies below and above its confidence by chance.

        In 95 % of the models all bins are within at once, and each bin cuts off as many models as
        any other: the depth of a model is its least rank from either end in any bin, and the band
        ends at the depth that 95 % reach.

        Returns:
            The ends (low at most 0); NaN for empty bins.

        Source: Myllymaeki et al. 2017, "Global envelope tests for spatial processes".
        """
        full = self.cells > 0
        ordered = np.sort(self.sums[:, full], axis=0)
        depth = np.full(len(self.sums), len(self.sums))
        for rising, values in zip(ordered.T, self.sums[:, full].T, strict=True):
            below = np.searchsorted(rising, values, "right")
            above = len(rising) - np.searchsorted(rising, values, "left")
            depth = np.minimum(depth, np.minimum(below, above))
        end = int(np.quantile(depth, 1.0 - LEVEL, method="lower"))
        low, high = np.full(len(full), np.nan), np.full(len(full), np.nan)
        low[full] = np.minimum(ordered[end - 1] / self.cells[full], 0.0)
        high[full] = np.maximum(ordered[-end] / self.cells[full], 0.0)
        return low, high

    def widened(self, families: Families) -> Chance:
        """The same with sums that are wider where few families say how much they vary.

        By the square of Student's t over the normal quantile, at Kish's effective number of
        families less one degree of freedom: once for the spread over families, and once more for
        rho, which is estimated from the same families. Not widened, ten families of a calibrated
        model have a verdict in 15 % of the samples. Of images alone, whose variance is known, it
        is the same.
        """
        if families.are_images:
            return self
        return Chance(self.sums * student_widening(families) ** 2, self.cells)

    def merged(self, starts: Int64[np.ndarray, "fewer"]) -> Chance:
        """The same of wider bins, each from a bin of these up to the next."""
        return Chance(
            np.add.reduceat(self.sums, starts, axis=1), np.add.reduceat(self.cells, starts)
        )


def chance_of(
    confidence: Float[np.ndarray, "n"],
    correct: Bool[np.ndarray, "n"],
    families: Families,
    *,
    bins: int,
    seed: int = 0,
) -> Chance:
    """Return what calibrated models with these confidences and families come out at.

    Args:
        confidence: Of the best label.
        correct: Whether it is right.
        families: Of the images.
        bins: How many, of equal width.
        seed: Of the draws.

    Raises:
        MetricError: No images, or a confidence outside 0..1.
    """
    index = bin_index(confidence, bins=bins)
    cells = np.bincount(index, minlength=bins).astype(np.int64)
    c = np.asarray(confidence, np.float64)
    if len(c) <= MOST_SAMPLED_IMAGES:
        shared = dependence(c, correct, families)
        return Chance(_sampled_sums(c, index, families, shared, bins=bins, seed=seed), cells)
    cell = families.of_image * bins + index
    size = families.count * bins
    sums = np.bincount(cell, correct - c, minlength=size).reshape(-1, bins)
    shares = np.bincount(cell, minlength=size).reshape(-1, bins)
    variance = np.bincount(index, c * (1.0 - c), minlength=bins)
    return normal_chance(sums, shares, variance, seed=seed)


def normal_chance(
    sums: Float[np.ndarray, "g bins"],
    cells: Float[np.ndarray, "g bins"] | Int64[np.ndarray, "g bins"],
    variance: Float64[np.ndarray, "bins"],
    *,
    seed: int = 0,
) -> Chance:
    """Return normal sums of the bins, see the top of the file.

    Args:
        sums: Right less confidence, of each family in each bin.
        cells: How many.
        variance: Of each bin's sum, were the cells independent and calibrated.
        seed: Of the draws.
    """
    count, total = len(sums), cells.sum(axis=0)
    mean = sums.sum(axis=0) / np.maximum(total, 1)
    spread = sums - cells * mean
    covariance = spread.T @ spread * (count / max(count - 1, 1))
    own = np.diag(covariance)
    independent = np.diag(np.where(own > 0, 0.0, variance))
    scale = np.sqrt(np.maximum(1.0, variance / np.where(own > 0, own, np.inf)))
    covariance = covariance * np.outer(scale, scale) + independent
    values, directions = np.linalg.eigh(covariance)
    normal = np.random.default_rng(seed).standard_normal((DRAWS, len(total)))
    found = (normal * np.sqrt(np.maximum(values, 0.0))) @ directions.T
    return Chance(found, total.astype(np.int64))


def dependence(
    confidence: Float64[np.ndarray, "n"], correct: Bool[np.ndarray, "n"], families: Families
) -> float:
    """Return rho, the probability that two images of a family share their fate."""
    if families.are_images or families.count < 2:
        return 0.0
    possible = float(pair_covariances(confidence, families).sum())
    line = np.stack([np.ones(len(confidence)), confidence], axis=1)
    residual = correct - confidence
    residual = residual - line @ np.linalg.lstsq(line, residual, rcond=None)[0]
    products = (families.sums(residual) ** 2 - families.sums(residual**2)).sum() / 2
    return float(np.clip(products / possible, 0.0, 1.0)) if possible > 0 else 0.0


def pair_covariances(
    confidence: Float64[np.ndarray, "n"], families: Families
) -> Float64[np.ndarray, "g"]:
    """Return the sum of min(c_i, c_j) - c_i c_j over the pairs of each family.

    In ascending order, the k-th of m confidences is the smaller one in m - k pairs.
    """
    order = np.lexsort((confidence, families.of_image))
    sizes = families.sizes
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    later = np.repeat(sizes, sizes) - 1 - (np.arange(len(order)) - first)
    smaller = np.empty(len(order))
    smaller[order] = confidence[order] * later
    squares = families.sums(confidence**2)
    total: Float64[np.ndarray, "g"] = families.sums(confidence)
    pairs: Float64[np.ndarray, "g"] = families.sums(smaller) - (total**2 - squares) / 2
    return pairs


def _sampled_sums(
    confidence: Float64[np.ndarray, "n"],
    index: Int64[np.ndarray, "n"],
    families: Families,
    shared: float,
    *,
    bins: int,
    seed: int,
) -> Float64[np.ndarray, "r bins"]:
    """The sums of `DRAWS` calibrated models."""
    rng, count = np.random.default_rng(seed), len(confidence)
    order = np.argsort(index, kind="stable")
    limits, family = confidence[order].astype(np.float32), families.of_image[order]
    full, starts = np.unique(index[order], return_index=True)
    sums = np.zeros((DRAWS, bins))
    step = max(1, NUMBERS_AT_ONCE // count)
    for first in range(0, DRAWS, step):
        rows = slice(first, min(first + step, DRAWS))
        many = rows.stop - first
        uniform = rng.random((many, count), dtype=np.float32)
        if shared > 0:
            of_family = rng.random((many, families.count), dtype=np.float32)[:, family]
            takes = rng.random((many, count), dtype=np.float32) < shared**0.5
            uniform = np.where(takes, of_family, uniform)
        right = np.add.reduceat(uniform < limits, starts, axis=1, dtype=np.float64)
        sums[rows, full] = right - np.add.reduceat(confidence[order], starts)
    return sums


def _tails(values: Float64[np.ndarray, "r"]) -> Int64[np.ndarray, "r"]:
    """How many of the values are at least as large as each."""
    rising = np.sort(values)
    tails: Int64[np.ndarray, "r"] = len(values) - np.searchsorted(rising, values - 1e-12, "left")
    return tails
