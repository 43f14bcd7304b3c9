"""Several catalogs as one, whose classes, products and ids stay apart.

`Shoes` of a part `shop` and `Shoes` of a part `web` are two classes, `shop/Shoes` and `web/Shoes`,
unless the caller knows that equal names mean equal classes. Products and ids never are the same in
two parts: their numbers are their owners' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.catalog import TABLE_ROW, Catalog
from shopsight.catalog.held_out_classes import HELD_OUT
from shopsight.catalog.items import item_ids
from shopsight.errors import CatalogError
from shopsight.tables.cell_text import as_text
from shopsight.tables.column_names import CONTRIBUTOR_NAMES, canonical
from shopsight.text import listed

PART, PART_LABEL, REPEAT = "merged_from", "merged_label", "repeat"
"""Columns of a merged catalog: the name of the part that a row is from, the label that it has
there, and, where small classes were filled up, which repeat of an image it is (0: the image)."""

ID = "id"


@dataclass(frozen=True, eq=False)
class MergePart:
    """A catalog that is merged.

    Attributes:
        name: it is known by in the merged catalog.
        catalog: its images, with one label each.
    """

    name: str
    catalog: Catalog


def merged_catalog(parts: Sequence[MergePart], *, name: str, same_labels: bool = False) -> Catalog:
    """All rows of all parts, in order.

    The columns `merged_from` and `merged_label` say where a row is from; `id` is another one in
    each row. Parts without a split are train where others have one. Columns of the parts are kept;
    those of different types become text.

    Args:
        parts: of different names.
        name: of the merged catalog.
        same_labels: labels of one name are one class, whichever part they are of.

    Raises:
        CatalogError: two parts have one name, or images of a part have no labels, or several each.
    """
    _refuse_equal_names(parts)
    for part in parts:
        _refuse_other_labels(part)
    tables = [_qualified(part, same_labels=same_labels) for part in parts]
    roots = {part.catalog.root for part in parts}
    root = roots.pop() if len(roots) == 1 else ""
    if not root:
        tables = [
            table.with_columns(pl.Series("image", part.catalog.refs(), dtype=pl.String))
            for table, part in zip(tables, parts, strict=True)
        ]
    tables, notes = _aligned(_with_splits(tables))
    table = pl.concat(tables, how="diagonal_relaxed")
    if HELD_OUT in table.columns:
        table = table.with_columns(
            (pl.col(HELD_OUT).str.to_lowercase() == "true").fill_null(value=False)
        )
    return Catalog(
        table,
        name,
        root,
        notes=tuple(notes),
        synthetic=any(part.catalog.synthetic for part in parts),
        access=parts[0].catalog.access.joined(*(part.catalog.access for part in parts[1:])),
    )


def _refuse_equal_names(parts: Sequence[MergePart]) -> None:
    # To a file system, and to the audit of spellings, `Shop` and `shop` are one.
    names = [part.name.casefold() for part in parts]
    twice = sorted({part.name for part in parts if names.count(part.name.casefold()) > 1})
    if twice:
        raise CatalogError(
            f"several parts are called {listed(twice)}: their classes would have the same names",
            where="merge",
            fix="shopsight merge first=DATA second=DATA   (NAME=DATA names a part)",
        )


def _refuse_other_labels(part: MergePart) -> None:
    if not part.catalog.labels:
        raise CatalogError(
            "the images have no labels, and a merge is one of classes",
            where=part.name,
            fix="--label COLUMN of a table, or one folder for each class",
        )
    if part.catalog.multilabel:
        raise CatalogError(
            "images have several labels each, and a merge is one of classes",
            where=part.name,
            fix='--label COLUMN of a single label, or --label-separator "" to take cells whole',
        )


def _qualified(part: MergePart, *, same_labels: bool) -> pl.DataFrame:
    """The rows of a part, with names that no other part has."""
    table = part.catalog.table.drop(TABLE_ROW, PART, PART_LABEL, strict=False)
    prefix = pl.lit(f"{part.name}/")
    groups = [
        column
        for column in table.columns
        if column == "group" or (part.catalog.has("group") and _is_sender(table, column))
    ]
    table = table.with_columns(
        (prefix + _unique_ids(part.catalog)).alias(ID),
        *((prefix + pl.col(column).cast(pl.String)).alias(column) for column in groups),
        pl.lit(part.name).alias(PART),
        pl.col("label").alias(PART_LABEL),
    )
    return table if same_labels else table.with_columns((prefix + pl.col("label")).alias("label"))


def _is_sender(table: pl.DataFrame, column: str) -> bool:
    """Whether a column says who sent the photos, and is the group: both are renamed alike."""
    if canonical(column) not in CONTRIBUTOR_NAMES:
        return False
    return table[column].cast(pl.String).equals(table["group"], check_names=False)


def _unique_ids(catalog: Catalog) -> pl.Series:
    try:
        return item_ids(catalog)
    except CatalogError:
        # Rows that name one image: their owner calls them nothing.
        image = catalog.table["image"]
        number = pl.int_range(pl.len()).over("image")
        return catalog.table.select(
            pl.when(image.is_duplicated()).then(pl.format("{}#{}", "image", number))
            .otherwise("image").alias(ID)
        ).to_series()  # fmt: skip


def _with_splits(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    if not any("split" in table.columns for table in tables):
        return list(tables)
    train = pl.lit("train").alias("split")
    return [table if "split" in table.columns else table.with_columns(train) for table in tables]


def _aligned(tables: Sequence[pl.DataFrame]) -> tuple[list[pl.DataFrame], list[str]]:
    """The tables with columns that go together, and notes on those that do not."""
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    texts, gone, notes = [], [], []
    for column in columns:
        kinds = {table.schema[column] for table in tables if column in table.columns}
        if len(kinds) > 1 and any(kind.is_nested() for kind in kinds):
            gone.append(column)
            notes.append(f"column {column!r} is left out: the parts have it of several kinds")
        # Another program may have written the flag as text.
        elif column == HELD_OUT or (
            len(kinds) > 1 and not all(kind.is_numeric() or kind == pl.Null for kind in kinds)
        ):
            texts.append(column)
    if 0 < sum("fold" in table.columns for table in tables) < len(tables):
        gone.append("fold")
        notes.append("the folds are left out: not every part has some")
    aligned = []
    for table in tables:
        kept = table.drop(gone, strict=False)
        plain = [as_text(kept[column]).alias(column) for column in texts if column in kept.columns]
        aligned.append(kept.with_columns(plain))
    return aligned, notes
