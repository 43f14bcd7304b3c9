"""The images worth looking at: certain and wrong, or right and hardly so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import ImageError
from shopsight.evaluation.predictions import Predictions
from shopsight.images.decode import decode, read_bytes
from shopsight.pages import percent_text, thumbnail

SIDE_PX = 160
MISTAKES, NARROW_HITS = 21, 14


@dataclass(frozen=True)
class ExampleImage:
    """An image on the page.

    Attributes:
        image: data URI; empty when the file is no longer there.
        said: what the model predicted, and how surely.
        truth: what it is.
    """

    image: str
    said: str
    truth: str
    file: str


def mistakes(predictions: Predictions, catalog: Catalog) -> list[ExampleImage]:
    """Wrong predictions, the surest first; with several labels, the highest loss first."""
    by = "loss" if predictions.multilabel else "confidence"
    rows = predictions.table.filter(~pl.col("correct")).sort(by, "row", descending=[True, False])
    return [_shot(row, predictions, catalog) for row in rows.head(MISTAKES).to_dicts()]


def low_confidence_correct(predictions: Predictions, catalog: Catalog) -> list[ExampleImage]:
    """Right predictions, the least sure first; with several labels, the highest loss first."""
    by, falling = ("loss", True) if predictions.multilabel else ("confidence", False)
    rows = predictions.table.filter("correct").sort(by, "row", descending=[falling, False])
    return [_shot(row, predictions, catalog) for row in rows.head(NARROW_HITS).to_dicts()]


def _shot(row: dict[str, Any], predictions: Predictions, catalog: Catalog) -> ExampleImage:
    if predictions.multilabel:
        said = ", ".join(row["predicted"]) or "nothing"
        truth = ", ".join(row["label"]) or "nothing"
    else:
        said = f"{row['predicted']} {percent_text(row['confidence'], 0)}"
        truth = row["label"]
    return ExampleImage(
        image=row_thumbnail(catalog, row["row"]),
        said=said,
        truth=truth,
        file=Path(row["image"]).name,
    )


def row_thumbnail(catalog: Catalog, row: int, *, side_px: int = SIDE_PX) -> str:
    """A row's image (its box only, where it has one); empty when it cannot be read now."""
    one = catalog.take([row])
    try:
        data = read_bytes(one.refs()[0])
        boxes = one.boxes()
        if boxes is None or np.isnan(boxes[0]).any():
            return thumbnail(decode(data, at_least_px=side_px), side_px=side_px)
        x, y, width, height = (round(value) for value in boxes[0])
        whole = decode(data)
        return thumbnail(whole[max(y, 0) : y + height, max(x, 0) : x + width], side_px=side_px)
    except ImageError:
        return ""
