"""Scores of several models on the very same images, and by how much each is behind the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from shopsight.config.sections import EvaluationSettings
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.score import headline, headline_interval
from shopsight.metrics.intervals import Interval, paired_difference, widened_by_signs


@dataclass(frozen=True)
class PairedScores:
    """Scores of several models on the same images, in the order in which they were given.

    Attributes:
        metric: the headline metric, "accuracy" or "mean_average_precision".
        scores: per model, with a 95 % interval of its own.
        best: the index of the model with the highest score; of equals the first.
        differences: per model, to the best one's score: below zero, paired over the same
            images. None for the best itself.
        grouped: whole groups were resampled for the intervals.
    """

    metric: str
    scores: tuple[Interval, ...]
    best: int
    differences: tuple[Interval | None, ...]
    grouped: bool


def paired_scores(
    predictions: Sequence[Predictions], settings: EvaluationSettings | None = None
) -> PairedScores:
    """Score each model, and pair each with the best.

    Args:
        predictions: at least one, over the same rows, see `align_predictions`.
        settings: None takes the defaults of a recipe.

    Raises:
        MetricError: there are no images.
    """
    settings = settings or EvaluationSettings()
    scores = tuple(headline_interval(one, settings) for one in predictions)
    best = max(range(len(scores)), key=lambda index: scores[index].value)
    differences = tuple(
        None if index == best else _difference(own, predictions[best], settings)
        for index, own in enumerate(predictions)
    )
    metric, _ = headline(predictions[0])
    return PairedScores(metric, scores, best, differences, predictions[0].groups() is not None)


def _difference(own: Predictions, best: Predictions, settings: EvaluationSettings) -> Interval:
    """Own score less the best one's; for accuracies never narrower than the sign test allows."""
    metric, own_statistic = headline(own)
    _, best_statistic = headline(best)
    groups = own.groups()
    difference = paired_difference(
        own_statistic,
        best_statistic,
        len(own),
        groups=groups,
        resamples=settings.bootstrap_resamples,
    )
    if metric == "accuracy":
        return widened_by_signs(difference, _gains(own, best), groups=groups)
    return difference


def _gains(first: Predictions, second: Predictions) -> Float64[np.ndarray, "n"]:
    """1 where only the first is right, -1 where only the second is, else 0."""
    right = [one.table["correct"].to_numpy().astype(np.float64) for one in (first, second)]
    return right[0] - right[1]
