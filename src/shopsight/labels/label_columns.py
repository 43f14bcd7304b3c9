"""Columns of a table become labels: one for each image, or several.

Cells are read once for each distinct text, so that a million rows take as long as their classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from shopsight.errors import CatalogError
from shopsight.labels.label_cells import (
    lists_in,
    plain_items,
    scalars_in,
    split_cells,
    without_brackets,
)
from shopsight.labels.label_lists import positions
from shopsight.labels.label_separator import guess_separator, split_at
from shopsight.read_options import ReadOptions
from shopsight.tables.cell_text import BITS, MISSING_WORDS, as_text, whole_numbers, without_missing
from shopsight.tables.column_names import canonical
from shopsight.text import counted, listed

SAMPLED_CELLS = 20_000
"""From so many distinct cells the separator is guessed."""

_UNIT = "\x1f"
_SIGNS = {"-1": 0, "1": 1}
_KEEP = "--label-separator '' keeps them whole"
_EMPTY = pl.lit([], dtype=pl.List(pl.String))


@dataclass(frozen=True)
class Labels:
    """The labels of a table's rows.

    Attributes:
        values: String, or List(String) where an image has several; null where a row has none.
        notes: how cells were read, a line each.
    """

    values: pl.Series
    notes: tuple[str, ...] = ()

    def after(self, notes: Sequence[str]) -> Labels:
        """The labels with these notes before their own."""
        return replace(self, notes=(*notes, *self.notes))


def read_labels(
    table: pl.DataFrame, columns: Sequence[str], read: ReadOptions, where: str
) -> Labels:
    """Read the labels out of one column, or out of columns of 0 and 1, one for each label.

    Args:
        table: the user's table.
        columns: names of columns that it has.
        read: `label_separator` and `empty_label` say what is not to be guessed.
        where: the table, for errors.

    Raises:
        CatalogError: cells hold something else than labels, or may be read in two ways.
    """
    if len(columns) > 1:
        labels = _of_flags(table, columns, read, where)
    else:
        labels = _of_column(table[columns[0]], read, where)
    return _with_empty(labels, read.empty_label)


def is_flags(column: pl.Series) -> bool:
    """Whether the column holds nothing but 0 and 1, -1 and 1, false and true, or no and yes."""
    if column.dtype not in (pl.String, pl.Boolean) and not column.dtype.is_numeric():
        return False
    distinct = set(as_text(column.unique()).drop_nulls().str.strip_chars().str.to_lowercase())
    return bool(distinct) and (distinct <= set(BITS) or distinct <= set(_SIGNS))


def _of_column(column: pl.Series, read: ReadOptions, where: str) -> Labels:
    if isinstance(column.dtype, (pl.List, pl.Array)):
        keys = _list_keys(column, where)
        cells = _distinct(keys)
        lists = split_cells(cells, _UNIT)
        return _of_lists(keys, cells, lists, read, where, "the column holds lists")
    text = as_text(column)
    if read.label_separator == "":
        return Labels(text)
    text, notes = without_missing(text)
    if column.dtype == pl.String:
        notes += _about_numbers(column, text)
    return _of_text(text, canonical(column.name), read, where).after(notes)


def _of_text(text: pl.Series, name: str, read: ReadOptions, where: str) -> Labels:
    """Labels of cells of text, null where one is missing."""
    cells = _distinct(text)
    if read.label_separator is not None:
        mark = read.label_separator
        lists = split_cells(without_brackets(cells), mark)
        return _of_lists(text, cells, lists, read, where, f"separated by {mark!r}")
    scalars = scalars_in(cells)
    if scalars is not None:
        values = text.replace_strict(cells, scalars, return_dtype=pl.String)
        return Labels(whole_numbers(values), (f"labels are the values in cells as {cells[0]}",))
    found = lists_in(cells, name, where)
    if found is not None:
        how = f"cells are written as lists, such as {cells[0]} ({_KEEP})"
        return _of_lists(text, cells, found, read, where, how)
    sample = cells.gather_every(max(1, len(cells) // SAMPLED_CELLS)).to_list()
    guess, note = guess_separator(sample, name, where)
    if guess is None:
        return Labels(text, (note,) if note else ())
    example = next(cell for cell in sample if len(split_at(cell, guess)) > 1)
    how = f"separated by {guess!r}, such as {example!r} ({_KEEP})"
    return _of_lists(text, cells, split_cells(cells, guess), read, where, how)


def _of_lists(
    keys: pl.Series, cells: pl.Series, lists: pl.Series, read: ReadOptions, where: str, how: str
) -> Labels:
    """The labels of each row, from the list of each distinct cell."""
    lists = plain_items(lists, where)
    vectors = _positions(lists)
    if vectors is not None:
        example = " ".join(lists[0])
        how = f"cells are vectors of 0 and 1, such as {example}: label 0 is the first place"
        return _one_or_several(_mapped(keys, cells, vectors), read, where, how)
    # A guess may find that all lists are of one label; what the user says is several stays so.
    if read.label_separator is None and len(lists) and (lists.list.len() == 1).all():
        return Labels(_mapped(keys, cells, lists.list.first()), (f"one label per image: {how}",))
    labels = _mapped(keys, cells, lists.list.unique(maintain_order=True))
    return Labels(labels, (f"several labels per image: {how}",))


def _positions(lists: pl.Series) -> pl.Series | None:
    """For vectors of 0 and 1 the places of their ones; None for other lists."""
    if lists.explode().drop_nulls().n_unique() > 2 or lists.list.len().n_unique() != 1:
        return None
    rows = lists.to_list()
    found = positions(rows)
    if found is None:
        return None
    return pl.Series([found[tuple(row)] for row in rows], dtype=pl.List(pl.String))


def _of_flags(table: pl.DataFrame, columns: Sequence[str], read: ReadOptions, where: str) -> Labels:
    """A label for each of several columns of 0 and 1."""
    distinct = {
        cell.strip()
        for column in columns
        for cell in as_text(table[column].unique()).drop_nulls().to_list()
    }
    words = _SIGNS if distinct == set(_SIGNS) else BITS
    bits = pl.DataFrame([_bits(table[column], words, where) for column in columns])
    given = [pl.col(column).is_not_null() for column in columns]
    # A row with a gap says nothing sure about its image, unless gaps mean that nothing applies.
    known = pl.any_horizontal(given) if read.empty_label == "none" else pl.all_horizontal(given)
    rows, ones = np.nonzero(bits.fill_null(0).to_numpy())
    pairs = pl.DataFrame({"row": rows, "label": pl.Series(columns).gather(ones)})
    lists = pairs.group_by("row", maintain_order=True).agg("label")
    every = bits.select(known=known).with_row_index("row").cast({"row": pl.Int64})
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    some = pl.col("label").fill_null(_EMPTY)
    labels = joined.select(pl.when("known").then(some).otherwise(None)).to_series()
    how = f"a column of 0 and 1 for each of {counted(len(columns), 'label')}: {listed(columns)}"
    return _one_or_several(labels, read, where, how)


def _one_or_several(labels: pl.Series, read: ReadOptions, where: str, how: str) -> Labels:
    """Labels from 0 and 1: with one 1 in every row, the classes exclude each other.

    Raises:
        CatalogError: none has two, but some have no 1; that may be an image that nobody labeled.
    """
    ones = labels.list.len().drop_nulls()
    if (ones > 1).any() or read.empty_label == "none":
        return Labels(labels, (f"several labels per image: {how}",))
    bare = int((ones == 0).sum())
    if bare and read.empty_label is None:
        raise CatalogError(
            f"{counted(bare, 'row')} of {len(labels):,} have no 1, and none has two",
            where=where,
            details=[how],
            fix="1. --empty-label missing   (these images are unlabeled; the others have one label "
            "each)\n2. --empty-label none   (no label applies to them; several labels per image)",
        )
    return Labels(labels.list.first(), (f"one label per image: {how}",))


def _with_empty(labels: Labels, empty_label: str | None) -> Labels:
    """Say what rows without a label are, and make them so."""
    values = labels.values
    several = isinstance(values.dtype, pl.List)
    if several and empty_label == "missing":
        values = values.set(values.list.len() == 0, None)
    none = int(values.is_null().sum())
    if not none:
        return Labels(values, labels.notes)
    rows = f"{counted(none, 'row')} without a label"
    if empty_label != "none":
        return Labels(values, (*labels.notes, rows))
    lists = pl.col("label") if several else pl.concat_list("label")
    filled = values.alias("label").to_frame()
    filled = filled.select(pl.when(pl.col("label").is_null()).then(_EMPTY).otherwise(lists))
    return Labels(filled.to_series(), (*labels.notes, f"{rows}: no label applies to these images"))


def _mapped(keys: pl.Series, cells: pl.Series, labels: pl.Series) -> pl.Series:
    """For each row the labels of its cell."""
    found = pl.DataFrame([cells.alias("key"), labels.alias("label")])
    rows = keys.alias("key").to_frame()
    return rows.join(found, on="key", how="left", maintain_order="left")["label"]


def _distinct(text: pl.Series) -> pl.Series:
    return text.drop_nulls().unique(maintain_order=True)


def _list_keys(column: pl.Series, where: str) -> pl.Series:
    """One text for each list, so that equal lists are read once."""
    try:
        return column.cast(pl.List(pl.String)).list.join(_UNIT, ignore_nulls=True)
    except pl.exceptions.PolarsError as error:
        raise CatalogError(
            f"column {column.name!r} holds {column.dtype}, not labels",
            where=where,
            fix="--label COLUMN",
        ) from error


def _bits(column: pl.Series, words: Mapping[str, int], where: str) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column.cast(pl.Int8)
    text = as_text(column).str.to_lowercase().str.strip_chars()
    text = text.set(text.is_in([word.lower() for word in MISSING_WORDS]), None)
    bits = text.replace_strict(words, default=None, return_dtype=pl.Int8)
    odd = column.filter(bits.is_null() & text.is_not_null())
    if len(odd):
        raise CatalogError(
            f"column {column.name!r} holds {odd[0]!r}; of several columns of labels, each holds "
            "0 and 1",
            where=where,
            fix=f"name one column of labels, such as --label {column.name!r}",
        )
    return bits


def _about_numbers(column: pl.Series, text: pl.Series) -> list[str]:
    places = (text.is_not_null() & (text != column)).arg_true()
    if not len(places):
        return []
    written, read = column[int(places[0])], text[int(places[0])]
    as_what = "without their formula" if written.startswith("=") else "as whole numbers"
    return [f"labels such as {written!r} are read {as_what}: {read}"]
