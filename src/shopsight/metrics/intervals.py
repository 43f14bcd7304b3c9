"""Bootstrap intervals: how far a score on these images may be from the score on all images.

A resample with replacement is a row of weights: how often each image was drawn. A `Statistic`
turns rows of weights into rows of numbers, so that hundreds of resamples are one matrix product;
`shopsight.metrics.weighted` has one for each metric.

Resamples of images that are all right are all right: where nothing varies, a bootstrap claims
certainty. There the interval comes from the number of images (or groups) instead: `wilson` for a
metric between 0 and 1, `most_unseen` for a paired difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64, Shaped
from scipy.special import betaincinv, stdtrit

from shopsight.errors import MetricError

Weights = Float64[np.ndarray, "r n"]
Statistic = Callable[[Weights], Float64[np.ndarray, "r"]]

LEVEL = 0.95
# Narrower than this is no spread but rounding.
NO_WIDTH = 1e-9
# Weights held at once: 64 MB of float64.
WEIGHTS_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Interval:
    """A value on all images and the 95 % interval of its resamples."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(
    statistic: Statistic,
    images: int,
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
    share: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile 95 % interval of one statistic; see `bootstrap_all`."""
    return bootstrap_all(
        {"": statistic},
        images,
        groups=groups,
        shares=[""] if share else (),
        resamples=resamples,
        seed=seed,
    )[""]


def bootstrap_all(
    statistics: Mapping[str, Statistic],
    images: int,
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
    shares: Collection[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile 95 % intervals of several statistics over the same resamples.

    Args:
        statistics: each maps weights "r n" to values "r"; resamples where it is NaN are left out.
        images: n, the number of images.
        groups: one value per image. Whole groups are drawn instead of images (cluster bootstrap):
            images of one product or contributor succeed and fail together, and an interval that
            ignores this is too narrow.
        shares: the statistics that lie between 0 and 1. Where the interval of one has no width
            or ends at 0 or 1, it is widened to hold Wilson's of the same value on as many images
            (or groups): there resamples say too little of what was not drawn.

    Raises:
        MetricError: no images, groups of another length, or fewer than 100 resamples.
    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 13; Davison &
        Hinkley 1997, "Bootstrap methods and their application", section 3.8, for groups; Brown,
        Cai & DasGupta 2001, "Interval estimation for a binomial proportion", for the edges.
    """
    if images < 1:
        raise MetricError("there are no images to measure on")
    if resamples < 100:
        raise MetricError(f"{resamples} resamples are too few for a 95 % interval; use 100 or more")
    resampled: dict[str, list[Float64[np.ndarray, "r"]]] = {name: [] for name in statistics}
    for weights in _resampled_weights(images, groups, resamples, seed):
        for name, statistic in statistics.items():
            resampled[name].append(statistic(weights))
    once = np.ones((1, images))
    found = {
        name: _interval(float(statistic(once)[0]), np.concatenate(resampled[name]))
        for name, statistic in statistics.items()
    }
    units = _units(images, groups)
    return found | {name: _widened_at_the_edges(found[name], units) for name in shares}


