"""The images to look at: confident mistakes, and correct predictions of low confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.evaluation.example_maps import NO_MAPS, ExampleMaps, Network, map_examples
from shopsight.evaluation.predictions import Predictions
from shopsight.images.heat_overlay import RAMP
from shopsight.pages import percent_text

SIDE_PX = 160
MISTAKES_SHOWN, LOW_CONFIDENCE_SHOWN = 21, 14


@dataclass(frozen=True)
class ExampleImage:
    """An image on the page.

    Attributes:
        row: of the catalog.
        image: data URI; empty when the file is no longer there.
        prediction: the predicted label with its confidence, or the predicted labels.
        truth: the true label or labels.
        file: the file's name.
        map: data URI of where the model looked, to lie over the image; empty without one.
        looked: the same in words.
    """

    row: int
    image: str
    prediction: str
    truth: str
    file: str
    map: str = ""
    looked: str = ""


@dataclass(frozen=True)
class Gallery:
    """The images to look at.

    Attributes:
        about: the line above the mistakes.
        mistakes: wrong predictions.
        hits: correct predictions of low confidence.
        ramp: the colors of the maps, as CSS names them; empty without maps.
        note: why there are no maps.
    """

    about: str
    mistakes: Sequence[ExampleImage]
    hits: Sequence[ExampleImage]
    ramp: str = ""
    note: str = ""


def gallery(
    predictions: Predictions, catalog: Catalog, networks: Sequence[Network] = ()
) -> Gallery:
    """The mistakes and the correct predictions to look at.

    Args:
        predictions: of the catalog's images.
        catalog: the images.
        networks: that made them, to show where they looked; without any, there are no maps.
    """
    wrong, right = mistakes(predictions, catalog), low_confidence_correct(predictions, catalog)
    maps = _maps([*wrong, *right], predictions, catalog, networks)
    order = (
        "Mistakes with the highest loss."
        if predictions.multilabel
        else "Mistakes of the highest confidence."
    )
    about = f"{order} Often the label is wrong: check it before training again."
    return Gallery(
        about=about if wrong else "It made no mistake on these images.",
        mistakes=[_with_map(one, maps) for one in wrong],
        hits=[_with_map(one, maps) for one in right],
        ramp=_css_ramp() if maps.of_row else "",
        note=maps.note,
    )


def _maps(
    examples: Sequence[ExampleImage],
    predictions: Predictions,
    catalog: Catalog,
    networks: Sequence[Network],
) -> ExampleMaps:
    """Maps of what is predicted; with several labels, of the most probable one."""
    rows = [one.row for one in examples if one.image]
    if not rows or not networks:
        return NO_MAPS
    labels: dict[int, str | None] = dict.fromkeys(rows)
    if not predictions.multilabel:
        chosen = predictions.table.filter(pl.col("row").is_in(rows))
        labels |= dict(chosen.select("row", "predicted").iter_rows())
    return map_examples(labels, catalog, networks)


def _with_map(one: ExampleImage, maps: ExampleMaps) -> ExampleImage:
    found = maps.of_row.get(one.row)
    return one if found is None else replace(one, map=found.image, looked=found.words)


def _css_ramp() -> str:
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in RAMP)


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
        row=row["row"],
        image=row_thumbnail(catalog, row["row"], side_px=SIDE_PX),
        prediction=prediction,
        truth=truth,
        file=Path(row["image"]).name,
    )
