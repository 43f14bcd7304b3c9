"""Which columns of a user's table say in which part of a split a row is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.cell_text import BITS, as_text
from shopsight.catalog.column_names import SPLIT_NAMES, canonical, ranked
from shopsight.catalog.split_names import is_split, split_of
from shopsight.text import listed

_FLAGS = {
    "is_train": "train", "is_training": "train", "is_val": "val", "is_valid": "val",
    "is_validation": "val", "is_dev": "val", "is_test": "test", "is_testing": "test",
}  # fmt: skip
"""Columns of true and false, as fastai's `is_valid`, and the part that true means."""


@dataclass(frozen=True)
class SplitColumns:
    """The columns of a given split.

    Attributes:
        columns: their names; empty when the table gives no split.
        values: train, val and test, null where a row is in no part; None without a split.
        note: a line for the user.
    """

    columns: tuple[str, ...] = ()
    values: pl.Series | None = None
    note: str = ""


def find_split(table: pl.DataFrame, taken: Sequence[str]) -> SplitColumns:
    """Find the split of a table: by a column's name and values, by its values alone, by flags.

    Args:
        table: the user's table.
        taken: columns that mean something else.
    """
    free = [column for column in table.columns if column not in taken]
    named = ranked(free, SPLIT_NAMES)
    for column in [*named, *(column for column in free if column not in named)]:
        words = _words(table[column])
        parts = {word: part for word in words if (part := split_of(word))}
        # A name that says so is enough for one part; else only a split has such values.
        if words and len(parts) == len(words) and (column in named or is_split(parts.values())):
            values = as_text(table[column]).replace_strict(parts, return_dtype=pl.String)
            return SplitColumns((column,), values, f"split from column {column!r}: {listed(words)}")
    flags = _of_flags(table, free)
    if flags is not None:
        return flags
    for column in named:
        words = _words(table[column])
        if words:
            return SplitColumns(
                note=f"column {column!r} is not used as a split: it holds {listed(words)}"
            )
    return SplitColumns()


def _words(column: pl.Series) -> list[str]:
    if column.dtype != pl.String:
        return []
    return as_text(column).drop_nulls().unique().sort().to_list()


def _of_flags(table: pl.DataFrame, free: Sequence[str]) -> SplitColumns | None:
    """`is_valid`, and its like: a row in none of them is in the part that no flag names."""
    flags = {}
    for column in free:
        part = _FLAGS.get(canonical(column))
        text = as_text(table[column]).str.to_lowercase().str.strip_chars() if part else None
        if part and text is not None and set(text.drop_nulls().unique()) <= set(BITS):
            bits = text.replace_strict(BITS, return_dtype=pl.Int8)
            if bits.n_unique() > 1:
                flags[column] = (part, bits)
    if not flags:
        return None
    rest = "train" if all(part != "train" for part, _ in flags.values()) else "test"
    known = pl.DataFrame([bits.alias(name) for name, (_, bits) in flags.items()])
    values = known.select(
        pl.coalesce(
            *(pl.when(pl.col(name) == 1).then(pl.lit(part)) for name, (part, _) in flags.items()),
            pl.when(pl.all_horizontal(pl.all().is_not_null())).then(pl.lit(rest)),
        )
    ).to_series()
    shown = ", ".join(f"{name!r} (true is {part})" for name, (part, _) in flags.items())
    word = "column" if len(flags) == 1 else "columns"
    return SplitColumns(tuple(flags), values, f"split from {word} {shown}; the others are {rest}")
