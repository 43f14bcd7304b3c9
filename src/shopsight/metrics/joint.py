"""Scores of several models on the same images: how they vary together, and what holds for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr, ndtri

from shopsight.metrics.estimates import Estimate, corrected_sums, difference_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import LEVEL, Interval

DRAWS = 20_000
"""Of the joint distribution: its quantile .95 is then within .5 % of itself."""


@dataclass(frozen=True, eq=False)
class Joint:
    """Scores of several models on the same images, and how they vary together.

    Attributes:
        estimates: Of k models.
        families: Of the images.
        level: The confidence of all intervals together.
    """

    estimates: tuple[Estimate, ...]
    families: Families
    level: float = LEVEL

    @cached_property
    def covariance(self) -> Float64[np.ndarray, "k k"]:
        """Of the scores, over families."""
        sums = np.stack([corrected_sums(one.influence, self.families) for one in self.estimates])
        product: Float64[np.ndarray, "k k"] = sums @ sums.T
        return product

    @cached_property
    def pair_level(self) -> float:
        """The level that each difference of a pair needs for all of them to hold at `level`.

        With equal models the largest of all standardized differences |d| / se(d) exceeds 1.96
        far more often than in 5 % of samples. Its distribution is sampled from the scores' own
        covariance; the quantile c of it stands for a single level 2 Phi(c) - 1.

        Source: Westfall & Young 1993, "Resampling-based multiple testing"; Hothorn, Bretz &
        Westfall 2008, "Simultaneous inference in general parametric models".
        """
        return max(self.level, float(2 * ndtr(self.critical_value()) - 1))

    def critical_value(self) -> float:
        """The quantile `level` of the largest |d| / se(d) over all pairs, were all equal."""
        k = len(self.estimates)
        if k < 2:
            return float(ndtri((1 + self.level) / 2))
        samples = normal_errors(self.covariance)
        variance = np.diag(self.covariance)
        largest = np.zeros(DRAWS)
        for i in range(k - 1):
            squared = variance[i] + variance[i + 1 :] - 2 * self.covariance[i, i + 1 :]
            # Models that answer alike on every image have no difference to standardize.
            other = i + 1 + np.flatnonzero(squared > 1e-12 * variance.max(initial=0.0))
            error = np.sqrt(squared[other - i - 1])
            gaps = np.abs(samples[:, [i]] - samples[:, other]) / error
            np.maximum(largest, gaps.max(axis=1, initial=0.0), out=largest)
        return max(float(np.quantile(largest, self.level)), float(ndtri((1 + self.level) / 2)))

    def difference(self, a: int, b: int) -> Interval:
        """Interval of "a less b"; all pairs' intervals hold together at `level`."""
        return difference_of(
            self.estimates[a], self.estimates[b], self.families, level=self.pair_level
        )


def normal_errors(covariance: Float64[np.ndarray, "k k"]) -> Float64[np.ndarray, "r k"]:
    """`DRAWS` errors with that covariance, the same for the same one."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = np.random.default_rng(0).standard_normal((DRAWS, len(values)))
    errors: Float64[np.ndarray, "r k"] = normal @ root.T
    return errors


def simultaneous(
    estimates: Sequence[Estimate], families: Families, *, level: float = LEVEL
) -> Joint:
    """Scores of several models on the same images, for differences that hold together."""
    return Joint(tuple(estimates), families, level)
