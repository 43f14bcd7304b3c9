"""A column's cells as text: one spelling for one value, null where a value is missing."""

from __future__ import annotations

import re
import unicodedata
from datetime import time

import polars as pl

from shopsight.errors import CatalogError
from shopsight.text import counted

MISSING_WORDS = frozenset(
    {"nan", "NaN", "NAN", "-nan", "-NaN", "<NA>", "NaT", "#N/A", "#NA", "N/A", "n/a"}
    | {"NULL", "Null", "null", "\\N"}
    | {"#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"}
)
"""What programs write where a value is missing, and nobody calls a class."""

DOUBTFUL_WORDS = frozenset({"None", "none", "NONE", "NA", "na", "nil", "-", "--", "?"})
"""Missing to some programs, and a class to some people ("none" of the defects)."""

BITS = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}
"""Cells of yes and no, in lower case, and what they mean."""

_WHOLE = r"^[+-]?\d+(\.0*)?$"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
# Python strips neither of them: the byte order mark, and the blanks of no width.
_NO_WIDTH = "\ufeff\u200b\u200c\u200d\u2060"


def as_text(column: pl.Series) -> pl.Series:
    """Any column as String, null where a cell is blank or NaN.

    Numbers are written alike wherever they come from: 3 for 3.0 where all of the column are whole,
    since a column of integers with gaps becomes one of floats in many programs. Whole days are
    written without a time.

    Raises:
        CatalogError: the cells are no plain values (structs, or bytes that are not text).
    """
    if column.dtype.is_float():
        column = column.fill_nan(None)
    elif isinstance(column.dtype, pl.Datetime) and (column.dt.time() == time()).all():
        column = column.cast(pl.Date)
    if isinstance(column.dtype, (pl.Struct, pl.List, pl.Array, pl.Object)):
        raise _not_plain(column)
    try:
        text = column.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise _not_plain(column) from error
    # Spreadsheets are kept from changing 050 by writing it as a formula.
    if text.str.starts_with('="').any():
        text = text.str.replace(r'^="([^"]*)"$', "${1}")
    text = text.set(text.str.strip_chars() == "", None)
    return whole_numbers(text)


def whole_numbers(text: pl.Series) -> pl.Series:
    """Write 3.0 as 3 where every cell is a whole number; "050" stays.

    >>> whole_numbers(pl.Series(["3.0", None, "12.0"])).to_list()
    ['3', None, '12']
    >>> whole_numbers(pl.Series(["3.0", "3.5"])).to_list()
    ['3.0', '3.5']
    """
    given = text.drop_nulls()
    if not given.str.contains(".", literal=True).any() or not given.str.contains(_WHOLE).all():
        return text
    return text.str.replace(r"\.0*$", "")


def without_missing(text: pl.Series) -> tuple[pl.Series, list[str]]:
    """Make null what programs write for a missing value; and say so.

    Args:
        text: cells as text.

    Returns:
        The cells, and a note on each word that is taken as missing, or that could be meant so.
    """
    distinct = {cell: cell.strip() for cell in text.drop_nulls().unique().to_list()}
    missing = {cell for cell, word in distinct.items() if word in MISSING_WORDS}
    doubtful = {cell for cell, word in distinct.items() if word in DOUBTFUL_WORDS}
    others = set(distinct) - missing - doubtful
    if others and all(is_number(distinct[cell]) for cell in others):
        # Among numbers, a word is no class.
        missing, doubtful = missing | doubtful, set()
    notes = []
    if missing:
        count, example = _counted_cells(text, missing)
        keep = "--label-separator '' takes cells as they are"
        notes.append(f"{count} such as {example!r} taken as missing ({keep})")
        text = text.set(text.is_in(sorted(missing)), None)
    for cell in sorted(doubtful):
        count, _ = _counted_cells(text, {cell})
        notes.append(
            f"{count} {cell!r}: taken as a class of that name "
            "(empty the cells if they mean that the label is missing)"
        )
    return whole_numbers(text), notes


def plain_label(label: str) -> str:
    r"""The label in Unicode's composed form, without blanks at its ends.

    >>> plain_label(" Schuhe-gru\u0308n\u00a0") == "Schuhe-gr\u00fcn"
    True
    """
    if label.isascii():
        return label.strip()
    return unicodedata.normalize("NFC", label).strip().strip(_NO_WIDTH).strip()


def is_number(text: str) -> bool:
    """Whether the text is a decimal number.

    >>> is_number("3"), is_number("0.5"), is_number("3XL")
    (True, True, False)
    """
    return _NUMBER.fullmatch(text) is not None


def _counted_cells(text: pl.Series, cells: set[str]) -> tuple[str, str]:
    hit = text.filter(text.is_in(sorted(cells)))
    return counted(len(hit), "cell"), hit[0]


def _not_plain(column: pl.Series) -> CatalogError:
    return CatalogError(
        f"column {column.name!r} holds {column.dtype}, not plain values",
        details=[repr(value)[:80] for value in column.drop_nulls().head(1).to_list()],
        fix="name a column of text or numbers",
    )
