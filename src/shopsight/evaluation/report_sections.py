"""What each section of report.html says: sentences, rows and choices, ready to be placed.

`templates/report.html` only places these values. Whatever compares, counts or words something
stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from shopsight.bundle.format import BundleInfo
from shopsight.charts.bars import interval_strip
from shopsight.evaluation import figures
from shopsight.evaluation.examples import ExampleImage, low_confidence_correct, mistakes
from shopsight.evaluation.fold_scores import FoldScore, FoldScores
from shopsight.evaluation.metric_names import range_text, split_title, title_of, value_text
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.run_info import FindingCount, RunFacts
from shopsight.evaluation.score import Evaluation
from shopsight.pages import percent_text
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder
from shopsight.text import NOT_A_NUMBER, command_line, count_text, decimal_text

Pairs = Sequence[tuple[str, str]]
"""Names and values."""

MEANS = {
    "macro": "mean of classes",
    "micro": "all decisions together",
    "weighted": "mean weighted by images",
}
# Sorts classes that have no recall after all others: a recall is at most 1.
SORTED_LAST = 2
SHOWN_LOST_CLASSES = 10


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
    """

    label: str
    percent: float
    range: str
    strip: Markup
    note: str


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


@dataclass(frozen=True)
class ClassRow:
    """A class in the table of classes.

    Attributes:
        label: the class.
        images: how many images it has.
        has_images: whether there are any; without, it has no recall.
        recall: NaN without images, as are all that follow.
        recall_key: to sort by; classes without images come last.
        recall_low: lower end of the 95 % interval of the recall.
        recall_high: upper end.
        precision_key: to sort by.
        precision_text: a dash where nothing was predicted as this class.
        f1: harmonic mean of precision and recall.
        f1_key: to sort by.
        average_precision: None where each image has one label.
        average_precision_key: to sort by.
    """

    label: str
    images: int
    has_images: bool
    recall: float
    recall_key: float
    recall_low: float
    recall_high: float
    precision_key: float
    precision_text: str
    f1: float
    f1_key: float
    average_precision: float | None
    average_precision_key: float | None


@dataclass(frozen=True)
class Gallery:
    """The images to look at.

    Attributes:
        about: the line above the mistakes.
        mistakes: wrong predictions.
        hits: correct predictions of low confidence.
    """

    about: str
    mistakes: Sequence[ExampleImage]
    hits: Sequence[ExampleImage]


@dataclass(frozen=True)
class DataSection:
    """What was found in the data before training.

    Attributes:
        split_badge: tone and text; None where there is no split to report on.
        split_lines: what the parts hold and share.
        audited: whether there was an audit.
        findings: of the audit, most serious first, each kind in words.
        audit_lines: the files that were left out, what the user accepted, and the classes that
            lost their files.
        notes: how the data was read.
    """

    split_badge: tuple[str, str] | None
    split_lines: Sequence[str]
    audited: bool
    findings: Sequence[FindingCount]
    audit_lines: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class RepeatSection:
    """How to make the run again.

    Attributes:
        commands: lines for a shell; empty where the command is not known.
        model: names and values.
        run: likewise; empty where there is no run.
        seconds: wall seconds of each stage.
        recipe: the resolved recipe as TOML.
    """

    commands: str
    model: Pairs
    run: Pairs
    seconds: Mapping[str, float]
    recipe: str


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
        range=f"{percent_text(score.low)} to {percent_text(score.high)}",
        strip=interval_strip(score.value, score.low, score.high),
        note=_hero_note(main),
    )


