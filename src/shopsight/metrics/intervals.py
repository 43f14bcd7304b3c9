"""95 % intervals: how far a score on these images may be from the score on all images like them.

**Percentile bootstrap.** The images are a sample; the score of another sample would differ. The
bootstrap imitates other samples by resampling the images with replacement: the spread of a score
over resamples approximates its spread over samples. The interval reaches from the 2.5th to the
97.5th percentile of the resampled scores (Efron & Tibshirani 1993, chapter 13). A resample is a
row of weights, how often it holds each image, and a `Statistic` turns rows of weights into values,
so that hundreds of resamples are one matrix product: see `shopsight.metrics.weighted`.

**Cluster bootstrap.** Images of one product succeed and fail together. With groups of m images
and a correlation of c within them, the variance of a mean is 1 + (m - 1) c times what independent
images have (Kish 1965, the design effect). Resampling whole groups keeps that dependence, whatever
it is (Field & Welsh 2007).

**At the edges.** Resamples of images that are all right are all right: where nothing varies, a
bootstrap claims certainty. With a single wrong image of n, a resample lacks it with probability
(1 - 1/n)^n, about 37 %, so that the interval still ends at 100 %. There the number of images (or
groups) decides: `wilson` for a metric between 0 and 1, `zero_events_bound` for a paired difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64, Shaped
from scipy.special import betaincinv, ndtri, stdtrit

from shopsight.errors import MetricError
from shopsight.metrics.families import Families

Weights = Float64[np.ndarray, "r n"]
Statistic = Callable[[Weights], Float64[np.ndarray, "r"]]

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
# The standard normal quantile at 1 - TAIL.
Z = float(ndtri(1 - TAIL))
# A narrower spread is only rounding.
NO_WIDTH = 1e-9
FULL_UP_TO = 1_000_000
"""Images up to which as many resamples are made as are asked for."""
FEWEST_RESAMPLES = 400
# Weights held at once: 64 MB of float64.
WEIGHTS_AT_ONCE = 8_000_000


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


def resamples_for(num_images: int, wanted: int) -> int:
    """Return how many resamples a bootstrap of so many images takes.

    Up to `FULL_UP_TO` images the wanted number; beyond, as many as keep the images that are drawn
    in all the same, at least `FEWEST_RESAMPLES`. The end of an interval is a quantile of r
    resampled values; where they are normal with standard deviation s, its own standard error is
    sqrt(.025 .975 / r) / .0584 s = 2.67 s / sqrt(r). Of the interval's half width, 1.96 s, that is
    3 % with 2,000 resamples and 7 % with 400.

    Source: David & Nagaraja 2003, "Order statistics", section 10.2, for the quantile's variance.
    """
    if num_images <= FULL_UP_TO:
        return wanted
    return min(wanted, max(FEWEST_RESAMPLES, wanted * FULL_UP_TO // num_images))


def bootstrap(
    statistic: Statistic,
    num_images: int,
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
    proportion: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile 95 % interval of one statistic; see `bootstrap_all`.

    Args:
        statistic: Maps weights "r n" to values "r".
        num_images: n.
        groups: One value per image.
        proportion: Whether the statistic lies between 0 and 1.
        resamples: At least 100.
        seed: Seed of the resamples.
    """
    return bootstrap_all(
        {"": statistic},
        num_images,
        groups=groups,
        proportions=[""] if proportion else (),
        resamples=resamples,
        seed=seed,
    )[""]


