"""What report.html says of the score: its heading, warnings, metrics, folds and training curves.

`templates/report.html` only places the values of this module and of those beside it
(`report_classes.py`, `report_data.py`, `examples.py`, `figures.py`). Whatever compares, counts or
words something stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shopsight.charts.bars import interval_strip
from shopsight.evaluation import figures
from shopsight.evaluation.fold_scores import FoldScore, FoldScores
from shopsight.evaluation.metric_names import range_text, split_title, title_of, value_text
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.run_info import RunFacts
from shopsight.evaluation.score import Evaluation
from shopsight.metrics.intervals import Interval
from shopsight.pages import percent_text
from shopsight.runs.run_folder import OUT_OF_FOLD
from shopsight.text import NOT_A_NUMBER, count_text


@dataclass(frozen=True)
class Banner:
    """A warning above the score.

    Attributes:
        tone: "warning" or "error".
        headline: the first sentence, in bold.
        text: what follows.
    """

    tone: str
    headline: str
    text: str


@dataclass(frozen=True)
class Hero:
    """The score that is quoted.

    Attributes:
        label: the metric and the images that it is about.
        percent: the score in percent, to one decimal, without the sign.
        range: the 95 % interval.
        strip: the interval on an axis.
        note: how many images are right, and what the interval means.
        decisions: what the images decided about the model.
    """

    label: str
    percent: float
    range: str
    strip: Markup
    note: str
    decisions: str


@dataclass(frozen=True)
class FoldsTable:
    """The scores of the trainings of a K-fold run.

    Attributes:
        folds: one row each.
        mean: of the scores.
        mean_range: the 95 % interval of the mean, a dash where it has none.
        deviation: standard deviation of the scores.
        note: how to read the interval of the mean.
    """

    folds: Sequence[FoldScore]
    mean: str
    mean_range: str
    deviation: str
    note: str


def title(facts: RunFacts, predictions: Predictions) -> str:
    """The heading of the page: the data, and the model where it is known."""
    if facts.info is None:
        return predictions.data
    return f"{predictions.data}, {facts.info.backbone.partition(':')[2]}"


def lead(main: Evaluation, facts: RunFacts) -> str:
    """The paragraph below the heading: what was measured, and on images how new to the model."""
    counts = main.counts
    measured = (
        f"Measured on {count_text(counts['images'])} {split_title(main.split)} images of "
        f"{count_text(counts['labels'])} classes{_novelty(main, facts)}."
    )
    recipe = facts.recipe.about.title if facts.recipe else ""
    return f"{measured} Recipe: {recipe}." if recipe else measured


def _novelty(main: Evaluation, facts: RunFacts) -> str:
    """What is known about training images among those measured; empty where nothing is."""
    report = facts.split_report
    if main.split in ("test", OUT_OF_FOLD) and report and report.ok:
        copies = ", nor a copy of one" if report.num_duplicate_groups is not None else ""
        return f"; no training image shows up among them{copies}"
    if main.seen and not main.seen.note:
        return "; the model was trained on none of them"
    return ""


def banners(main: Evaluation, facts: RunFacts) -> list[Banner]:
    """What makes the score say less than it seems to."""
    found = []
    if main.predictions.synthetic:
        found.append(
            Banner(
                "warning",
                "These images were rendered by shopsight, not photographed.",
                "The score shows that the program works. It says nothing about your products.",
            )
        )
    if main.seen and (note := main.seen.note):
        tone, number = ("warning", "some") if main.seen.unseen else ("error", "all")
        headline = f"The model was trained on {number} of these images."
        found.append(Banner(tone, headline, f"{note[0].upper()}{note[1:]}."))
    if main.left_out and (note := main.left_out.note):
        headline = "Some files could not be scored."
        found.append(Banner("warning", headline, f"{note[0].upper()}{note[1:]}."))
    if facts.split_report and not facts.split_report.ok:
        found.append(
            Banner(
                "error",
                "The parts of this split share images or groups.",
                Markup('The score is likely too high; see <a href="#data">Data</a>.'),
            )
        )
    return found


def hero(main: Evaluation) -> Hero:
    """The score that is quoted, with its interval."""
    score = main.score
    return Hero(
        label=f"{title_of(main.headline)} on {split_title(main.split)} images",
        percent=round(100 * score.value, 1),
        range=between_text(score),
        strip=interval_strip(score.value, score.low, score.high) if score.is_known else Markup(""),
        note=_hero_note(main),
        decisions=main.decisions.note,
    )


def between_text(interval: Interval) -> str:
    """`"85.6 % to 91.1 %"`, or that there is none and why."""
    if not interval.is_known:
        return f"none ({interval.reason})"
    note = f" ({interval.note})" if interval.note else ""
    return f"{percent_text(interval.low)} to {percent_text(interval.high)}{note}"


def _hero_note(main: Evaluation) -> str:
    counts = main.counts
    verb = "have exactly their labels" if main.predictions.multilabel else "are right"
    note = (
        f"{count_text(counts['correct'])} of {count_text(counts['images'])} images {verb}. "
        "The interval (95 %) holds the plausible values of this model's score over all images like "
        "these: other samples of them, not another training, another shop or later photos"
    )
    if counts["families"] < counts["images"]:
        note += (
            f"; it counts {count_text(counts['families'])} families, because images of one group, "
            "and copies of one image, succeed and fail together"
        )
    return f"{note}."


def tiles(main: Evaluation, others: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    """Title, value and interval of the other metrics, and of the headline on other parts.

    Args:
        main: the evaluation that the report is about: every metric with an interval, but the
            headline.
        others: evaluations of other parts: their headline.
    """
    own = [
        (title_of(name), value_text(name, interval.value), range_text(name, interval))
        for name, interval in main.intervals.items()
        if name != main.headline
    ]
    return [*own, *(_headline_tile(evaluation) for evaluation in others)]


def _headline_tile(evaluation: Evaluation) -> tuple[str, str, str]:
    name = evaluation.headline
    marked = f" ({evaluation.decisions.short})" if evaluation.decisions.short else ""
    return (
        f"{title_of(name)}, {split_title(evaluation.split)}{marked}",
        value_text(name, evaluation.score.value),
        range_text(name, evaluation.score),
    )


def folds_table(scores: FoldScores | None) -> FoldsTable | None:
    """The table of folds; None where the run is not a K-fold run."""
    if scores is None:
        return None
    interval, count = scores.interval, len(scores.folds)
    note = (
        f"The range of the mean is over {count} trainings (t-distribution). They share most of "
        "their training images, so it is somewhat too narrow"
    )
    if interval is None:
        mean_range, note = NOT_A_NUMBER, f"{note}; folds that all have the same score have none"
    else:
        mean_range = between_text(interval)
    return FoldsTable(
        folds=scores.folds,
        mean=percent_text(scores.mean),
        mean_range=mean_range,
        deviation=percent_text(scores.deviation),
        note=f"{note}.",
    )


def history_charts(facts: RunFacts) -> list[tuple[str, Markup]]:
    """The curves of training, each with its title."""
    checkpoint = facts.recipe.training.checkpoint if facts.recipe else "best"
    return figures.history_charts(facts.history, checkpoint, trainings=facts.trainings)


def training_about(main: Evaluation, facts: RunFacts) -> str:
    """What the curves of training show."""
    if main.folds:
        shown = f", the means of {len(main.folds.folds)} trainings"
    else:
        shown = "; the vertical line marks the weights that became the model"
    if any(row.validated for row in facts.history):
        measured = (
            "Training is measured on augmented images while the weights still move, so it can "
            "lie below validation."
        )
    else:
        measured = "There were no validation images: the weights are those of the last epoch."
    return f"Loss and accuracy after each epoch{shown}. {measured}"
