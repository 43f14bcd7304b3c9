r"""Tables that people open in a spreadsheet: none of their text is run as a formula.

A label `=HYPERLINK(...)` or `@SUM(...)` in a CSV is computed when a spreadsheet opens it, and one
that begins with `=cmd|` may start a program. Such text gets an apostrophe in front, as a user would
type it. Numbers are left alone. `unguarded` takes exactly those apostrophes away again.

Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import re

import polars as pl

from shopsight.control_characters import one_line

# What begins a formula, also as the wide characters of East Asian keyboards.
_BEGINS = "[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]"
# What importers pass over or take away before they look: blanks, quotes, what is not seen.
_SKIPPED = (
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x20\\x7f-\\xa0'\"`\u2018\u2019\u201c\u201d"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*"
)
_FORMULA = rf"^{_SKIPPED}{_BEGINS}|^'*[\t\r\n]"
# In a table that is opened with another separator than it was written with, a cell begins here.
_WITHIN = rf"([;\t\r\n])({_SKIPPED}{_BEGINS})"
_WITHIN_GUARDED = rf"([;\t\r\n])'({_SKIPPED}{_BEGINS})"
_NUMBER = "[-+]?[0-9.,]*"
# What other text has: most cells begin with a letter or a digit, and hold no such separator.
_MAYBE = "^[^0-9A-Za-z]|[;\\t\\r\\n]"
_MAYBE_PATTERN = re.compile(_MAYBE)


def guarded(table: pl.DataFrame) -> pl.DataFrame:
    """The table with an apostrophe before what a spreadsheet would run, in cells and names."""
    table = table.with_columns(_guarded(table[name]) for name in _texts(table))
    return table.rename({name: guarded_text(name) for name in table.columns})


def _guarded(column: pl.Series) -> pl.Series:
    text = column.cast(pl.String)
    maybe = text.str.contains(_MAYBE).fill_null(False)
    if not maybe.any():
        return text
    within = text.filter(maybe).str.replace_all(_WITHIN, "${1}'${2}")
    formula = within.str.contains(_FORMULA) & ~within.str.contains(f"^{_NUMBER}$")
    return text.clone().scatter(maybe.arg_true(), _chosen(formula, "'" + within, within))


def guarded_text(text: str) -> str:
    """A cell as `guarded` writes it.

    >>> guarded_text("=1+1"), guarded_text("-3.5"), guarded_text("T-shirt")
    ("'=1+1", '-3.5', 'T-shirt')
    """
    if not _MAYBE_PATTERN.search(text):
        return text
    text = re.sub(_WITHIN, r"\1'\2", text)
    return f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return bool(re.search(_FORMULA, text)) and not re.fullmatch(_NUMBER, text)


def unguarded(table: pl.DataFrame) -> pl.DataFrame:
    """The table that `guarded` was given; only of one that it wrote."""
    table = table.with_columns(_unguarded(table[name]) for name in _texts(table))
    return table.rename({name: _unguarded_text(name) for name in table.columns})


def _unguarded(column: pl.Series) -> pl.Series:
    rest = column.str.slice(1)
    formula = rest.str.contains(_FORMULA) & ~rest.str.contains(f"^{_NUMBER}$")
    bare = _chosen(column.str.starts_with("'") & formula, rest, column)
    return bare.str.replace_all(_WITHIN_GUARDED, "${1}${2}")


def _unguarded_text(text: str) -> str:
    if text.startswith("'") and _is_formula(text[1:]):
        text = text[1:]
    return re.sub(_WITHIN_GUARDED, r"\1\2", text)


def for_reading(table: pl.DataFrame) -> pl.DataFrame:
    """A guarded table that is only looked at: its control characters are escapes."""
    return guarded(table.with_columns(_shown(table[name]) for name in _texts(table)))


def _texts(table: pl.DataFrame) -> list[str]:
    kinds = (pl.String, pl.Categorical, pl.Enum)
    return [name for name, kind in table.schema.items() if kind in kinds]


def _chosen(where: pl.Series, taken: pl.Series, otherwise: pl.Series) -> pl.Series:
    return taken.zip_with(where.fill_null(False), otherwise).alias(otherwise.name)


def _shown(column: pl.Series) -> pl.Series:
    column = column.cast(pl.String)
    odd = column.filter(column.str.contains("[^ -~]")).unique().to_list()
    return column.replace({text: one_line(text) for text in odd}) if odd else column
