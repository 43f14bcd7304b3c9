"""How many images each class has: in all, those that can be used, and those in each given part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.split_report import EVERY_TRAINING, part_name

LABEL, ROWS, USED = "label", "rows", "used"
USED_REASON = ""
"""Reason to leave a row out that means: it stays."""


def leave_out_reasons(files: pl.DataFrame, *, keep_damaged: bool = False) -> pl.Series:
    """Say for each row why training leaves its file out, empty where it does not.

    Args:
        files: see `AuditReport.files`.
        keep_damaged: use files whose content is corrupted.

    Returns:
        "damaged", "unreadable", "missing", or `USED_REASON`.
    """
    used = ["ok", "damaged"] if keep_damaged else ["ok"]
    status = files["status"]
    return files.select(
        pl.when(status.is_in(used)).then(pl.lit(USED_REASON)).otherwise(status).alias("reason")
    )["reason"]


def label_pairs(catalog: Catalog, **columns: pl.Series) -> pl.DataFrame:
    """One line for each row and each of its labels: `row`, `label` and these columns.

    Args:
        catalog: the images; rows without a label have no line.
        columns: a value for each row of the catalog.
    """
    if not catalog.labels:
        return pl.DataFrame(schema={"row": pl.UInt32, LABEL: pl.String}).with_columns(
            pl.Series(name, [], dtype=column.dtype) for name, column in columns.items()
        )
    frame = pl.DataFrame([catalog.table[LABEL]]).with_row_index("row").with_columns(**columns)
    if catalog.multilabel:
        frame = frame.with_columns(pl.col(LABEL).list.unique()).explode(LABEL)
    return frame.drop_nulls(LABEL)


def class_table(catalog: Catalog, reasons: pl.Series) -> pl.DataFrame:
    """Count the images of each class.

    Args:
        catalog: the images, after labels were dropped and renamed.
        reasons: for each row why it is left out, `USED_REASON` where it stays.

    Returns:
        A line for each label, the one with the most images used first, with the columns `label`,
        `rows` (all of them), `used` (those that stay), and for each part of the given split, or
        else for each given fold, the rows used of that part. An image with several labels counts
        for each.
    """
    part = _part_of_row(catalog)
    parts = _given_parts(part)
    used = pl.col("reason") == USED_REASON
    counts = [pl.len().alias(ROWS), used.sum().alias(USED)]
    counts += [
        (used & (pl.col("part") == name).fill_null(False)).sum().alias(name) for name in parts
    ]
    pairs = label_pairs(catalog, reason=reasons, part=part)
    return (
        pairs.group_by(LABEL)
        .agg(one.cast(pl.Int64) for one in counts)
        .sort(USED, LABEL, descending=[True, False])
    )


def parts_of(classes: pl.DataFrame) -> tuple[str, ...]:
    """The parts that a `class_table` counts: splits, or else folds; empty where none is given."""
    return tuple(name for name in classes.columns if name not in (LABEL, ROWS, USED))


@dataclass(frozen=True, slots=True)
class ShownClasses:
    """The classes that are shown of a `class_table`.

    Attributes:
        columns: "label", "rows", "used" and the parts.
        rows: a line for each class that is shown.
        hidden: number of classes that are not.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]
    hidden: int


def shown_classes(classes: pl.DataFrame, *, most: int) -> ShownClasses | None:
    """Choose what to show of a `class_table`.

    Args:
        classes: a line for each class, the most frequent first.
        most: how many to show.

    Returns:
        All of them in their order; or of more than `most` the worst half (no image to train on,
        then the largest loss, then the fewest images), then the most frequent ones. None where the
        number of images used says it all: no file is left out and no part is given; and where there
        are no classes.
    """
    says_all = not parts_of(classes) and bool((classes[ROWS] == classes[USED]).all())
    if says_all or not classes.height:
        return None
    if classes.height <= most:
        return ShownClasses(classes.columns, classes.rows(), 0)
    train = pl.col("train" if "train" in classes.columns else USED)
    loss = 1 - pl.col(USED) / pl.col(ROWS)
    worst = classes.sort(train > 0, -loss, USED, LABEL).head(most - most // 2)
    frequent = classes.join(worst, on=LABEL, how="anti", maintain_order="left").head(most // 2)
    return ShownClasses(classes.columns, [*worst.rows(), *frequent.rows()], classes.height - most)


def _part_of_row(catalog: Catalog) -> pl.Series:
    table = catalog.table
    if catalog.has("split"):
        return table["split"].alias("part")
    if catalog.has("fold"):
        folds = table["fold"].drop_nulls().unique()
        # What every network trains on is in no fold.
        names = {fold: None if fold == EVERY_TRAINING else part_name(str(fold)) for fold in folds}
        return table["fold"].replace_strict(names, return_dtype=pl.String).alias("part")
    return pl.Series("part", [None] * len(catalog), pl.String)


def _given_parts(part: pl.Series) -> Sequence[str]:
    found = set(part.drop_nulls().to_list())
    splits = [name for name in SPLITS if name in found]
    return splits or sorted(found, key=lambda name: int(name.split()[-1]))
