"""Scores of several models on the very same images, and by how much each is behind the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shopsight.config.sections import EvaluationSettings
from shopsight.evaluation.headline import headline_comparison, headline_name, headline_value
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics.intervals import Interval


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
    values = [headline_value(one) for one in predictions]
    best = max(range(len(values)), key=values.__getitem__)
    scores, differences = headline_comparison(predictions, best, settings)
    metric, grouped = headline_name(predictions[0]), not predictions[0].families().are_images
    return PairedScores(metric, tuple(scores), best, tuple(differences), grouped)
