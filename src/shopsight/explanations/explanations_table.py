"""explanations.csv: a row for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from shopsight.explanations.explained_image import ImageExplanation
from shopsight.files import atomic_file
from shopsight.spreadsheets import for_reading

SCHEMA = {
    "image": pl.String,
    "label": pl.String,
    "probability": pl.Float64,
    "predicted": pl.String,
    "unknown": pl.String,
    "method": pl.String,
    "top_share": pl.Float64,
    "covered_probability": pl.Float64,
    "overlay": pl.String,
    "nearest": pl.String,
    "nearest_label": pl.String,
    "nearest_similarity": pl.Float64,
    "labels_nearby": pl.String,
    "labels_of_this_file": pl.String,
    "error": pl.String,
}
_YES = {True: "yes", False: "no", None: None}


def explanation_table(explanations: Sequence[ImageExplanation]) -> pl.DataFrame:
    """The rows of explanations.csv, in the images' order.

    Columns are those of `ImageExplanation`; `nearest` and its two others are of the most similar
    training photo, `labels_nearby` of all that were found, the most similar first.
    """
    return pl.DataFrame([_row(one) for one in explanations], schema=SCHEMA, orient="row")


def write_explanation_table(path: Path, explanations: Sequence[ImageExplanation]) -> None:
    """Write it for people, numbers with four digits."""
    table = explanation_table(explanations)
    numbers = [name for name, kind in SCHEMA.items() if kind == pl.Float64]
    with atomic_file(path) as part:
        for_reading(table.with_columns(pl.col(numbers).round(4))).write_csv(part)


def _row(one: ImageExplanation) -> tuple[object, ...]:
    best = one.nearest.photos[0] if one.nearest.photos else None
    return (
        one.source,
        one.label or None,
        one.probability,
        "|".join(one.predicted) or None,
        _YES[one.is_unknown],
        one.method,
        one.top_share,
        one.covered_probability,
        one.overlay or None,
        None if best is None else best.name,
        None if best is None else best.label,
        None if best is None else best.similarity,
        "|".join(photo.label for photo in one.nearest.photos) or None,
        "|".join(one.nearest.own_labels) or None,
        one.error,
    )
