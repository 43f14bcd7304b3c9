"""What report.html says of the classes: all of a few, the worst and the most frequent of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from shopsight.evaluation.metric_names import value_text
from shopsight.evaluation.score import Evaluation
from shopsight.pages import percent_text
from shopsight.text import NOT_A_NUMBER, count_text

MEANS = {
    "macro": "mean of classes",
    "micro": "all decisions together",
    "weighted": "mean weighted by images",
}
# Sorts classes that have no recall after all others: a recall is at most 1.
SORTED_LAST = 2
MOST_CLASSES = 200
"""Of more classes only `SHOWN_WORST` and `SHOWN_FREQUENT` are shown."""
SHOWN_WORST = SHOWN_FREQUENT = 30


@dataclass(frozen=True)
class ClassRow:
    """A class in the table of classes.

    Attributes:
        label: the class.
        images: how many images it has.
        has_images: whether there are any; without, it has no recall.
        recall: NaN without images, as are all that follow.
        recall_key: to sort by; classes without images come last.
        has_range: whether there is a 95 % interval of the recall: not of few families.
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
    has_range: bool
    recall_low: float
    recall_high: float
    precision_key: float
    precision_text: str
    f1: float
    f1_key: float
    average_precision: float | None
    average_precision_key: float | None


@dataclass(frozen=True)
class ClassTable:
    """The classes that are shown.

    Attributes:
        about: how the rows are sorted, and which classes they are.
        rows: lowest recall first.
    """

    about: str
    rows: Sequence[ClassRow]


def class_table(main: Evaluation) -> ClassTable:
    """All classes; of many those that are surely the worst, and the most frequent."""
    per_class, about = main.per_class, "Lowest recall first; click a head to sort."
    if per_class.height > MOST_CLASSES:
        chosen = _chosen(per_class)
        about += (
            f" Of {count_text(per_class.height)} classes, the {SHOWN_WORST} that are most surely "
            f"bad (by the upper end of the range) and the {SHOWN_FREQUENT} with the most images; "
            "all are in the JSON of the scores (per_class)."
        )
        per_class = chosen
    rows = per_class.sort("recall", "label", nulls_last=True).to_dicts()
    return ClassTable(about, [_class_row(row) for row in rows])


def _chosen(per_class: pl.DataFrame) -> pl.DataFrame:
    """A class of one image that was missed may still be a good one: the range says so."""
    measured = per_class.filter(pl.col("images") > 0)
    worst = measured.sort("recall_high", "label").head(SHOWN_WORST)
    others = measured.join(worst, on="label", how="anti", maintain_order="left")
    frequent = others.sort("images", "label", descending=[True, False]).head(SHOWN_FREQUENT)
    return pl.concat([worst, frequent])


def _class_row(row: Mapping[str, Any]) -> ClassRow:
    has_images = row["images"] > 0
    average_precision = row.get("average_precision")
    return ClassRow(
        label=row["label"],
        images=row["images"],
        has_images=has_images,
        recall=row["recall"],
        recall_key=row["recall"] if has_images else SORTED_LAST,
        has_range=not math.isnan(row["recall_low"]),
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
