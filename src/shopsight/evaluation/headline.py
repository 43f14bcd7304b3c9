"""The metric to quote, with its interval and its difference between two models.

Accuracy, or mean average precision where an image can have several labels. Its intervals are
bootstrapped; where several labels on many images make `MOST_RESAMPLED` pairs and more, a resample
takes seconds, and they are computed from the influence of each image instead, see
`shopsight.metrics.influence`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.config.sections import EvaluationSettings
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics import weighted
from shopsight.metrics.estimates import Estimate
from shopsight.metrics.influence import influence_difference, influence_interval
from shopsight.metrics.intervals import (
    Interval,
    Statistic,
    bootstrap,
    bootstrap_all,
    difference_of,
    num_units,
    widened_by_signs,
    widened_without_spread,
)

ACCURACY, MEAN_AVERAGE_PRECISION = "accuracy", "mean_average_precision"
MOST_RESAMPLED = 10_000_000
"""Pairs of an image and a label: their bootstrap takes about a minute."""


def headline_name(predictions: Predictions) -> str:
    """The metric to quote of such predictions."""
    return MEAN_AVERAGE_PRECISION if predictions.multilabel else ACCURACY


def is_ranked(predictions: Predictions) -> bool:
    """Whether there are so many scores that they are ranked in pieces and never resampled."""
    return predictions.multilabel and len(predictions) * len(predictions.labels) > MOST_RESAMPLED


def headline_statistic(predictions: Predictions) -> Statistic:
    """How the metric is computed from resampled images, unless `is_ranked`."""
    if not predictions.multilabel:
        return weighted.mean(predictions.table["correct"].to_numpy())
    targets = predictions.label_table("label").toarray()
    return weighted.mean_average_precision(targets, predictions.score_table())


def headline_value(predictions: Predictions) -> float:
    """The metric alone, without an interval."""
    if is_ranked(predictions):
        return predictions.ranking.mean_average_precision
    return float(headline_statistic(predictions)(np.ones((1, len(predictions))))[0])


def headline_estimate(predictions: Predictions) -> Estimate:
    """The metric with the influence of each image, for intervals and paired differences.

    Raises:
        MetricError: there are no predictions.
    """
    if not predictions.multilabel:
        return Estimate.share(predictions.table["correct"].to_numpy())
    ranking = predictions.ranking
    return Estimate(ranking.mean_average_precision, ranking.influence)


def headline_interval(predictions: Predictions, settings: EvaluationSettings) -> Interval:
    """The metric with its interval, the same as `score` gives, and nothing else.

    Raises:
        MetricError: there are no predictions.
    """
    groups = predictions.families().of_image
    if is_ranked(predictions):
        ranking = predictions.ranking
        value = ranking.mean_average_precision
        return influence_interval(value, ranking.influence, groups=groups)
    return bootstrap(
        headline_statistic(predictions),
        len(predictions),
        groups=groups,
        proportion=True,
        resamples=settings.bootstrap_resamples,
    )


def headline_comparison(
    predictions: Sequence[Predictions], best: int, settings: EvaluationSettings
) -> tuple[list[Interval], list[Interval | None]]:
    """The metric of each model with its interval, and less that of the best model.

    All are over the same resamples, made once. Differences of accuracies are never narrower than
    the sign test's.

    Args:
        predictions: of each model, on the same images in the same order.
        best: the index of the best model.
        settings: resamples behind the intervals.

    Returns:
        The scores, and the differences, None for the best itself.
    """
    if is_ranked(predictions[0]):
        ranked = [headline_interval(one, settings) for one in predictions]
        return ranked, [_ranked_difference(one, predictions[best]) for one in predictions]
    statistics = [headline_statistic(one) for one in predictions]
    scores = {f"score {index}": own for index, own in enumerate(statistics)}
    differences = {
        f"difference {index}": difference_of(own, statistics[best])
        for index, own in enumerate(statistics)
        if index != best
    }
    groups = predictions[best].families().of_image
    found = bootstrap_all(
        scores | differences,
        len(predictions[best]),
        groups=groups,
        proportions=list(scores),
        resamples=settings.bootstrap_resamples,
    )
    return [found[name] for name in scores], [
        None
        if index == best
        else _widened(found[f"difference {index}"], one, predictions[best], groups)
        for index, one in enumerate(predictions)
    ]


def _widened(
    difference: Interval,
    own: Predictions,
    best: Predictions,
    groups: Int64[np.ndarray, "n"] | None,
) -> Interval:
    difference = widened_without_spread(difference, num_units(len(own), groups))
    if own.multilabel:
        return difference
    return widened_by_signs(difference, _gains(own, best), families=own.families())


def _ranked_difference(own: Predictions, best: Predictions) -> Interval | None:
    if own is best:
        return None
    return influence_difference(
        own.ranking.mean_average_precision - best.ranking.mean_average_precision,
        own.ranking.influence - best.ranking.influence,
        groups=own.families().of_image,
    )


def _gains(first: Predictions, second: Predictions) -> Float64[np.ndarray, "n"]:
    """1 where only the first is right, -1 where only the second is, else 0."""
    right = [one.table["correct"].to_numpy().astype(np.float64) for one in (first, second)]
    return right[0] - right[1]
