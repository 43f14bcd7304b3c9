"""Cells as numbers, with decimal points or decimal commas."""

from __future__ import annotations

import re

import polars as pl

from shopsight.errors import CatalogError

_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})+\s*")


def decimal_numbers(column: pl.Series, where: str) -> pl.Series:
    """Read the cells of a column as numbers, null where a cell is none.

    Args:
        column: text with decimal points; or with decimal commas, if the whole of it can be read so.
        where: the file, for the error.

    Raises:
        CatalogError: commas that could part thousands as well as decimals.
    """
    if column.dtype.is_nested() or column.dtype in {pl.Binary, pl.Object}:
        return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return column.cast(pl.Float64, strict=False)
    text = column.str.strip_chars()
    text = text.set(text == "", None)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        return numbers
    cells = text.drop_nulls().to_list()
    if not all(map(_DECIMAL_COMMA.fullmatch, cells)):
        return numbers
    with_comma = [cell for cell in cells if "," in cell]
    if all(map(_THOUSANDS.fullmatch, with_comma)):
        raise CatalogError(
            f"column {column.name!r}: {with_comma[0]!r} could be thousands or decimals",
            where=where,
            fix="write its numbers with a decimal point",
        )
    return text.str.replace(",", ".", literal=True).cast(pl.Float64)
