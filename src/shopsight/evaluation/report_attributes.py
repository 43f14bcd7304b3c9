"""What report.html says of attributes: a row for each."""

from __future__ import annotations

from dataclasses import dataclass

from shopsight.evaluation.attribute_scores import AttributeScore
from shopsight.evaluation.metric_names import range_text, title_of, value_text
from shopsight.evaluation.score import Evaluation
from shopsight.metrics.intervals import Interval
from shopsight.text import NOT_A_NUMBER, count_text, percent_text


@dataclass(frozen=True)
class AttributeRow:
    """One attribute.

    Attributes:
        name: of it.
        images: those that are scored, and the others.
        metric: what the score is.
        score: its value.
        range: the 95 % interval of that.
        commonest: what always answering the most frequent value would score.
        given: how many of the images get an answer.
        precision: how many of these are right.
        precision_range: the 95 % interval of that.
    """

    name: str
    images: str
    metric: str
    score: str
    range: str
    commonest: str
    given: str
    precision: str
    precision_range: str


def attribute_rows(main: Evaluation) -> list[AttributeRow]:
    """A row for each attribute of the model; empty where it has none."""
    return [_row(one) for one in main.attributes]


def _row(one: AttributeScore) -> AttributeRow:
    images = f"{count_text(one.num_images)} ({count_text(one.num_missing)} without a value"
    images += f", {count_text(one.num_unknown)} of other values)" if one.num_unknown else ")"
    known = one.score is not None
    return AttributeRow(
        name=one.name,
        images=images,
        metric=title_of(one.metric),
        score=_value(one.score, one.metric),
        range=_range(one.score, one.metric),
        commonest=f"{one.commonest}: {percent_text(one.commonest_share)}" if known else "",
        given=_value(one.given, "accuracy"),
        precision=_value(one.precision, "accuracy"),
        precision_range=_range(one.precision, "accuracy"),
    )


def _value(interval: Interval | None, metric: str) -> str:
    return NOT_A_NUMBER if interval is None else value_text(metric, interval.value)


def _range(interval: Interval | None, metric: str) -> str:
    return "" if interval is None else range_text(metric, interval)
