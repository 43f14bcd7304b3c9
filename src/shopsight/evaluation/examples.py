"""The images to look at: confident mistakes, and correct predictions of low confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.evaluation.predictions import Predictions
from shopsight.pages import percent_text

SIDE_PX = 160
MISTAKES_SHOWN, LOW_CONFIDENCE_SHOWN = 21, 14


@dataclass(frozen=True)
class ExampleImage:
    """An image on the page.

    Attributes:
        image: data URI; empty when the file is no longer there.
        prediction: the predicted label with its confidence, or the predicted labels.
        truth: the true label or labels.
        file: the file's name.
    """

    image: str
    prediction: str
    truth: str
    file: str


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


def gallery(predictions: Predictions, catalog: Catalog) -> Gallery:
    """The mistakes and the correct predictions to look at."""
    wrong = mistakes(predictions, catalog)
    order = (
        "Mistakes with the highest loss."
        if predictions.multilabel
        else "Mistakes of the highest confidence."
    )
    about = f"{order} Often the label is wrong: check it before training again."
    return Gallery(
        about=about if wrong else "It made no mistake on these images.",
        mistakes=wrong,
        hits=low_confidence_correct(predictions, catalog),
    )


def mistakes(predictions: Predictions, catalog: Catalog) -> list[ExampleImage]:
    """Wrong predictions, highest confidence first; with several labels, highest loss first."""
    by = "loss" if predictions.multilabel else "confidence"
    rows = predictions.table.filter(~pl.col("correct")).sort(by, "row", descending=[True, False])
    chosen = rows.head(MISTAKES_SHOWN).to_dicts()
    return [_example(row, predictions, catalog) for row in chosen]


def low_confidence_correct(predictions: Predictions, catalog: Catalog) -> list[ExampleImage]:
    """Correct predictions, lowest confidence first; with several labels, highest loss first."""
    by, falling = ("loss", True) if predictions.multilabel else ("confidence", False)
    rows = predictions.table.filter("correct").sort(by, "row", descending=[falling, False])
    chosen = rows.head(LOW_CONFIDENCE_SHOWN).to_dicts()
    return [_example(row, predictions, catalog) for row in chosen]


def _example(row: dict[str, Any], predictions: Predictions, catalog: Catalog) -> ExampleImage:
    if predictions.multilabel:
        prediction = ", ".join(row["predicted"]) or "nothing"
        truth = ", ".join(row["label"]) or "nothing"
    else:
        prediction = f"{row['predicted']} {percent_text(row['confidence'], 0)}"
        truth = row["label"]
    return ExampleImage(
        image=row_thumbnail(catalog, row["row"], side_px=SIDE_PX),
        prediction=prediction,
        truth=truth,
        file=Path(row["image"]).name,
    )
