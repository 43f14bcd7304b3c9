"""What report.html says of the answer "unknown": the promise, and other thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from shopsight.bundle.format import BundleInfo
from shopsight.bundle.unknown_info import UnknownInfo
from shopsight.charts.curves import Curve, Mark, line_chart
from shopsight.evaluation.answered import Answered
from shopsight.evaluation.metric_names import split_title
from shopsight.evaluation.score import Evaluation
from shopsight.pages import percent_text
from shopsight.text import counted

STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Coverages of the table."""


@dataclass(frozen=True)
class Step:
    """One threshold.

    Attributes:
        threshold: images are answered from this score on.
        coverage: the fraction that is answered.
        accuracy: of these, the fraction that is right.
    """

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class UnknownSection:
    """The section.

    Attributes:
        promise: coverage and accuracy at the threshold of the model.
        score: which score it is, and how the threshold was chosen.
        strangers: how many are accepted, or that this is not known.
        chart: accuracy over coverage.
        steps: the same in numbers.
    """

    promise: str
    score: str
    strangers: str
    chart: Markup
    steps: tuple[Step, ...]


def unknown_section(main: Evaluation, info: BundleInfo | None) -> UnknownSection | None:
    """The section; None where the model always answers."""
    found = main.answered
    if found is None or info is None or info.unknown is None:
        return None
    return UnknownSection(
        promise=_promise(found, main.split),
        score=_score(info.unknown),
        strangers=_strangers(info.unknown),
        chart=_chart(found),
        steps=_steps(found),
    )


def _promise(found: Answered, split: str) -> str:
    answered = (
        f"The model answers {found.num_answered:,} of {counted(found.num_images, 'image')} of the "
        f"{split_title(split)} part: {found.coverage_text}"
    )
    if found.accuracy_text is None:
        return f"{answered}."
    return f"{answered}, and {found.accuracy_text} of these answers are right."


def _score(info: UnknownInfo) -> str:
    wanted = "as many answers are right" if info.wanted == "accuracy" else "as many are answered"
    return (
        f'An image is answered from a score of {info.threshold:.3g} on ("{info.score}"), which was '
        f"chosen on validation images so that {wanted}: {percent_text(info.target)}."
    )


def _strangers(info: UnknownInfo) -> str:
    if info.accepted is None:
        return (
            "How many images of something else are answered all the same was not measured: "
            "shopsight calibrate RUN --negatives FOLDER does."
        )
    if info.strangers == "negatives":
        of = "Of the images of something else that it was shown"
    else:
        of = "Of images of classes that were taken away"
    weak = " (the backbone has seen these classes: too good)" if info.is_optimistic else ""
    return f"{of}, {percent_text(info.accepted)} are answered all the same{weak}."


def _chart(found: Answered) -> Markup:
    curve = found.curve
    return line_chart(
        [Curve("right answers", (100 * curve.coverage).tolist(), curve.accuracy.tolist())],
        x_title="answered, % of images",
        y_title="right",
        percent=True,
        marks=[Mark(100 * found.coverage.value, "now")],
    )


def _steps(found: Answered) -> tuple[Step, ...]:
    """The thresholds of which the coverage is nearest to each of `STEPS`."""
    curve = found.curve
    rows = dict.fromkeys(int(abs(curve.coverage - wanted).argmin()) for wanted in STEPS)
    return tuple(
        Step(float(curve.thresholds[row]), float(curve.coverage[row]), float(curve.accuracy[row]))
        for row in rows
    )
