"""Catalogs from CSV, TSV and Parquet tables whose columns are named or guessed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.box_columns import read_boxes
from shopsight.catalog.catalog import BOX_COLUMNS, TABLE_ROW, Catalog
from shopsight.catalog.columns import (
    Choice,
    asked,
    choose_group,
    choose_label,
    choose_text,
    given,
)
from shopsight.catalog.lists import list_label, read_rows
from shopsight.catalog.long_tables import with_joined_labels
from shopsight.catalog.split_columns import SplitColumns, find_split
from shopsight.errors import CatalogError
from shopsight.image_files.image_paths import find_image_paths, with_groups_of_rows
from shopsight.io.access import Access
from shopsight.io.addresses import local_path
from shopsight.labels.label_columns import read_labels
from shopsight.read_options import NO_COLUMN, ReadOptions
from shopsight.spreadsheets import unguarded
from shopsight.tables.cell_text import as_text
from shopsight.tables.embedded_images import with_image_files
from shopsight.tables.table_files import read_table
from shopsight.text import listed

CANONICAL = ("image", "label", "group", "split", "fold", *BOX_COLUMNS, "text", TABLE_ROW)


def table_catalog(path: str, read: ReadOptions | None = None) -> Catalog:
    """Read a table with one row per image (or per box in an image).

    Columns are guessed by name and content; every guess is in `Catalog.notes`. Spellings of one
    label are kept as they are: `label_spelling.unify_labels` is for every source.

    Args:
        path: a file or URL ending in .csv, .tsv or .parquet.
        read: columns that are not to be guessed, the folder of the images, the separator of
            labels in a cell, and the encoding.

    Raises:
        CatalogError: the table cannot be read, or a column cannot be guessed.
    """
    read = read or ReadOptions()
    path = local_path(path)
    table, notes = _with_rows(path, read)
    table, folder, file_notes = with_image_files(table, path, read.image_columns)
    if folder is not None:
        read = replace(read, images_root=folder)
    named = _named(table, read, path)
    located = find_image_paths(table, path, read)
    # One row for each image from here on.
    whole, table = table, _rows(table, located.rows)
    named_rows = table
    on_bad_row = read.choice("on_bad_row")
    boxes = read_boxes(table, path, rows=located.rows, on_bad_row=on_bad_row)
    if len(boxes.kept) < len(table):
        table, located = table[boxes.kept], located.take(boxes.kept)
    chosen = _choose(table, named, path, taken=[*located.columns, *boxes.sources])
    columns, column_notes = chosen.read(table, read, path)
    if {*chosen.label.columns} & {"label", "predicted_labels"} and _is_predicted(table):
        column_notes.append("the labels are answers of a model, not what somebody saw")
    if any(column.name == "label" and column.dtype == pl.String for column in columns):
        column_notes.append(_labels_without_image(whole, named_rows, chosen.label.columns[0]))
    if len(located.columns) > 1 and read.group != NO_COLUMN:
        columns = with_groups_of_rows(columns, located.rows)
    used: set[str | None] = {
        *located.columns,
        *boxes.sources,
        *chosen.label.columns,
        *chosen.split.columns,
    }
    column_notes.append(_about_folds(table, used))
    rest = _rest(table, used | {chosen.text.column}, group=chosen.group.column)
    images = pl.Series("image", located.images, dtype=pl.String)
    table_row = pl.Series(TABLE_ROW, located.rows, dtype=pl.Int64)
    catalog = Catalog(
        pl.DataFrame([images, *boxes.columns, *columns, table_row]).hstack(rest),
        name=Path(path).name,
        root=located.root,
        notes=tuple(
            line
            for line in (*notes, *file_notes, *located.notes, *boxes.notes, *column_notes)
            if line
        ),
        unlisted=located.unlisted,
        access=Access(roots=located.roots),
    )
    return catalog if boxes.columns else with_joined_labels(catalog)


def _with_rows(path: str, read: ReadOptions) -> tuple[pl.DataFrame, list[str]]:
    """Read the table as it is, and refuse one without rows or without the image columns named."""
    table, notes = read_table(path, read, read_rows=read_rows)
    if _is_predicted(table) and "labels" not in table.columns:
        table = unguarded(table)
    if not len(table):
        raise CatalogError("the table has no rows", where=path)
    for column in read.image_columns:
        asked(table, column, "--image", path)
    return table, notes


def _named(table: pl.DataFrame, read: ReadOptions, path: str) -> dict[str, Choice | None]:
    """The columns that the user named; None for those that are to be guessed."""
    return {
        "label": given(table, read.label_columns, "--label", path),
        "group": given(table, _several(read.group), "--group", path),
        "text": given(table, _several(read.text), "--text", path),
    }


@dataclass(frozen=True)
class _Chosen:
    """The columns of a user's table that a catalog is made of, beside images and boxes."""

    label: Choice
    group: Choice
    split: SplitColumns
    text: Choice

    def read(
        self, table: pl.DataFrame, read: ReadOptions, path: str
    ) -> tuple[list[pl.Series], list[str]]:
        """The catalog's columns, and a note on each that was guessed."""
        columns = []
        notes = [self.label.note, self.group.note, self.split.note, self.text.note]
        if self.label.columns:
            labels = read_labels(table, self.label.columns, read, path)
            columns.append(labels.values.alias("label"))
            notes[1:1] = labels.notes
        if self.group.column:
            columns.append(as_text(table[self.group.column]).alias("group"))
        if self.split.values is not None:
            columns.append(self.split.values.alias("split"))
        if self.text.column:
            columns.append(as_text(table[self.text.column]).alias("text"))
        return columns, notes