def _hero_note(main: Evaluation) -> str:
    counts = main.counts
    verb = "have exactly their labels" if main.predictions.multilabel else "are right"
    note = (
        f"{count_text(counts['correct'])} of {count_text(counts['images'])} images {verb}. "
        "The interval says where the score on other images like these would lie"
    )
    if groups := counts["groups"]:
        note += (
            f"; it resamples whole groups ({count_text(groups)}), because images of one group "
            "succeed and fail together"
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
    return (
        f"{title_of(name)}, {split_title(evaluation.split)}",
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
        mean_range = f"{percent_text(interval.low)} to {percent_text(interval.high)}"
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


def class_rows(main: Evaluation) -> list[ClassRow]:
    """The table of classes, lowest recall first."""
    return [_class_row(row) for row in main.per_class.sort("recall", "label").to_dicts()]


def _class_row(row: Mapping[str, Any]) -> ClassRow:
    has_images = row["images"] > 0
    average_precision = row.get("average_precision")
    return ClassRow(
        label=row["label"],
        images=row["images"],
        has_images=has_images,
        recall=row["recall"],
        recall_key=row["recall"] if has_images else SORTED_LAST,
        recall_low=row["recall_low"],
        recall_high=row["recall_high"],
        precision_key=row["precision"] if has_images else SORTED_LAST,
        precision_text=percent_text(row["precision"]) if row["predicted"] else NOT_A_NUMBER,
        f1=row["f1"],
        f1_key=row["f1"] if has_images else SORTED_LAST,
        average_precision=average_precision,
        average_precision_key=average_precision if has_images else SORTED_LAST,
    )


def means(main: Evaluation) -> list[tuple[str, list[str]]]:
    """Recall, precision and F1 over all classes, for the foot of the class table."""
    rows = []
    for kind, words in MEANS.items():
        names = [f"{kind}_{name}" for name in ("recall", "precision", "f1")]
        if all(name in main.metrics for name in names):
            rows.append((words, [value_text(name, main.metrics[name]) for name in names]))
    return rows


def temperature_text(info: BundleInfo | None) -> str:
    """The temperature of the bundle; empty where none was fitted (a value of 1)."""
    return decimal_text(info.temperature) if info and info.temperature != 1 else ""


def gallery(predictions: Predictions, facts: RunFacts) -> Gallery:
    """The mistakes and the correct predictions to look at."""
    wrong = mistakes(predictions, facts.catalog)
    order = (
        "Mistakes with the highest loss."
        if predictions.multilabel
        else "Mistakes of the highest confidence."
    )
    about = f"{order} Often the label is wrong: check it before training again."
    return Gallery(
        about=about if wrong else "It made no mistake on these images.",
        mistakes=wrong,
        hits=low_confidence_correct(predictions, facts.catalog),
    )


def data_section(facts: RunFacts) -> DataSection | None:
    """What was found in the data; None where nothing was looked at."""
    report = facts.split_report
    if facts.findings is None and report is None:
        return None
    badge = None
    if report:
        badge = ("good", "no leak") if report.ok else ("error", "leaks")
    return DataSection(
        split_badge=badge,
        split_lines=report.lines() if report else (),
        audited=facts.findings is not None,
        findings=[
            FindingCount(finding.kind.replace("-", " "), finding.severity, finding.count)
            for finding in facts.findings or ()
        ],
        audit_lines=[
            line
            for line in (
                _left_out_line(facts.left_out),
                _accepted_line(facts.state),
                *_lost_class_lines(facts.state),
            )
            if line
        ],
        notes=facts.state.get("notes") or (),
    )


def _left_out_line(table: pl.DataFrame) -> str:
    """Why files were left out, commonest reason first; empty where none was."""
    if table.is_empty():
        return ""
    counted = table.group_by("reason").len().sort("len", "reason", descending=[True, False])
    reasons = ", ".join(f"{count_text(count)} {reason}" for reason, count in counted.iter_rows())
    return f"Left out by name: {reasons} (audit/left_out.csv)."


def _accepted_line(state: Mapping[str, Any]) -> str:
    accepted = state.get("accepted")
    return f"Accepted by the user: {', '.join(accepted)}." if accepted else ""


def _lost_class_lines(state: Mapping[str, Any]) -> list[str]:
    """The classes that lost so many files that they are not as they were in the data."""
    lost = state.get("lost_classes") or []
    lines = [f"Class lost with its files: {line}" for line in lost[:SHOWN_LOST_CLASSES]]
    more = len(lost) - len(lines)
    return [*lines, f"Classes lost with their files: {len(lost):,} in all."] if more else lines


def repeat_section(main: Evaluation, facts: RunFacts) -> RepeatSection | None:
    """How to make the run again; None where neither a run nor a model is known."""
    if facts.recipe is None and facts.info is None:
        return None
    return RepeatSection(
        commands=_commands(main, facts),
        model=_model_facts(facts.info),
        run=_run_facts(facts),
        seconds=facts.seconds,
        recipe=facts.recipe_text,
    )


def _commands(main: Evaluation, facts: RunFacts) -> str:
    command = facts.state.get("command")
    if not command:
        return ""
    recipe = RunFolder(Path(facts.name)).recipe_file.as_posix()
    train = ["train", "DATA", "--recipe", recipe, "--out", "ANOTHER"]
    lines = (
        "# the command that made this run",
        command,
        "# the same with every setting written out; DATA with the flags about data "
        "(--root, --drop, ...) of the first",
        command_line(["shopsight", *train]),
        "# the same measurement",
        command_line(["shopsight", "evaluate", facts.name, "--split", main.split]),
    )
    return "\n".join(lines)


def _model_facts(info: BundleInfo | None) -> Pairs:
    if info is None:
        return []
    shape = info.preprocess
    pairs = [
        ("Backbone", info.backbone),
        ("Started from", info.weights),
        ("Head", info.head.kind),
        ("Input", f"{shape.size_px} x {shape.size_px} px, {shape.resize}, {shape.interpolation}"),
        ("Temperature", f"{info.temperature:.3f}"),
        ("Thresholds", _thresholds_text(info.thresholds)),
        ("Mirror image averaged in", "yes" if info.tta_hflip else "no"),
        ("Made", info.created),
        ("Weights, sha256", info.weights_sha256[:16]),
        ("Catalog, sha256", info.catalog_fingerprint[:16]),
    ]
    return [(name, value) for name, value in pairs if value]


def _thresholds_text(thresholds: Mapping[str, float]) -> str:
    if not thresholds:
        return ""
    lowest, highest = min(thresholds.values()), max(thresholds.values())
    return f"one per label, {lowest:.2f} to {highest:.2f}"


def _run_facts(facts: RunFacts) -> Pairs:
    versions: dict[str, Any] = facts.state.get("versions", {})
    pairs = [("Recipe", facts.recipe.about.title if facts.recipe else "")]
    if facts.recipe:
        pairs.append(("Seed", str(facts.recipe.seed)))
    pairs.append(("Images", count_text(len(facts.catalog))))
    pairs.append(("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    return [(name, value) for name, value in pairs if value]
