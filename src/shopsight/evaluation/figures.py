"""The charts of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64
from markupsafe import Markup

from shopsight.charts.curves import Curve, Mark, line_chart
from shopsight.charts.matrix import (
    MAX_CELL_CLASSES,
    MAX_IMAGE_CLASSES,
    confusion_chart,
    confusion_of,
    most_confused,
)
from shopsight.charts.reliability import ReliabilityBin, reliability_diagram
from shopsight.config.training_settings import Checkpoint
from shopsight.evaluation.score import Evaluation
from shopsight.label_tree import path_parts
from shopsight.runs.history import PROBE, EpochRow, selected_epoch

PAIRS_SHOWN = 10
PAIRS_OF_MANY_CLASSES = 50
"""Where no matrix has them all."""


@dataclass(frozen=True)
class ConfusedPair:
    """Images of `label` that were given `predicted`."""

    label: str
    predicted: str
    images: int
    of: int

    @property
    def share(self) -> float:
        return self.images / self.of


def history_charts(
    history: Sequence[EpochRow], checkpoint: Checkpoint, *, trainings: int = 1
) -> list[tuple[str, Markup]]:
    """Loss and accuracy of training and validation over the epochs.

    Args:
        history: one row per epoch; with fewer than two there is nothing to see.
        checkpoint: the recipe's `training.checkpoint`: which epoch became the model.
        trainings: the number of trainings whose means these are; each kept an epoch of its own.

    Returns:
        A title and a chart each; empty with fewer than two epochs.
    """
    if len(history) < 2:
        return []
    epochs = _running_epochs(history)
    marks = _marks(history, epochs, checkpoint) if trainings == 1 else []
    charts = []
    for title, column, percent in (("Loss", "loss", False), ("Accuracy", "accuracy", True)):
        parts = (("training", f"train_{column}", "a"), ("validation", f"val_{column}", "b"))
        chart = line_chart(
            [
                curve
                for name, column_name, hue in parts
                for curve in _curves(
                    name, epochs, [getattr(row, column_name) for row in history], hue
                )
            ],
            x_title="epoch",
            y_title=title.lower(),
            percent=percent,
            from_zero=not percent,
            marks=marks,
        )
        if chart:
            charts.append((title, chart))
    return charts


def reliability_chart(evaluation: Evaluation) -> Markup:
    """Stated against true accuracy, and what chance alone gives."""
    bins, (low, high) = evaluation.calibration.wide_bins, evaluation.calibration.band
    shown = [
        ReliabilityBin(
            left=float(bins.edges[at]),
            right=float(bins.edges[at + 1]),
            count=int(bins.count[at]),
            confidence=float(bins.confidence[at]),
            accuracy=float(bins.accuracy[at]),
            low=float(low[at]),
            high=float(high[at]),
        )
        for at in np.flatnonzero(bins.count > 0).tolist()
    ]
    return reliability_diagram(
        shown, what="labels" if evaluation.predictions.multilabel else "images"
    )


def confusion_charts(evaluation: Evaluation) -> list[tuple[str, Markup]]:
    """The confusion matrix; with many classes that of the most confused ones, too or alone.

    Where labels are paths, the matrices of coarser levels stand before it, from the top.
    """
    if evaluation.confusion.is_empty():
        return []
    charts = []
    for one in evaluation.levels:
        if len(one.labels) > 1:
            title = f"Level {one.level}"
            charts += _confusion_charts(one.confusion, one.labels, title)
    title = "Whole labels" if charts else ""
    return charts + _confusion_charts(evaluation.confusion, evaluation.predictions.labels, title)


def _confusion_charts(
    confusion: pl.DataFrame, labels: Sequence[str], title: str
) -> list[tuple[str, Markup]]:
    cells, names = _cells(confusion, labels), _last_names(labels)
    charts = []
    if len(labels) <= MAX_IMAGE_CLASSES:
        charts.append((title, confusion_chart(*cells, labels=names)))
    if len(labels) > MAX_CELL_CLASSES:
        chosen = most_confused(*cells, classes=len(labels))
        if len(chosen) > 1:
            words = f"The {len(chosen)} classes that are mixed up most"
            words = f"{title}: {words[0].lower()}{words[1:]}" if title else words
            charts.append((words, confusion_of(chosen, *cells, labels=names)))
    return charts


def _last_names(labels: Sequence[str]) -> list[str]:
    """The last names of paths, for the little room at a chart's side; other labels are whole.

    A name that stands under two parents keeps them: "Pets > Shoes".
    """
    last = [path_parts(label)[-1] for label in labels]
    counts = Counter(last)
    return [name if counts[name] == 1 else label for name, label in zip(last, labels, strict=True)]


def confused_pairs(evaluation: Evaluation) -> list[ConfusedPair]:
    """The commonest mistakes, most images first."""
    totals = dict(evaluation.per_class.select("label", "images").iter_rows())
    many = len(evaluation.predictions.labels) > MAX_IMAGE_CLASSES
    wrong = evaluation.confusion.filter(pl.col("label") != pl.col("predicted"))
    wrong = wrong.head(PAIRS_OF_MANY_CLASSES if many else PAIRS_SHOWN)
    return [
        ConfusedPair(row["label"], row["predicted"], row["images"], totals[row["label"]])
        for row in wrong.to_dicts()
    ]


def _running_epochs(history: Sequence[EpochRow]) -> list[float]:
    """The probe is at 0, epochs of fine-tuning follow from 1."""
    return [0.0 if row.stage == PROBE else float(row.epoch) for row in history]


def _curves(
    name: str, epochs: Sequence[float], values: Sequence[float | None], hue: str
) -> list[Curve]:
    """The epochs as a line, and the probe, another kind of training, as a dot before it."""
    first = sum(epoch == 0 for epoch in epochs)
    tuned = Curve(name, epochs[first:], values[first:], hue)
    return [tuned, Curve("", epochs[:first], values[:first], hue)]


def _marks(
    history: Sequence[EpochRow], epochs: Sequence[float], checkpoint: Checkpoint
) -> list[Mark]:
    """Vertical lines at the probe and at the epoch whose weights became the model."""
    kept = selected_epoch(history, checkpoint)
    if kept is None:
        return []
    probe = [Mark(0.0, "probe")] if 0.0 in epochs else []
    return [*probe, Mark(epochs[list(history).index(kept)], "kept")]


def _cells(
    confusion: pl.DataFrame, labels: Sequence[str]
) -> tuple[Int64[np.ndarray, "k"], Int64[np.ndarray, "k"], Int64[np.ndarray, "k"]]:
    index_of = {label: index for index, label in enumerate(labels)}
    truth = np.array([index_of[label] for label in confusion["label"]], dtype=np.int64)
    predicted = np.array([index_of[label] for label in confusion["predicted"]], dtype=np.int64)
    return truth, predicted, confusion["images"].to_numpy().astype(np.int64)
