"""How much of the wrong labels lies how far up the list: measured on labels made wrong on purpose.

Nobody knows which labels of a catalog are wrong. So some that most probably are right are replaced
by others, heads are fitted to that, all labels are ranked anew, and it is counted where the
replaced ones went. Two kinds of mistakes are tried, as the answer depends on it: any other label,
and the class that is most like it by the out-of-fold answers.

What is found so far at a depth d is the fraction R(d) of the planted labels among the first d
images. It is a statement about mistakes like the planted ones, however many there are. How many
there are, M, stays unknown; of the first d images M R(d) / d are wrong. There is an upper bound. Of
the labels that were left as they are, a fraction F(d) is among the first d images. They are a
mixture of right ones and of a fraction s of wrong ones, so that

    F(d) = (1 - s) F_right(d) + s R(d) >= s R(d),    s <= F(d) / R(d) at every depth.

F(d) is taken at the upper end of its interval, and the least of the tried depths counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.metrics.intervals import Interval
from shopsight.metrics.shares import FEWEST_FAMILIES, share_intervals
from shopsight.mislabels.label_judge import SEEN, LabelJudge
from shopsight.mislabels.ranking import Ranking, rank_labels
from shopsight.progress import task

Kind = Literal["any", "look-alike"]
KINDS: tuple[Kind, ...] = ("any", "look-alike")
NOISE = 0.05
"""Fraction of the labels that is replaced at once."""
REPEATS = 2
DEPTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FEWEST_PLANTED = 20
"""Below, nothing is said: the interval would reach from nothing to everything."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where planted mistakes of one kind went.

    Attributes:
        kind: of mistakes.
        depths: fractions of the list, 0 to 1, one for each planted label: where it was found,
            in ascending order.
        at: how much is found within each of `DEPTHS`, with its interval.
        most_wrong: at most this fraction of the labels is wrong in this way.
    """

    kind: Kind
    depths: Float64[np.ndarray, "m"]
    at: tuple[Interval, ...]
    most_wrong: float

    def found_within(self, depth: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        """The fraction of the planted labels within each of these fractions of the list."""
        return np.searchsorted(self.depths, depth, side="right") / len(self.depths)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "planted": len(self.depths),
            "most_wrong": self.most_wrong,
            "found": [
                {
                    "depth": depth,
                    **found.to_json(),
                    "most_hits": min(1.0, self.most_wrong * found.value / depth),
                }
                for depth, found in zip(DEPTHS, self.at, strict=True)
            ],
        }


def plant_mistakes(judge: LabelJudge, ranking: Ranking, *, seed: int = 0) -> tuple[Found, ...]:
    """Measure how soon planted mistakes are found, by kind; nothing where labels are too few.

    Args:
        judge: whose labels are replaced, those of images that nobody learned from.
        ranking: of the given labels; their answers say which classes are alike.
        seed: which labels are replaced.
    """
    eligible = np.flatnonzero(np.array([one != SEEN for one in judge.judges]))
    if len(judge.labels) < 2 or NOISE * len(eligible) * REPEATS < FEWEST_PLANTED:
        return ()
    others = {
        "any": _any_other(len(judge.labels)),
        "look-alike": _nearest_class(judge.given, ranking.probabilities),
    }
    with task("Planting mistakes", total=len(KINDS) * REPEATS, unit="fits") as advance:
        return tuple(
            _found(judge, kind, eligible, others[kind], np.random.default_rng(seed), advance)
            for kind in KINDS
        )


Replaced = Callable[[Int64[np.ndarray, "m"], np.random.Generator], Int64[np.ndarray, "m"]]


def _any_other(num_classes: int) -> Replaced:
    def replaced(
        labels: Int64[np.ndarray, "m"], rng: np.random.Generator
    ) -> Int64[np.ndarray, "m"]:
        return (labels + rng.integers(1, num_classes, len(labels))) % num_classes

    return replaced


def _nearest_class(
    given: Int64[np.ndarray, "n"], probabilities: Float64[np.ndarray, "n c"]
) -> Replaced:
    """The other class that images of a class get most probability for."""
    num_classes = probabilities.shape[1]
    mass = np.zeros((num_classes, num_classes))
    np.add.at(mass, given, probabilities)
    np.fill_diagonal(mass, -1.0)
    nearest = mass.argmax(axis=1).astype(np.int64)
    return lambda labels, _: nearest[labels]


def _found(
    judge: LabelJudge,
    kind: Kind,
    eligible: Int64[np.ndarray, "e"],
    replaced: Replaced,
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> Found:
    rows, places, left = [], [], []
    count = round(NOISE * len(eligible))
    for _ in range(REPEATS):
        planted = rng.choice(eligible, count, replace=False)
        labels = judge.given.copy()
        labels[planted] = replaced(judge.given[planted], rng)
        place = np.empty(len(judge), np.int64)
        place[rank_labels(judge, labels).order] = np.arange(1, len(judge) + 1)
        rows.append(planted)
        places.append(place[planted] / len(judge))
        left.append(np.delete(place, planted) / len(judge))
        advance(1)
    depths, of_others = np.concatenate(places), np.concatenate(left)
    family = judge.families.of_image[np.concatenate(rows)]
    at = _shares_within(depths, family)
    return Found(kind, np.sort(depths), at, _most_wrong(at, of_others))


def _shares_within(
    depths: Float64[np.ndarray, "m"], family: Int64[np.ndarray, "m"]
) -> tuple[Interval, ...]:
    """How many planted labels lie within each of `DEPTHS`."""
    _, numbered = np.unique(family, return_inverse=True)
    hits = (depths[None] <= np.array(DEPTHS)[:, None]).ravel()
    row = np.repeat(np.arange(len(DEPTHS)), len(depths))
    low, high = share_intervals(row, hits, np.tile(numbered, len(DEPTHS)), num_rows=len(DEPTHS))
    values = [float((depths <= depth).mean()) for depth in DEPTHS]
    reason = f"fewer than {FEWEST_FAMILIES} families"
    return tuple(
        Interval(value, float(one), float(other))
        if np.isfinite(one)
        else Interval.unknown(value, reason)
        for value, one, other in zip(values, low, high, strict=True)
    )


def _most_wrong(at: tuple[Interval, ...], of_others: Float64[np.ndarray, "m"]) -> float:
    """The least F(d) / R(d), with the interval's ends that make it largest."""
    most = 1.0
    for depth, found in zip(DEPTHS, at, strict=True):
        if not found.is_known or found.low <= 0:
            continue
        above = int((of_others <= depth).sum())
        # Two standard deviations of a count more; repeats rank the same images.
        bound = (above + 2 * np.sqrt(REPEATS * (above + 1))) / len(of_others)
        most = min(most, bound / found.low)
    return float(most)