def paired_difference(
    a: Statistic,
    b: Statistic,
    images: int,
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Value of a less value of b with its 95 % interval, over the same resamples.

    What both find hard or easy cancels, so this is far narrower than the distance of two
    intervals. The difference is clear when the interval excludes 0. Where no image (or group)
    differs from the others in this, the interval is `most_unseen` wide: that share of all images
    may differ, each by a whole point in either direction.

    Args:
        a, b: statistics between 0 and 1.

    Raises:
        MetricError: as `bootstrap_all`.
    """
    found = bootstrap(
        lambda weights: a(weights) - b(weights),
        images,
        groups=groups,
        resamples=resamples,
        seed=seed,
    )
    if not _without_width(found):
        return found
    unseen = most_unseen(_units(images, groups))
    value = found.value
    return Interval(value, value - unseen * (1 + value), value + unseen * (1 - value))


def widened_by_signs(
    difference: Interval,
    gains: Float64[np.ndarray, "n"],
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
) -> Interval:
    """The interval of a difference of two accuracies, not narrower than the exact sign test's.

    A bootstrap of few disagreements is too sure: four images that only one model gets right, and
    it excludes 0, where a fair coin falls like that once in eight times. As long as the sign test
    does not tell two models apart, the interval returned holds 0.

    Args:
        gains: for each image 1 (only the first is right), -1 (only the second) or 0.
        groups: one value per image; a group counts once, by the sum of its gains.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
        proportions"; Clopper & Pearson 1934, "The use of confidence or fiducial limits", for the
        share of disagreements that go one way.
    """
    sums = gains if groups is None else np.bincount(_numbered(groups, len(gains)), weights=gains)
    disagreeing = int(np.count_nonzero(sums))
    if not disagreeing:
        return difference
    for_first = int(np.count_nonzero(sums > 0))
    tail, against = (1 - LEVEL) / 2, disagreeing - for_first
    least = betaincinv(for_first, against + 1, tail) if for_first else 0.0
    most = betaincinv(for_first + 1, against, 1 - tail) if against else 1.0
    # A disagreement weighs what one weighs on average.
    weight = float(np.abs(sums).sum()) / len(gains)
    low, high = weight * (2 * float(least) - 1), weight * (2 * float(most) - 1)
    return Interval(difference.value, min(difference.low, low), max(difference.high, high))


def most_unseen(units: int) -> float:
    """The largest share that what was seen in none of so many may have, at 95 %; about 3/units.

    Source: Hanley & Lippman-Hand 1983, "If nothing goes wrong, is everything all right?".
    """
    return float(1 - (1 - LEVEL) ** (1 / units))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Mean of a share over several trainings with its 95 % interval, by the t-distribution.

    The trainings of a K-fold run share most of their images, so that this is somewhat too narrow.
    None where all values are equal: their spread cannot be told from them.

    Raises:
        MetricError: fewer than two values.
    Source: Student 1908, "The probable error of a mean"; Bengio & Grandvalet 2004, "No unbiased
        estimator of the variance of K-fold cross-validation", for what folds share.
    """
    if len(values) < 2:
        raise MetricError(f"the spread of {len(values)} trainings cannot be told; 2 at least")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    if deviation < NO_WIDTH:
        return None
    half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * deviation / len(values) ** 0.5
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def wilson(
    hits: Shaped[np.ndarray, "c"], total: Int[np.ndarray, "c"]
) -> tuple[Float64[np.ndarray, "c"], Float64[np.ndarray, "c"]]:
    """95 % interval of the share hits/total, from below and above; NaN where total is 0.

    For one class's few images, where resampling 4 hits of 4 would claim certainty.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z = 1.959964
    n = np.where(total > 0, total, np.nan).astype(np.float64)
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)


def _resampled_weights(
    images: int, groups: Shaped[np.ndarray, "n"] | None, resamples: int, seed: int
) -> Iterator[Weights]:
    group_of = None if groups is None else _numbered(groups, images)
    units = images if group_of is None else int(group_of.max()) + 1
    rng = np.random.default_rng(seed)
    at_once = max(1, WEIGHTS_AT_ONCE // max(units, images))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        picks = rng.integers(0, units, size=(rows, units), dtype=np.int64)
        picks += np.arange(rows, dtype=np.int64)[:, None] * units
        counts = np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units)
        weights = counts.astype(np.float64)
        yield weights if group_of is None else weights[:, group_of]


def _numbered(groups: Shaped[np.ndarray, "n"], images: int) -> Int64[np.ndarray, "n"]:
    if len(groups) != images:
        raise MetricError(f"{len(groups)} groups do not go with {images} images")
    return np.unique(groups, return_inverse=True)[1]


def _units(images: int, groups: Shaped[np.ndarray, "n"] | None) -> int:
    """What is drawn: images, or groups of them."""
    return images if groups is None else len(np.unique(groups))


def _without_width(found: Interval) -> bool:
    return found.high - found.low < NO_WIDTH


def _widened_at_the_edges(found: Interval, units: int) -> Interval:
    at_edge = found.low < NO_WIDTH or found.high > 1 - NO_WIDTH
    if not at_edge and not _without_width(found):
        return found
    low, high = wilson(np.array([found.value * units]), np.array([units]))
    return Interval(found.value, min(found.low, float(low[0])), max(found.high, float(high[0])))


def _interval(value: float, resampled: Float64[np.ndarray, "r"]) -> Interval:
    known = resampled[~np.isnan(resampled)]
    if len(known) == 0:
        return Interval(value, float("nan"), float("nan"))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(known, (tail, 100 - tail))
    return Interval(value, float(low), float(high))
