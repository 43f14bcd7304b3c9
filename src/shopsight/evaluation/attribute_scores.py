"""How good each attribute is, with intervals, on the images whose value is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from shopsight.evaluation.attribute_columns import PredictedAttribute
from shopsight.evaluation.metric_names import title_of
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics import influence
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.text import counted, percent_text

MICRO_F1 = "micro_f1"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class AttributeScore:
    """One attribute on one part of a catalog.

    Attributes:
        name: of it.
        metric: "accuracy", or "micro_f1" where an image has several values.
        num_images: those with a known value, which are scored.
        num_missing: those without a value.
        num_unknown: those with a value that the model does not have, which are not scored.
        score: of what the model finds most likely, applicable or not; None without images.
        commonest: the value that most of the scored images have.
        commonest_share: the share of them: what always answering it would score.
        given: the share of scored images that get an answer.
        precision: the share of right ones among those answers; of several values exactly these.
    """

    name: str
    metric: str
    num_images: int
    num_missing: int
    num_unknown: int
    score: Interval | None = None
    commonest: str = ""
    commonest_share: float = 0.0
    given: Interval | None = None
    precision: Interval | None = None

    def line(self) -> str:
        """One line for people."""
        if self.score is None or self.given is None:
            return f"{self.name}: not measured: no image here has a value that the model has"
        answered = f"answers {percent_text(self.given.value)} of them"
        if self.precision is not None:
            answered += f", {_ends(self.precision)} of these right"
        baseline = f"always {self.commonest!r}: {percent_text(self.commonest_share)}"
        unknown = ""
        if self.num_unknown:
            unknown = f"; {counted(self.num_unknown, 'image')} of values that it does not have"
        return (
            f"{self.name}: {title_of(self.metric).lower()} {_ends(self.score)} on "
            f"{counted(self.num_images, 'image')} with a value ({baseline}); {answered}{unknown}"
        )

    def to_json(self) -> dict[str, Any]:
        """The score as plain values."""
        return {
            "name": self.name,
            "metric": self.metric,
            "images": self.num_images,
            "missing": self.num_missing,
            "unknown": self.num_unknown,
            "score": self.score and self.score.to_json(),
            "commonest": {"value": self.commonest, "share": self.commonest_share},
            "given": self.given and self.given.to_json(),
            "precision": self.precision and self.precision.to_json(),
        }


def attribute_scores(predictions: Predictions) -> tuple[AttributeScore, ...]:
    """The score of each attribute of the model."""
    return tuple(_score(predictions, one) for one in predictions.attributes)


def _score(predictions: Predictions, attribute: PredictedAttribute) -> AttributeScore:
    table = predictions.table
    rows = np.flatnonzero(table[attribute.truth].is_not_null().to_numpy())
    num_unknown = int(table[attribute.unknown].sum())
    metric = MICRO_F1 if attribute.several else ACCURACY
    counts = (len(rows), len(table) - len(rows) - num_unknown, num_unknown)
    if not len(rows):
        return AttributeScore(attribute.name, metric, *counts)
    truth, predicted = table[attribute.truth][rows], table[attribute.predicted][rows]
    families = predictions.families().take(rows)
    given = table[attribute.given][rows].to_numpy()
    right = (truth.list.sort() == predicted.list.sort()).to_numpy()
    each = truth.explode().value_counts(sort=True)
    most = each.sort("count", each.columns[0], descending=[True, False]).row(0)
    precision = None
    if given.any():
        chosen = np.flatnonzero(given)
        precision = interval_of(Estimate.share(right[chosen]), families.take(chosen))
    return AttributeScore(
        attribute.name,
        metric,
        *counts,
        score=_headline(attribute, truth, predicted, right, families),
        commonest=str(most[0]),
        commonest_share=int(most[1]) / len(rows),
        given=interval_of(Estimate.share(given), families),
        precision=precision,
    )


def _headline(
    attribute: PredictedAttribute,
    truth: pl.Series,
    predicted: pl.Series,
    right: np.ndarray,
    families: Families,
) -> Interval:
    if not attribute.several:
        return interval_of(Estimate.share(right), families)
    values = sorted({*truth.explode().drop_nulls(), *predicted.explode().drop_nulls()})
    tables = (_hot(truth, values), _hot(predicted, values))
    return interval_of(influence.multilabel_micro_f1(*tables), families)


def _hot(lists: pl.Series, values: list[str]) -> csr_array:
    """Which values each row has, 0/1."""
    number = {value: index for index, value in enumerate(values)}
    rows = [sorted(number[value] for value in row or ()) for row in lists.to_list()]
    ends = np.append(0, np.cumsum([len(row) for row in rows])).astype(np.int64)
    indices = np.array([index for row in rows for index in row], np.int64)
    ones = np.ones(len(indices), np.uint8)
    return csr_array((ones, indices, ends), shape=(len(rows), len(values)))


def _ends(interval: Interval) -> str:
    text = percent_text(interval.value)
    if not interval.is_known:
        return f"{text} [no interval: {interval.reason}]"
    return (
        f"{text} [{percent_text(interval.low).removesuffix(' %')}, {percent_text(interval.high)}]"
    )
