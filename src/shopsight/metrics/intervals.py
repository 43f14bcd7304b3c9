"""95 % intervals: how far a score on these images may be from its long-run value.

What is here needs no more than counts; `shopsight.metrics.estimates` makes intervals of scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Shaped
from scipy.special import betaincinv, ndtri, stdtrit

from shopsight.errors import MetricError
from shopsight.metrics.families import Families

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
# The standard normal quantile at 1 - TAIL.
Z = float(ndtri(1 - TAIL))
# A narrower spread is only rounding.
NO_WIDTH = 1e-9


@dataclass(frozen=True)
class Interval:
    """A value on all images and its 95 % interval.

    Attributes:
        value: On the images themselves.
        low: Lower end; NaN where no interval can be had.
        high: Upper end; likewise.
        reason: Why no interval can be had, e.g. "4 families: 5 are needed"; else empty.
        note: What weakens an interval that is given, e.g. "12 families: wide and rough".
    """

    value: float
    low: float
    high: float
    reason: str = ""
    note: str = ""

    @classmethod
    def unknown(cls, value: float, reason: str) -> Interval:
        """A value without an interval, and why."""
        return cls(value, float("nan"), float("nan"), reason=reason)

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def to_json(self) -> dict[str, Any]:
        """Return the numbers by name, NaN as None, and the reason and the note where there are."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        words = {"reason": self.reason, "note": self.note}
        return {
            **{name: None if math.isnan(number) else number for name, number in numbers.items()},
            **{name: text for name, text in words.items() if text},
        }


def widened_by_signs(
    difference: Interval,
    gains: Float64[np.ndarray, "n"],
    *,
    families: Families | None = None,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of a difference of two accuracies, not narrower than the sign test's.

    A variance of few disagreements is too sure: four images that only one model gets right, and
    it excludes 0, where a fair coin falls like that once in eight times. As long as the exact sign
    test does not tell two models apart, the interval returned holds 0.

    Of d images on which exactly one model is right, k go to the first. Given d, k is binomial with
    the probability q that a disagreement goes to the first; equally good models have q = 1/2. The
    q that an exact test at 2.5 % per side does not reject form Clopper and Pearson's interval,
    from the quantile .025 of Beta(k, d - k + 1) to the quantile .975 of Beta(k + 1, d - k). The
    difference of the accuracies is (k - (d - k)) / n, so that q stands for (d / n) (2 q - 1),
    which holds 0 exactly where the interval of q holds 1/2.

    Args:
        difference: By its variance.
        gains: For each image 1 (only the first is right), -1 (only the second) or 0.
        families: Of the images; a family counts once, by the sum of its gains. None: each image
            is its own.
        level: Of confidence.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions"; Clopper & Pearson 1934, "The use of confidence or fiducial limits".
    """
    sums = gains if families is None else families.sums(gains)
    # Gains that were computed back from means are whole numbers up to rounding.
    sums = np.where(np.abs(sums) < 0.5, 0.0, sums)
    disagreeing = int(np.count_nonzero(sums))
    if not disagreeing:
        return difference
    tail = (1 - level) / 2
    for_first = int(np.count_nonzero(sums > 0))
    for_second = disagreeing - for_first
    least = betaincinv(for_first, for_second + 1, tail) if for_first else 0.0
    most = betaincinv(for_first + 1, for_second, 1 - tail) if for_second else 1.0
    # (d / n) with groups: a disagreement weighs what one weighs on average.
    weight = float(np.abs(sums).sum()) / len(gains)
    low, high = weight * (2 * float(least) - 1), weight * (2 * float(most) - 1)
    return replace(difference, low=min(difference.low, low), high=max(difference.high, high))


def zero_events_bound(num_units: int) -> float:
    """Return the largest fraction that what occurs in none of n units may have, at 95 %.

    An event of probability p stays away n times with probability (1 - p)^n. That is at least 5 %
    up to p = 1 - .05^(1/n), about 3/n: the rule of three.

    Source: Hanley & Lippman-Hand 1983, "If nothing goes wrong, is everything all right?".
    """
    return float(1 - (1 - LEVEL) ** (1 / num_units))


def student_widening(families: Families) -> float:
    """Return how much wider than the normal's Student's 95 % interval is, with few families.

    By the quantiles, at Kish's effective number of families less one degree of freedom.
    """
    return float(stdtrit(max(families.effective_count - 1.0, 1.0), 1 - TAIL)) / Z


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the mean of a proportion over several trainings with its 95 % interval.

    The mean m of k values with standard deviation s (k - 1 in its denominator) is
    m +- t s / sqrt(k), with t the quantile .975 of Student's distribution for k - 1 degrees of
    freedom: it allows for s being an estimate of few values, where 1.96 would not. The ends are
    clipped to 0..1. The trainings of a K-fold run share most of their images, so that this is
    somewhat too narrow.

    Returns:
        None where all values are equal: the spread cannot be estimated from them.

    Raises:
        MetricError: Fewer than two values.

    Source: Student 1908, "The probable error of a mean"; Bengio & Grandvalet 2004, "No unbiased
    estimator of the variance of K-fold cross-validation", for what folds have in common.
    """
    if len(values) < 2:
        raise MetricError(f"the spread of {len(values)} trainings is unknown; 2 are needed")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    if deviation < NO_WIDTH:
        return None
    half = float(stdtrit(len(values) - 1, 1 - TAIL)) * deviation / len(values) ** 0.5
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def wilson(
    hits: Shaped[np.ndarray, "c"], total: Int[np.ndarray, "c"]
) -> tuple[Float64[np.ndarray, "c"], Float64[np.ndarray, "c"]]:
    """Return the 95 % interval of the proportion hits/total: lower and upper ends.

    It holds every true proportion p that the observed one, f, lies within z = 1.96 of p's own
    standard errors from: |f - p| <= z sqrt(p (1 - p) / n). Squared, that is a quadratic in p,

        (1 + z^2/n) p^2 - (2 f + z^2/n) p + f^2 <= 0,

    and the ends are its roots. The textbook's f +- z sqrt(f (1 - f) / n) takes the standard error
    of f instead, which is 0 for 4 hits of 4; here 4 of 4 is 51 to 100 %.

    Returns:
        NaN where total is 0.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    n = np.where(total > 0, total, np.nan).astype(np.float64)
    return wilson_ends(hits / n, n, np.full(n.shape, Z))


def wilson_ends(
    share: Float64[np.ndarray, "*c"], n: Float64[np.ndarray, "*c"], z: Float64[np.ndarray, "*c"]
) -> tuple[Float64[np.ndarray, "*c"], Float64[np.ndarray, "*c"]]:
    """Return `wilson` of a share, with any effective number of images n and any quantile z."""
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and at 1 the roots are exact; rounding may put them a little outside.
    low, high = np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
    return np.asarray(low), np.asarray(high)
