"""The metric to quote, with its interval.

Accuracy, or mean average precision where an image can have several labels.
"""

from __future__ import annotations

from shopsight.evaluation.predictions import Predictions
from shopsight.metrics import influence
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.intervals import Interval

ACCURACY, MEAN_AVERAGE_PRECISION = "accuracy", "mean_average_precision"


def headline_name(predictions: Predictions) -> str:
    """The metric to quote of such predictions."""
    return MEAN_AVERAGE_PRECISION if predictions.multilabel else ACCURACY


def headline_value(predictions: Predictions) -> float:
    """The metric alone, without an interval."""
    return headline_estimate(predictions).value


def headline_estimate(predictions: Predictions) -> Estimate:
    """The metric with the influence of each image, for intervals and paired differences.

    Raises:
        MetricError: there are no predictions.
    """
    if not predictions.multilabel:
        return Estimate.share(predictions.table["correct"].to_numpy())
    targets = predictions.label_table("label")
    return influence.mean_average_precision(predictions.ranking, targets, predictions.families())


def headline_interval(predictions: Predictions) -> Interval:
    """The metric with its interval, the same as `score` gives, and nothing else.

    Raises:
        MetricError: there are no predictions.
    """
    return interval_of(headline_estimate(predictions), predictions.families())
