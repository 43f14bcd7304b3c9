"""Pairs of classes whose labels say little: photos of both are given now the one, now the other.

For a pair (a, b) the out-of-fold answers are asked one thing: is p_a / p_b larger for an image that
is labeled a than for one that is labeled b? The fraction of pairs of images for which it is (the
area under the curve) is 1 where the photos separate the classes and .5 where the labels might as
well have been thrown by a coin. Thresholds and sizes of classes do not count. A model that sees
little gives low areas too, so that only what neighbors say as well is named: of the near photos of
other families that are labeled a or b, at least a third is labeled the other way.

Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve", for the area
and its standard error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.metrics.selective import area_under_curve
from shopsight.mislabels.label_judge import LabelJudge
from shopsight.mislabels.ranking import Ranking

FEWEST_IMAGES = 10
"""Of each of both classes."""
MOST_AREA = 0.9
"""The upper end of the interval of the area lies below."""
OTHER_WAY = 1 / 3
"""Neighbors that are labeled the other way, at least."""
MOST_PAIRS = 20


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes.

    Attributes:
        labels: the larger class first.
        images: of each.
        crossed: of each, images for which the other class is the more probable one of both.
        area: 0.5 to 1.
        area_high: the upper end of its 95 % interval.
        neighbors: fraction of near photos of the pair that are labeled the other way.
    """

    labels: tuple[str, str]
    images: tuple[int, int]
    crossed: tuple[int, int]
    area: float
    area_high: float
    neighbors: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))

    def line(self) -> str:
        """One line for people."""
        (one, other), (first, second) = self.labels, self.crossed
        return (
            f"{one} / {other}: {first} of {self.images[0]:,} {one} look more like {other}, "
            f"{second} of {self.images[1]:,} the other way; of near photos {self.neighbors:.0%} "
            "are labeled the other way"
        )


def confused_pairs(judge: LabelJudge, ranking: Ranking) -> list[ConfusedPair]:
    """The pairs that labels confuse, the least separable first.

    Args:
        judge: of the labels.
        ranking: of the given ones.
    """
    counts = np.bincount(judge.given, minlength=len(judge.labels))
    found = []
    for numbers in _candidates(judge, counts):
        larger, smaller = sorted(numbers, key=lambda number: -int(counts[number]))
        pair = _pair(judge, ranking.probabilities, larger, smaller)
        if pair is not None:
            found.append(pair)
    return sorted(found, key=lambda pair: pair.area)[:MOST_PAIRS]


def _candidates(judge: LabelJudge, counts: Int64[np.ndarray, "c"]) -> list[tuple[int, int]]:
    """Pairs that neighbors connect; of ten thousand classes only some of 50 million pairs do."""
    own = np.repeat(judge.given, judge.neighbors.shape[1])
    near = judge.neighbors.ravel()
    own, near = own[near >= 0], judge.given[near[near >= 0]]
    low, high = np.minimum(own, near), np.maximum(own, near)
    pairs = np.unique(np.stack([low, high], axis=1)[low != high], axis=0)
    enough = (counts[pairs] >= FEWEST_IMAGES).all(axis=1)
    return [(int(one), int(other)) for one, other in pairs[enough]]


def _pair(
    judge: LabelJudge, probabilities: Float64[np.ndarray, "n c"], one: int, other: int
) -> ConfusedPair | None:
    rows, others = (np.flatnonzero(judge.given == number) for number in (one, other))
    crossings = _labeled_otherwise(judge, one, other)
    if crossings < OTHER_WAY:
        return None
    tiny = np.finfo(np.float64).tiny
    ratio = np.log(probabilities[:, one] + tiny) - np.log(probabilities[:, other] + tiny)
    area = area_under_curve(ratio[rows], ratio[others])
    high = area + 1.96 * area_error(area, len(rows), len(others))
    if high > MOST_AREA:
        return None
    return ConfusedPair(
        labels=(judge.labels[one], judge.labels[other]),
        images=(len(rows), len(others)),
        crossed=(int((ratio[rows] < 0).sum()), int((ratio[others] > 0).sum())),
        area=area,
        area_high=float(high),
        neighbors=crossings,
    )


def _labeled_otherwise(judge: LabelJudge, one: int, other: int) -> float:
    """Of the neighbors within both classes, the mean of both ways, so that sizes do not count."""
    shares = []
    for own, opposite in ((one, other), (other, one)):
        near = judge.neighbors[judge.given == own]
        labels = np.where(near >= 0, judge.given[near], -1)
        same, crossed = (labels == own).sum(), (labels == opposite).sum()
        shares.append(crossed / max(same + crossed, 1))
    return float(np.mean(shares))


def area_error(area: float, count: int, other: int) -> float:
    """The standard error of the area."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (count - 1) * (one - area**2) + (other - 1) * (two - area**2)
    return float(np.sqrt(max(spread, 0.0) / (count * other)))
