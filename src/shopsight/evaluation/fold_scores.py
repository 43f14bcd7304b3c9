"""How much a score moves from one training to the next: the folds of a K-fold run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from shopsight.metrics.intervals import Interval, mean_interval


@dataclass(frozen=True)
class FoldScore:
    """The headline metric on one fold, by the network that never saw it."""

    fold: int
    images: int
    score: Interval


@dataclass(frozen=True)
class FoldScores:
    """The trainings of a K-fold run, one by one.

    The score over all images, out of fold, says how good the procedure is; these say how much it
    depends on which images were sampled for training.
    """

    folds: tuple[FoldScore, ...]

    @property
    def values(self) -> list[float]:
        return [one.score.value for one in self.folds]

    @property
    def mean(self) -> float:
        """Each training counts the same, however many images its fold has."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation over the trainings (of a sample: divided by their number less 1)."""
        return statistics.stdev(self.values)

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean over trainings; None where all folds have the same score."""
        return mean_interval(self.values)

    def to_json(self) -> dict[str, Any]:
        interval = self.interval
        return {
            "trainings": len(self.folds),
            "mean": self.mean,
            "deviation": self.deviation,
            "low": interval and interval.low,
            "high": interval and interval.high,
            "scores": [
                {"fold": one.fold, "images": one.images} | one.score.to_json() for one in self.folds
            ],
        }
