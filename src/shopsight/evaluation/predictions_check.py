"""Whether a file of predictions holds what predictions have: it may be damaged, or a stranger's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.errors import DamagedFileError
from shopsight.evaluation.score_files import ScoreFile
from shopsight.evaluation.unknown_columns import IS_UNKNOWN, KNOWN_SCORE
from shopsight.runs.audited_catalog import DUPLICATE_GROUP

SCORE_ROW = "score_row"
PHOTO_ROWS = "photo_rows"
"""Of products: the rows of their photos."""
WRITE_ANEW = "shopsight evaluate RUN   (writes them anew)"

_TEXT, _TEXTS = (pl.String,), (pl.List(pl.String),)
_NUMBERS = (pl.Float32, pl.Float64)
_COUNTS = (pl.Int64, pl.Int32, pl.UInt32)
KINDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("image", "label", "predicted"), _TEXT),
    **dict.fromkeys(("row", "rank", "photos", SCORE_ROW, DUPLICATE_GROUP), _COUNTS),
    **dict.fromkeys(("confidence", "loss"), _NUMBERS),
    "correct": (pl.Boolean,),
    KNOWN_SCORE: _NUMBERS,
    IS_UNKNOWN: (pl.Boolean,),
    "top_labels": _TEXTS,
    "top_probabilities": tuple(pl.List(kind) for kind in _NUMBERS),
    PHOTO_ROWS: (pl.List(pl.Int64),),
}
"""The columns and the types that they may have, see `shopsight.evaluation.predictions`."""
# Not in every table of predictions.
_OF_PRODUCTS = ("photos", PHOTO_ROWS)
_OPTIONAL = frozenset((SCORE_ROW, DUPLICATE_GROUP, KNOWN_SCORE, IS_UNKNOWN, *_OF_PRODUCTS))


def check_types(
    table: pl.DataFrame, labels: tuple[str, ...], path: Path, *, multilabel: bool
) -> None:
    """Refuse columns of another kind than they are written in.

    Raises:
        DamagedFileError: there is one.
    """
    several = {"label", "predicted"} if multilabel else set()
    wrong = [
        f"{name}: {kind}"
        for name, kind in table.schema.items()
        if name in KINDS and kind not in (_TEXTS if name in several else KINDS[name])
    ]
    if wrong or not all(isinstance(label, str) for label in labels):
        raise DamagedFileError(
            "is damaged: columns are of another kind than predictions have",
            where=str(path),
            details=wrong,
            fix=WRITE_ANEW,
        )


def check_values(
    table: pl.DataFrame,
    labels: tuple[str, ...],
    path: Path,
    *,
    multilabel: bool,
    wanted: set[str],
    catalog_rows: int | None,
) -> None:
    """Refuse a table of which columns, cells, or the images that it is about, are missing.

    Raises:
        DamagedFileError: they are.
    """
    needed = wanted & KINDS.keys() - _OPTIONAL - ({"rank"} if multilabel else set())
    there = needed & set(table.columns)
    wrong = [f"there is no column {name}" for name in sorted(needed - there)]
    # With several labels per image there may be none.
    filled = there - ({"label", "predicted"} if multilabel else set())
    wrong += [
        f"{name}: {table[name].null_count():,} of {table.height:,} are empty"
        for name in sorted(filled)
        if table[name].null_count()
    ]
    if not multilabel:
        for name in sorted(there & {"label", "predicted"}):
            unknown = table.filter(~pl.col(name).is_in(labels))[name]
            wrong += [f"{name}: {value!r} is no label of the model" for value in unknown[:1]]
    if "row" in there:
        rows = table["row"]
        known = rows >= 0 if catalog_rows is None else rows.is_between(0, catalog_rows - 1)
        beyond = rows.filter(~known)
        wrong += [f"row: the catalog has no row {row:,}" for row in beyond[:1]]
    _refuse(path, wrong)


def check_scores(table: pl.DataFrame, files: Sequence[ScoreFile], path: Path) -> None:
    """Compare the sizes of the files with what the table says, before anything is read.

    Raises:
        DamagedFileError: they differ.
    """
    for file in files:
        file.check()
    if files and SCORE_ROW in table.columns and table.height:
        images = sum(file.num_images for file in files)
        rows = table[SCORE_ROW].to_numpy()
        if not (rows.min() >= 0 and rows.max() < images):
            raise DamagedFileError(
                f"{SCORE_ROW} names an image that its scores lack",
                where=str(path),
                fix=WRITE_ANEW,
            )


def check_products_table(
    products: pl.DataFrame, photos: pl.DataFrame, path: Path, *, same_labels: bool
) -> None:
    """Refuse answers for products that are not those of the photos beside them.

    Args:
        products: their table.
        photos: that of the photos.
        path: of the former.
        same_labels: whether both have the same labels, one for each.

    Raises:
        DamagedFileError: they are of others.
    """
    wrong = [f"there is no column {name}" for name in _OF_PRODUCTS if name not in products.columns]
    if "group" not in photos.columns:
        wrong.append("its photos have no groups")
    if not same_labels:
        wrong.append("its labels are not those of the photos")
    if not wrong:
        shown = products[PHOTO_ROWS].explode()
        if shown.null_count() or not shown.is_in(photos["row"].implode()).all():
            wrong.append("it shows photos that were not predicted")
    _refuse(path, wrong)


def _refuse(path: Path, wrong: list[str]) -> None:
    if wrong:
        raise DamagedFileError(
            "is damaged: it lacks what predictions have",
            where=str(path),
            details=wrong,
            fix=WRITE_ANEW,
        )
