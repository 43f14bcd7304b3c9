"""Scores of several models on the very same images, and by how much each is behind the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shopsight.evaluation.headline import headline_estimate, headline_name
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics.best_of import best_of
from shopsight.metrics.estimates import interval_of
from shopsight.metrics.intervals import Interval


@dataclass(frozen=True)
class PairedScores:
    """Scores of several models on the same images, in the order in which they were given.

    Attributes:
        metric: the headline metric, "accuracy" or "mean_average_precision".
        scores: per model, with a 95 % interval; that of the best allows for its being chosen.
        best: the index of the model with the highest score; of equals the first by name.
        differences: per model, to the best one's score: below zero, paired over the same
            images, with intervals that hold together. None for the best itself.
        may_be_best: indices of the models that are not clearly worse, the best one included.
        optimism: by how much the best score is too high on average, see
            `shopsight.metrics.best_of.BestOf`.
        grouped: whole families vary together in the intervals.
    """

    metric: str
    scores: tuple[Interval, ...]
    best: int
    differences: tuple[Interval | None, ...]
    may_be_best: tuple[int, ...]
    optimism: float
    grouped: bool


def paired_scores(predictions: Sequence[Predictions], names: Sequence[str] = ()) -> PairedScores:
    """Score each model, and pair each with the best.

    Args:
        predictions: at least one, over the same rows, see `align_predictions`.
        names: of the models; with names no number depends on the order of the models.

    Raises:
        MetricError: there are no images.
    """
    order = sorted(range(len(predictions)), key=lambda at: (names[at] if names else "", at))
    families = predictions[0].families()
    found = best_of([headline_estimate(predictions[at]) for at in order], families)
    places = [order.index(at) for at in range(len(order))]
    return PairedScores(
        metric=headline_name(predictions[0]),
        scores=tuple(found.scores[place] for place in places),
        best=order[found.best],
        differences=tuple(found.differences[place] for place in places),
        may_be_best=tuple(sorted(order[place] for place in found.may_be_best)),
        optimism=found.optimism,
        grouped=not families.are_images,
    )


def scores_alone(predictions: Sequence[Predictions]) -> list[Interval]:
    """Score each model on images that chose none of them.

    Raises:
        MetricError: there are no images.
    """
    families = predictions[0].families()
    return [interval_of(headline_estimate(one), families) for one in predictions]
