"""The charts of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64
from markupsafe import Markup

from shopsight.charts.curves import Curve, Mark, line_chart, reliability_diagram
from shopsight.charts.matrix import (
    MAX_CELL_CLASSES,
    confusion_chart,
    confusion_of,
    most_confused,
)
from shopsight.config.recipe import Recipe
from shopsight.evaluation.score import Evaluation

PAIRS_SHOWN = 10


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
    history: pl.DataFrame, recipe: Recipe | None, *, trainings: int = 1
) -> list[tuple[str, Markup]]:
    """Loss and accuracy of training and validation over the epochs; empty without epochs.

    Args:
        trainings: of how many trainings these are the means; each kept an epoch of its own.
    """
    if history.is_empty() or history.height < 2:
        return []
    epochs = _running_epochs(history)
    marks = _kept(history, epochs, recipe) if trainings == 1 else []
    charts = []
    for title, column, percent in (("Loss", "loss", False), ("Accuracy", "accuracy", True)):
        parts = (("training", f"train_{column}", "a"), ("validation", f"val_{column}", "b"))
        chart = line_chart(
            [
                curve
                for name, column_name, hue in parts
                for curve in _curves(name, epochs, history[column_name].to_list(), hue)
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


def validated(history: pl.DataFrame) -> bool:
    """Whether the training had validation images: it writes NaN where it had none."""
    if "val_accuracy" not in history.columns:
        return False
    return bool(history["val_accuracy"].cast(pl.Float64, strict=False).is_finite().any())


def reliability_chart(evaluation: Evaluation) -> Markup:
    """Stated against true accuracy."""
    bins = evaluation.calibration
    return reliability_diagram(
        bins.confidence.tolist(),
        bins.accuracy.tolist(),
        bins.count.tolist(),
        edges=bins.edges.tolist(),
    )


def confusion_charts(evaluation: Evaluation) -> list[tuple[str, Markup]]:
    """The confusion matrix; with many classes also that of the most confused ones."""
    if evaluation.confusion.is_empty():
        return []
    labels = evaluation.predictions.labels
    cells = _cells(evaluation.confusion, labels)
    charts = [("", confusion_chart(*cells, labels=labels))]
    if len(labels) > MAX_CELL_CLASSES:
        chosen = most_confused(*cells, classes=len(labels))
        if len(chosen) > 1:
            words = f"The {len(chosen)} classes that are mixed up most"
            charts.append((words, confusion_of(chosen, *cells, labels=labels)))
    return charts


def confused_pairs(evaluation: Evaluation) -> list[ConfusedPair]:
    """The commonest mistakes, most images first."""
    totals = dict(evaluation.per_class.select("label", "images").iter_rows())
    wrong = evaluation.confusion.filter(pl.col("label") != pl.col("predicted")).head(PAIRS_SHOWN)
    return [
        ConfusedPair(row["label"], row["predicted"], row["images"], totals[row["label"]])
        for row in wrong.to_dicts()
    ]


def _running_epochs(history: pl.DataFrame) -> list[float]:
    """The probe stands at 0, epochs of training follow from 1."""
    if "stage" not in history.columns:
        return [float(epoch) for epoch in history["epoch"].to_list()]
    tuned = history["stage"] != "probe"
    start = 1 - min(history.filter(tuned)["epoch"].to_list(), default=1)
    return [
        float(epoch + start) if is_tuned else 0.0
        for epoch, is_tuned in zip(history["epoch"].to_list(), tuned.to_list(), strict=True)
    ]


def _curves(
    name: str, epochs: Sequence[float], values: Sequence[float | None], hue: str
) -> list[Curve]:
    """The epochs as a line, and the probe, another kind of training, as a dot before it."""
    first = sum(epoch == 0 for epoch in epochs)
    tuned = Curve(name, epochs[first:], values[first:], hue)
    return [tuned, Curve("", epochs[:first], values[:first], hue)]


def _kept(history: pl.DataFrame, epochs: Sequence[float], recipe: Recipe | None) -> list[Mark]:
    """The epoch whose weights became the model: the rule of `shopsight.training.module`."""
    rows = [
        (row["val_accuracy"], -row["val_loss"], place)
        for place, row in enumerate(history.to_dicts())
        if row.get("stage") != "probe"
    ]
    if not rows:
        return []
    # Without validation images there is nothing to choose by.
    judged = [row for row in rows if np.isfinite(row[0])]
    last = not judged or (recipe is not None and recipe.training.checkpoint == "last")
    place = rows[-1][2] if last else max(judged, key=lambda row: (row[0], row[1], -row[2]))[2]
    probe = [Mark(0.0, "probe")] if 0.0 in epochs else []
    return [*probe, Mark(epochs[place], "kept")]


def _cells(
    confusion: pl.DataFrame, labels: Sequence[str]
) -> tuple[Int64[np.ndarray, "k"], Int64[np.ndarray, "k"], Int64[np.ndarray, "k"]]:
    place = {label: index for index, label in enumerate(labels)}
    truth = np.array([place[label] for label in confusion["label"]], dtype=np.int64)
    predicted = np.array([place[label] for label in confusion["predicted"]], dtype=np.int64)
    return truth, predicted, confusion["images"].to_numpy().astype(np.int64)