def _choose(
    table: pl.DataFrame, named: dict[str, Choice | None], path: str, *, taken: list[str]
) -> _Chosen:
    """Choose the columns: those that the user named, and of the others the likeliest."""
    taken = [*taken, *(name for choice in named.values() if choice for name in choice.columns)]
    split = find_split(table, taken)
    taken += split.columns
    label = named["label"] or list_label(table, taken) or choose_label(table, taken, path)
    taken += label.columns
    group = named["group"] or choose_group(table, label.column, taken)
    text = named["text"] or choose_text(table, [*taken, *group.columns])
    return _Chosen(label, group, split, text)


def _is_predicted(table: pl.DataFrame) -> bool:
    """Whether this is a table that `predict` wrote."""
    return {"image", "probability", "predicted_labels", "error"} <= set(table.columns)


def _rows(table: pl.DataFrame, rows: Int64[np.ndarray, "n"]) -> pl.DataFrame:
    """Rows of a table; the table itself, and no copy of it, where that are all in their order."""
    return table if np.array_equal(rows, np.arange(len(table))) else table[rows]


def _labels_without_image(whole: pl.DataFrame, kept: pl.DataFrame, label: str) -> str:
    """A note on the labels that are lost with the rows that name no image; empty without any."""
    if kept is whole:
        return ""
    before, after = (as_text(table[label]).drop_nulls() for table in (whole, kept))
    lost = sorted(set(before.unique()) - set(after.unique()))
    return f"labels of which no row names an image: {listed(lost)}" if lost else ""


def _several(column: str | None) -> tuple[str, ...]:
    return () if column is None else (column,)


def _rest(table: pl.DataFrame, used: set[str | None], *, group: str | None) -> pl.DataFrame:
    """The source's other columns; names that mean something in a catalog are set aside."""
    # The group keeps its own name too, so that `--group sender_id` still finds it.
    used = used | ({"group"} if group == "group" else set())
    rest = table.select([name for name in table.columns if name not in used])
    folds = _folds(rest)
    if folds is not None:
        rest = rest.with_columns(folds)
        reserved = [name for name in CANONICAL if name != "fold"]
    else:
        reserved = list(CANONICAL)
    return rest.rename({name: f"{name}_source" for name in rest.columns if name in reserved})


def _folds(table: pl.DataFrame) -> pl.Series | None:
    """The column `fold` as whole numbers, which programs may write as 0.0; None without any."""
    if "fold" not in table.columns:
        return None
    folds = as_text(table["fold"]).cast(pl.Int64, strict=False)
    return None if folds.null_count() else folds


def _about_folds(table: pl.DataFrame, used: Collection[str | None]) -> str:
    """A note on a column `fold` that does not say the folds; empty without such a column."""
    if "fold" not in table.columns or "fold" in used or _folds(table) is not None:
        return ""
    cells = as_text(table["fold"]).unique(maintain_order=True).to_list()
    held = listed(["nothing" if cell is None else cell for cell in cells], most=4)
    return f"column 'fold' is not used as folds, which are whole numbers: it holds {held}"
