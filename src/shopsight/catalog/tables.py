"""Catalogs from CSV, TSV and Parquet tables whose columns are named or guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.catalog.columns import (
    Choice,
    as_text,
    asked,
    choose_boxes,
    choose_group,
    choose_label,
    choose_split,
    choose_text,
    read_labels,
    read_split,
)
from shopsight.catalog.image_paths import find_image_paths, with_groups_of_rows
from shopsight.catalog.table_files import read_table
from shopsight.errors import CatalogError
from shopsight.read_options import NO_COLUMN, ReadOptions, flag_of
from shopsight.remote.addresses import local_path
from shopsight.text import counted

CANONICAL = ("image", "label", "group", "split", "fold", *BOX_COLUMNS, "text")


def table_catalog(path: str, read: ReadOptions | None = None) -> Catalog:
    """Read a table with one row per image (or per box in an image).

    Columns are guessed by name and content; every guess is in `Catalog.notes`. Cells are kept as
    they are: blanks around labels are the audit's to report.

    Args:
        path: a file or URL ending in .csv, .tsv or .parquet.
        read: columns that are not to be guessed, the folder of the images, the separator of
            labels in a cell, and the encoding.

    Raises:
        CatalogError: the table cannot be read, or a column cannot be guessed.
    """
    read = read or ReadOptions()
    path = local_path(path)
    table, notes = read_table(path, read)
    if not len(table):
        raise CatalogError("the table has no rows", where=path)
    _check_columns(table, read, path)
    located = find_image_paths(table, path, read)
    # One row for each image from here on.
    table = table[located.rows]
    boxes, box_sources = choose_boxes(table, path)
    chosen = _choose(table, read, path, taken=[*located.columns, *box_sources])
    columns, column_notes = chosen.read(table, read.label_separator)
    if len(located.columns) > 1 and read.group != NO_COLUMN:
        columns = with_groups_of_rows(columns, located.rows)
    used = {*located.columns, *box_sources, chosen.label.column, chosen.split.column}
    rest = _rest(table, used | {chosen.text.column}, group=chosen.group.column)
    images = pl.Series("image", located.images, dtype=pl.String)
    return Catalog(
        pl.DataFrame([images, *boxes, *columns]).hstack(rest),
        name=Path(path).name,
        root=located.root,
        notes=tuple(line for line in (*notes, *located.notes, *column_notes) if line),
        unlisted=located.unlisted,
    )


def _check_columns(table: pl.DataFrame, read: ReadOptions, path: str) -> None:
    named = {"image": read.image_columns, "label": read.label_columns}
    named |= {"group": _several(read.group), "text": _several(read.text)}
    for name, columns in named.items():
        for column in columns:
            if column != NO_COLUMN:
                asked(table, column, flag_of(name), path)


@dataclass(frozen=True)
class _Chosen:
    """The columns of a user's table that a catalog is made of, beside images and boxes."""

    label: Choice
    group: Choice
    split: Choice
    text: Choice

    def read(
        self, table: pl.DataFrame, label_separator: str | None
    ) -> tuple[list[pl.Series], list[str]]:
        """The catalog's columns, and a note on each that was guessed."""
        columns = []
        notes = [self.label.note, self.group.note, self.split.note, self.text.note]
        if self.label.column:
            labels, note = read_labels(table[self.label.column], label_separator)
            columns.append(labels.alias("label"))
            notes[1:1] = [note, _about_empty(labels)]
        if self.group.column:
            columns.append(as_text(table[self.group.column]).alias("group"))
        if self.split.column:
            columns.append(read_split(table[self.split.column]).alias("split"))
        if self.text.column:
            columns.append(as_text(table[self.text.column]).alias("text"))
        return columns, notes


def _choose(table: pl.DataFrame, read: ReadOptions, path: str, *, taken: list[str]) -> _Chosen:
    """Choose the columns: those that `read` names, and of the others the likeliest."""
    taken = [*taken, *read.label_columns, *(name for name in (read.group, read.text) if name)]
    split = choose_split(table, taken)
    taken += _columns(split)
    label = _given(_first(read.label_columns)) or choose_label(table, taken, path)
    taken += _columns(label)
    group = _given(read.group) or choose_group(table, label.column, taken)
    text = _given(read.text) or choose_text(table, [*taken, *_columns(group)])
    return _Chosen(label, group, split, text)


def _several(column: str | None) -> tuple[str, ...]:
    return () if column is None else (column,)


def _first(columns: tuple[str, ...]) -> str | None:
    return columns[0] if columns else None


def _given(column: str | None) -> Choice | None:
    if column is None:
        return None
    return Choice(None if column == NO_COLUMN else column)


def _columns(choice: Choice) -> list[str]:
    return [choice.column] if choice.column else []


def _about_empty(labels: pl.Series) -> str:
    empty = labels.null_count()
    return f"{counted(empty, 'row')} without a label" if empty else ""


def _rest(table: pl.DataFrame, used: set[str | None], *, group: str | None) -> pl.DataFrame:
    """The source's other columns; names that mean something in a catalog are set aside."""
    # The group keeps its own name too, so that `--group sender_id` still finds it.
    used = used | ({"group"} if group == "group" else set())
    rest = table.select([name for name in table.columns if name not in used])
    if "fold" in rest.columns and rest["fold"].cast(pl.Int64, strict=False).null_count() == 0:
        rest = rest.with_columns(pl.col("fold").cast(pl.Int64))
        reserved = [name for name in CANONICAL if name != "fold"]
    else:
        reserved = list(CANONICAL)
    return rest.rename({name: f"{name}_source" for name in rest.columns if name in reserved})
