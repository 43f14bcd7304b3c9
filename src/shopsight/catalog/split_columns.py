"""Which columns of a user's table say in which part of a split a row is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.tables.cell_text import BITS, as_text
from shopsight.tables.column_names import SPLIT_NAMES, canonical, ranked
from shopsight.tables.split_names import is_split, split_of
from shopsight.text import listed

_FLAGS = {
    "is_train": "train", "is_training": "train", "is_val": "val", "is_valid": "val",
    "is_validation": "val", "is_dev": "val", "is_test": "test", "is_testing": "test",
}  # fmt: skip
"""Columns of true and false, as fastai's `is_valid`, and the part that true means."""

_SAMPLED_CELLS = 100
MOST_HELD_OUT = 0.5
"""A flag that is true for more than this fraction of the rows holds no images out."""


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
    in_order = [*named, *(column for column in free if column not in named)]
    fit = [column for column in in_order if _says_parts(table[column], by_name=column in named)]
    if fit:
        words = _words(table[fit[0]])
        parts = {word: split_of(word) for word in words}
        values = as_text(table[fit[0]]).replace_strict(parts, return_dtype=pl.String)
        others = f" (so could {listed(fit[1:])}: not used)" if fit[1:] else ""
        note = f"split from column {fit[0]!r}: {listed(words)}{others}"
        return SplitColumns((fit[0],), values, note)
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


def _says_parts(column: pl.Series, *, by_name: bool) -> bool:
    """Whether all cells mean parts: several, or one where the column's name says so."""
    # Of a million titles, the first ones say that they are none.
    if not all(map(split_of, _words(column.drop_nulls().head(_SAMPLED_CELLS)))):
        return False
    words = _words(column)
    parts = [part for word in words if (part := split_of(word))]
    return bool(words) and len(parts) == len(words) and (by_name or is_split(parts))


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
                flags[column] = (part, bits.alias(column))
    if not flags:
        odd = [column for column in free if canonical(column) in _FLAGS and _words(table[column])]
        if not odd:
            return None
        held = listed(_words(table[odd[0]]))
        return SplitColumns(note=f"not used as a split: {odd[0]!r}, which holds {held}")
    names = listed([repr(column) for column in flags])
    held_out = [bits for part, bits in flags.values() if part != "train"]
    if any((bits.sum() or 0) > MOST_HELD_OUT * len(table) for bits in held_out):
        # `is_valid` may say that a row is a good one.
        return SplitColumns(note=f"not used as a split: {names}, true in most rows")
    if (pl.DataFrame([bits for _, bits in flags.values()]).sum_horizontal() > 1).any():
        return SplitColumns(note=f"not used as a split: {names}, as rows are in several parts")
    rest = "train" if all(part != "train" for part, _ in flags.values()) else "test"
    known = pl.DataFrame([bits for _, bits in flags.values()])
    values = known.select(
        pl.coalesce(
            *(pl.when(pl.col(name) == 1).then(pl.lit(part)) for name, (part, _) in flags.items()),
            pl.when(pl.all_horizontal(pl.all().is_not_null())).then(pl.lit(rest)),
        )
    ).to_series()
    shown = ", ".join(f"{name!r} (true is {part})" for name, (part, _) in flags.items())
    word = "column" if len(flags) == 1 else "columns"
    return SplitColumns(tuple(flags), values, f"split from {word} {shown}; the others are {rest}")
