"""Which columns of a catalog an index keeps, and of what kind they are.

What is kept can be filtered by and is shown with each result. Tables of text say nothing of kinds,
so a column of text whose every cell is a number is one of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, SOURCE_FILE, SOURCE_ROW, TABLE_ROW
from shopsight.errors import CatalogError
from shopsight.text import listed
from shopsight.vector_engines.filters import ColumnKind, Schema
from shopsight.vector_engines.payloads import POLARS_TYPES
from shopsight.vector_engines.where import LARGEST_INTEGER

ALWAYS = ("label", "split", "text")
NEVER = frozenset(
    {"image", "group", "id", "product", "fold", TABLE_ROW, SOURCE_FILE, SOURCE_ROW, *BOX_COLUMNS}
)
MOST_COLUMNS = 32
LONGEST_CELL = 500
"""Characters; a column with a longer one is only kept when it is asked for."""

_INTEGER = r"^-?(?:0|[1-9][0-9]{0,15})$"
_NUMBER = r"^-?(?:0|[1-9][0-9]{0,15})?(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?$"


def choose_columns(table: pl.DataFrame, keep: Sequence[str], *, where: str) -> Schema:
    """The columns to keep of a catalog's table, with their kinds.

    Args:
        table: of the catalog.
        keep: those that the user named; without any, all with short cells, the first 32.
        where: the catalog's name, for the error.

    Raises:
        CatalogError: a column that was named is not there.
    """
    missing = [name for name in keep if name not in table.columns]
    if missing:
        raise CatalogError(
            f"no column {listed(missing)}",
            where=where,
            details=[f"columns: {listed(table.columns, most=20)}"],
            fix="--keep one of these",
        )
    always = [name for name in ALWAYS if name in table.columns]
    others = keep or [
        name for name in table.columns if name not in NEVER and _is_short(table[name])
    ]
    names = dict.fromkeys([*always, *(name for name in others if name not in NEVER)])
    chosen = list(names) if keep else list(names)[:MOST_COLUMNS]
    return {name: kind_of(table[name]) for name in chosen}


def kind_of(column: pl.Series) -> ColumnKind:
    """The kind of a column's cells."""
    if isinstance(column.dtype, pl.List):
        return "texts"
    if column.dtype == pl.Boolean:
        return "boolean"
    if column.dtype.is_integer():
        return "integer" if _is_exact(column) else "text"
    if column.dtype.is_float():
        return "number"
    cells = column.cast(pl.String).drop_nulls()
    cells = cells.filter(~_is_nan(cells))
    if not len(cells):
        return "text"
    if cells.str.contains(_INTEGER).all():
        return "integer" if _is_exact(cells.cast(pl.Int64)) else "text"
    if cells.str.contains(_NUMBER).all() and (cells.str.len_chars() > 0).all():
        return "number"
    flags = cells.str.to_lowercase().is_in(["true", "false"]).all()
    return "boolean" if flags else "text"


def kept_table(table: pl.DataFrame, schema: Schema, *, where: str) -> pl.DataFrame:
    """The kept columns of a catalog's table, as an index stores them; missing ones are null.

    Raises:
        CatalogError: a cell is not of the kind that the index keeps in its column.
    """
    columns = {
        name: _converted(table[name], name, kind, where)
        if name in table.columns
        else pl.Series(name, [None] * table.height, POLARS_TYPES[kind])
        for name, kind in schema.items()
    }
    return pl.DataFrame(list(columns.values())) if columns else pl.DataFrame({})


def _converted(column: pl.Series, name: str, kind: ColumnKind, where: str) -> pl.Series:
    wanted = POLARS_TYPES[kind]
    if kind in ("integer", "number", "boolean") and column.dtype == pl.String:
        column = pl.select(pl.when(~_is_nan(column)).then(column)).to_series()
    cells = column
    if kind == "boolean" and column.dtype == pl.String:
        lower = column.str.to_lowercase()
        cells = lower.replace_strict(["true", "false"], [True, False], default=None)
        cells = cells.cast(pl.Boolean)
    elif kind == "texts" and not isinstance(column.dtype, pl.List):
        cells = column.cast(pl.String).reshape((-1, 1)).cast(pl.List(pl.String))
    elif kind == "text" and isinstance(column.dtype, pl.List):
        cells = column.cast(pl.List(pl.String)).list.join("|")
    else:
        cells = column.cast(wanted, strict=False)
    lost = cells.is_null() & column.is_not_null()
    if lost.any():
        bad = column.filter(lost)
        raise CatalogError(
            f"column {name!r} of the index holds {kind}, and {int(lost.sum())} cells are none",
            where=where,
            details=[str(cell) for cell in bad.head(5).to_list()],
            fix="give the column the same kind of cells\nbuild the index anew",
        )
    return cells.alias(name)


def _is_nan(cells: pl.Series) -> pl.Series:
    """Cells that a table's writer left for a number that is missing."""
    return cells.str.to_lowercase() == "nan"


def _is_exact(integers: pl.Series) -> bool:
    return bool((integers.drop_nulls().abs() <= LARGEST_INTEGER).all())


def _is_short(column: pl.Series) -> bool:
    if isinstance(column.dtype, pl.List):
        return bool(column.dtype == pl.List(pl.String))
    if column.dtype != pl.String:
        return not column.dtype.is_nested() and column.dtype != pl.Binary
    return not bool((column.str.len_chars() > LONGEST_CELL).any())
