"""Answers that are given only above a threshold of a score: how many, how often right.

The coverage of a threshold is the fraction of known images that are answered, its accuracy the
fraction of these whose answer is right. Strangers are images of no class of the model; those that
are answered all the same are falsely accepted.

Source: El-Yaniv and Wiener 2010, "On the Foundations of Noise-free Selective Classification".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

CURVE_POINTS = 101


def area_under_curve(high: Float[np.ndarray, "n"], low: Float[np.ndarray, "m"]) -> float:
    """The probability that one of `high` lies above one of `low` (AUROC); ties count half."""
    if not len(high) or not len(low):
        return float("nan")
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, side="left")
    ties = np.searchsorted(ordered, high, side="right") - below
    return float((below + ties / 2).sum() / (len(high) * len(low)))


def threshold_for_coverage(scores: Float[np.ndarray, "n"], coverage: float) -> float:
    """The highest threshold that answers at least this fraction of the images."""
    kept = min(len(scores), max(1, int(np.ceil(coverage * len(scores) - 1e-9))))
    return float(np.sort(scores)[::-1][kept - 1])


def threshold_for_accuracy(
    scores: Float[np.ndarray, "n"], right: Bool[np.ndarray, "n"], accuracy: float
) -> float | None:
    """The lowest threshold above which so many answers are right; None where there is none.

    Images of equal scores are answered together.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(right[order])
    ends = np.append(ordered[1:] != ordered[:-1], True)
    reached = ends & (hits >= accuracy * np.arange(1, len(hits) + 1) - 1e-9)
    places = np.flatnonzero(reached)
    return float(ordered[places[-1]]) if len(places) else None


@dataclass(frozen=True, eq=False)
class SelectiveCurve:
    """What thresholds would do, from answering everything to answering nearly nothing.

    Attributes:
        thresholds: ascending.
        coverage: of each.
        accuracy: of each.
        accepted: the fraction of strangers that is answered; NaN without strangers.
    """

    thresholds: Float64[np.ndarray, "t"]
    coverage: Float64[np.ndarray, "t"]
    accuracy: Float64[np.ndarray, "t"]
    accepted: Float64[np.ndarray, "t"]

    def to_json(self) -> list[dict[str, Any]]:
        """A row for each threshold."""
        columns = {name: values.tolist() for name, values in vars(self).items()}
        rows = zip(*columns.values(), strict=True)
        return [
            {name: None if np.isnan(one) else one for name, one in zip(columns, row, strict=True)}
            for row in rows
        ]


def selective_curve(
    scores: Float[np.ndarray, "n"],
    right: Bool[np.ndarray, "n"],
    strangers: Float[np.ndarray, "m"],
) -> SelectiveCurve:
    """The curve over thresholds at equally spaced coverages."""
    ordered = np.sort(scores)
    places = np.linspace(0, len(ordered) - 1, min(CURVE_POINTS, len(ordered))).astype(np.int64)
    thresholds = np.unique(ordered[places])
    answered = scores[None] >= thresholds[:, None]
    counts = answered.sum(axis=1)
    accepted = np.full(len(thresholds), np.nan)
    if len(strangers):
        accepted = (strangers[None] >= thresholds[:, None]).mean(axis=1)
    return SelectiveCurve(
        thresholds.astype(np.float64),
        counts / len(scores),
        (answered & right[None]).sum(axis=1) / counts,
        accepted,
    )