def bootstrap_all(
    statistics: Mapping[str, Statistic],
    num_images: int,
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
    proportions: Collection[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the percentile 95 % intervals of several statistics over the same resamples.

    Args:
        statistics: Each maps weights "r n" to values "r"; resamples where it is NaN are left out.
        num_images: n, the number of images.
        groups: One value per image. Whole groups are resampled instead of images: images of one
            product or contributor are not independent, and an interval that ignores this is too
            narrow.
        proportions: The statistics that lie between 0 and 1. Where the interval of one has no
            width or ends at 0 or 1, it is widened to hold Wilson's of the same value on as many
            images (or groups).
        resamples: At least 100; above a million images fewer are made, see `resamples_for`.
        seed: Seed of the resamples.

    Raises:
        MetricError: No images, groups of another length, or fewer than 100 resamples.

    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 13; Field & Welsh
    2007, "Bootstrapping clustered data", for groups; Brown, Cai & DasGupta 2001, "Interval
    estimation for a binomial proportion", for the edges.
    """
    if num_images < 1:
        raise MetricError("there are no images to measure on")
    if resamples < 100:
        raise MetricError(f"{resamples} resamples are too few for a 95 % interval; use 100 or more")
    resampled: dict[str, list[Float64[np.ndarray, "r"]]] = {name: [] for name in statistics}
    resamples = resamples_for(num_images, resamples)
    for weights in _resampled_weights(num_images, groups, resamples, seed):
        for name, statistic in statistics.items():
            resampled[name].append(statistic(weights))
    once = np.ones((1, num_images))
    found = {
        name: _percentiles(float(statistic(once)[0]), np.concatenate(resampled[name]))
        for name, statistic in statistics.items()
    }
    units = num_units(num_images, groups)
    return found | {name: widened_at_the_edges(found[name], units) for name in proportions}


def difference_of(a: Statistic, b: Statistic) -> Statistic:
    """Return the statistic "a less b" of two models on the same images.

    Both are computed from the same resample, so that what both find hard or easy cancels: its
    interval is far narrower than the distance of two intervals. The difference is clear when the
    interval excludes 0, see `widened_without_spread` and `widened_by_signs`.
    """
    return lambda weights: a(weights) - b(weights)


def widened_without_spread(difference: Interval, units: int) -> Interval:
    """Return the interval of a paired difference, which has a width whatever was seen.

    Where every image (or group) shows the same difference d, a bootstrap has no width. A fraction u
    of all images that look otherwise may have been missed, u at most `zero_events_bound`; their own
    difference lies between -1 and 1. The difference over all is then between (1 - u) d - u and
    (1 - u) d + u, which is the interval returned.

    Args:
        difference: Of two statistics between 0 and 1.
        units: Number of images, or of groups where whole groups are resampled.
    """
    if not _without_width(difference):
        return difference
    unseen, value = zero_events_bound(units), difference.value
    return Interval(value, (1 - unseen) * value - unseen, (1 - unseen) * value + unseen)


def widened_by_signs(
    difference: Interval,
    gains: Float64[np.ndarray, "n"],
    *,
    families: Families | None = None,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of a difference of two accuracies, not narrower than the sign test's.

    A bootstrap of few disagreements is too sure: four images that only one model gets right, and
    it excludes 0, where a fair coin falls like that once in eight times. As long as the exact sign
    test does not tell two models apart, the interval returned holds 0.

    Of d images on which exactly one model is right, k go to the first. Given d, k is binomial with
    the probability q that a disagreement goes to the first; equally good models have q = 1/2. The
    q that an exact test at 2.5 % per side does not reject form Clopper and Pearson's interval,
    from the quantile .025 of Beta(k, d - k + 1) to the quantile .975 of Beta(k + 1, d - k). The
    difference of the accuracies is (k - (d - k)) / n, so that q stands for (d / n) (2 q - 1),
    which holds 0 exactly where the interval of q holds 1/2.

    Args:
        difference: The bootstrap's.
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
    found = hits / n
    middle = (found + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(found * (1 - found) / n + Z**2 / (4 * n**2))
    # At 0 and at 1 the roots are exact; rounding may put them a little outside.
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _resampled_weights(
    num_images: int, groups: Shaped[np.ndarray, "n"] | None, resamples: int, seed: int
) -> Iterator[Weights]:
    """Yield the resamples in blocks of rows: how often each image is in each of them."""
    group_of = None if groups is None else group_index(groups, num_images)
    units = num_images if group_of is None else int(group_of.max()) + 1
    rng = np.random.default_rng(seed)
    at_once = max(1, WEIGHTS_AT_ONCE // max(units, num_images))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        picks = rng.integers(0, units, size=(rows, units), dtype=np.int64)
        # Row r's picks are moved to r * units ..., so that one count serves all rows.
        picks += np.arange(rows, dtype=np.int64)[:, None] * units
        counts = np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units)
        weights = counts.astype(np.float64)
        yield weights if group_of is None else weights[:, group_of]


def group_index(groups: Shaped[np.ndarray, "n"], num_images: int) -> Int64[np.ndarray, "n"]:
    """Return the number of each image's group.

    Raises:
        MetricError: Groups of another length.
    """
    if len(groups) != num_images:
        raise MetricError(f"{len(groups)} groups do not go with {num_images} images")
    return np.unique(groups, return_inverse=True)[1]


def num_units(num_images: int, groups: Shaped[np.ndarray, "n"] | None) -> int:
    """Return the number of what is resampled: images, or groups of them."""
    return num_images if groups is None else len(np.unique(groups))


def _without_width(found: Interval) -> bool:
    return found.high - found.low < NO_WIDTH


def widened_at_the_edges(found: Interval, units: int) -> Interval:
    """Return an interval of a proportion that holds Wilson's where it reaches 0, 1 or no width."""
    at_edge = found.low < NO_WIDTH or found.high > 1 - NO_WIDTH
    if not at_edge and not _without_width(found):
        return found
    low, high = wilson(np.array([found.value * units]), np.array([units]))
    return Interval(found.value, min(found.low, float(low[0])), max(found.high, float(high[0])))


def _percentiles(value: float, resampled: Float64[np.ndarray, "r"]) -> Interval:
    known = resampled[~np.isnan(resampled)]
    if len(known) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(known, (100 * TAIL, 100 * (1 - TAIL)))
    return Interval(value, float(low), float(high))
