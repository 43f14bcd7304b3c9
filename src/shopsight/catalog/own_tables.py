"""Text tables that shopsight wrote, as they come back: perhaps from Excel, in another dress.

They are read like any other table, so that another separator, encoding or line end changes nothing.
What their columns hold is known; numbers may have decimal commas, splits other spellings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from shopsight.spreadsheets import guarded, unguarded
from shopsight.tables.cell_numbers import decimal_numbers
from shopsight.tables.split_names import split_of
from shopsight.tables.table_files import read_table

SEPARATOR_KEY, TYPES_KEY, GUARDED_KEY = "label_separator", "types", "guarded"
_TYPES: dict[str, type[pl.DataType]] = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}


def types_of(table: pl.DataFrame) -> dict[str, str]:
    """The columns of a table that are not text, for the record beside it."""
    kinds: dict[str, str] = {}
    for name, dtype in table.schema.items():
        if dtype.is_integer():
            kinds[name] = "int"
        elif dtype.is_float():
            kinds[name] = "float"
        elif dtype == pl.Boolean:
            kinds[name] = "bool"
    return kinds


def joined_labels(labels: pl.Series, separator: str) -> pl.Series:
    """Labels as text; the separator alone where no label applies, and null where it is unknown."""
    text = labels.list.join(separator)
    return text.set(labels.list.len() == 0, separator)


def flat_columns(table: pl.DataFrame) -> pl.DataFrame:
    """The table as a CSV holds it: nested columns are JSON text, and no text is a formula."""
    flat = []
    for name, kind in table.schema.items():
        if kind.is_nested() or kind in {pl.Binary, pl.Object}:
            cells = table[name].to_list()
            texts = [None if cell is None else json.dumps(cell, default=str) for cell in cells]
            flat.append(pl.Series(name, texts, dtype=pl.String))
        elif kind == pl.Duration:
            flat.append(table[name].dt.to_string("polars"))
    return guarded(table.with_columns(flat))


def read_own_text(
    path: Path, about: Mapping[str, Any], read: ReadOptions | None
) -> tuple[pl.DataFrame, list[str]]:
    """Read a CSV or TSV that `Catalog.write` wrote and others may have saved again.

    Args:
        path: the table.
        about: the record beside it.
        read: its encoding, and what to do with rows of too many or too few cells.

    Returns:
        The table with columns of the types that were written, and notes.

    Raises:
        TableError: the table cannot be read.
        CatalogError: a cell is not the number that its column holds.
    """
    table, notes = read_table(str(path), read)
    if about.get(GUARDED_KEY):
        table = unguarded(table)
    kinds = about.get(TYPES_KEY, {})
    columns = [
        _typed(table[name], kind, str(path))
        for name, kind in kinds.items()
        if isinstance(kind, str) and kind in _TYPES and name in table.columns
    ]
    table = table.with_columns(columns)
    if "split" in table.columns:
        meaning = {cell: split_of(cell) or cell for cell in table["split"].drop_nulls().unique()}
        table = table.with_columns(pl.col("split").replace_strict(meaning, return_dtype=pl.String))
    separator = about.get(SEPARATOR_KEY)
    if separator is not None and "label" in table.columns:
        labels = pl.col("label").str.split(separator).list.eval(
            pl.element().filter(pl.element() != "")
        )  # fmt: skip
        table = table.with_columns(labels)
    return table, notes


def _typed(column: pl.Series, kind: str, where: str) -> pl.Series:
    if kind == "bool":
        lower = column.str.strip_chars().str.to_lowercase()
        typed = lower.replace_strict({"true": True, "false": False}, default=None).cast(pl.Boolean)
    else:
        typed = decimal_numbers(column, where).cast(_TYPES[kind], strict=False)
    if typed.null_count() > column.null_count():
        bad = column.filter(typed.is_null() & column.is_not_null())[0]
        raise CatalogError(f"column {column.name!r} holds {bad!r}, not {kind}", where=where)
    return typed
