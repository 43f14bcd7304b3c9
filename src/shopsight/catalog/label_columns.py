"""Columns of a table become labels: one for each image, or several.

Cells are parsed once for each distinct text, so that a million rows take as long as their classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.cell_text import (
    MISSING_WORDS,
    as_text,
    is_number,
    whole_numbers,
    without_missing,
)
from shopsight.catalog.column_names import canonical
from shopsight.catalog.label_lists import (
    is_object,
    is_surely_list,
    looks_like_list,
    parse_list,
    positions,
    scalar_of,
)
from shopsight.catalog.label_separator import guess_separator, split_at
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from shopsight.text import counted, listed

_UNIT = "\x1f"
_BITS = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}
_PRINTED_SERIES = re.compile(r"dtype: \w+\s*$")
_KEEP = "--label-separator '' keeps them whole"
_FLAG_WHOLE = '--label-separator ""'
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
    """Whether the column holds nothing but 0 and 1, false and true, or no and yes."""
    if column.dtype not in (pl.String, pl.Boolean) and not column.dtype.is_numeric():
        return False
    distinct = as_text(column.unique()).drop_nulls().str.to_lowercase()
    return len(distinct) > 0 and distinct.is_in(list(_BITS)).all()


def _of_column(column: pl.Series, read: ReadOptions, where: str) -> Labels:
    if isinstance(column.dtype, (pl.List, pl.Array)):
        keys = _list_keys(column, where)
        lists = {key: key.split(_UNIT) if key else [] for key in _distinct(keys)}
        return _of_lists(keys, lists, read, where, "the column holds lists")
    text = as_text(column)
    if read.label_separator == "":
        return Labels(text)
    text, notes = without_missing(text)
    if column.dtype == pl.String:
        notes += _about_numbers(column, text)
    cells = _distinct(text)
    _refuse_objects(cells, column.name, where)
    scalars = {cell: scalar_of(cell) for cell in cells}
    if cells and None not in scalars.values():
        text = text.replace_strict(scalars, return_dtype=pl.String)
        return Labels(whole_numbers(text), (*notes, f"labels such as {cells[0]} without the call"))
    bracketed = bool(cells) and all(map(looks_like_list, cells))
    if read.label_separator is not None:
        given = read.label_separator
        lists = {cell: split_at(_bare(cell) if bracketed else cell, given) for cell in cells}
        return _of_lists(text, lists, read, where, f"separated by {given!r}", notes)
    if bracketed and not all(re.fullmatch(r"\s*\([^,'\"]*\)\s*", cell) for cell in cells):
        how = f"cells are written as lists, such as {cells[0]} ({_KEEP})"
        return _of_lists(text, _parsed(cells, where), read, where, how, notes)
    _refuse_some_lists(cells, where)
    mark, note = guess_separator(cells, canonical(column.name), where)
    if mark is None:
        return Labels(text, (*notes, *filter(None, [note])))
    example = next(cell for cell in cells if len(split_at(cell, mark)) > 1)
    how = f"separated by {mark!r}, such as {example!r} ({_KEEP})"
    return _of_lists(text, {cell: split_at(cell, mark) for cell in cells}, read, where, how, notes)


def _of_lists(
    keys: pl.Series,
    lists: dict[str, list[str]],
    read: ReadOptions,
    where: str,
    how: str,
    notes: Sequence[str] = (),
) -> Labels:
    """The labels of each row, whose cells are keys of `lists`."""
    lists = _plain_items(lists, where)
    vectors = positions(lists.values())
    if vectors is not None:
        example = " ".join(next(iter(vectors)))
        how = f"cells are vectors of 0 and 1, such as {example}: label 0 is the first place"
        lists = {key: vectors[tuple(items)] for key, items in lists.items()}
    lists = {key: list(dict.fromkeys(items)) for key, items in lists.items()}
    labels = _mapped(keys, lists)
    if vectors is not None:
        return _one_or_several(labels, read, where, how, notes)
    guessed = read.label_separator is None
    if guessed and lists and all(len(items) == 1 for items in lists.values()):
        return Labels(labels.list.first(), (*notes, f"one label per image: {how}"))
    return Labels(labels, (*notes, f"several labels per image: {how}"))


def _of_flags(table: pl.DataFrame, columns: Sequence[str], read: ReadOptions, where: str) -> Labels:
    """A label for each of several columns of 0 and 1."""
    bits = [_bits(table[column], where) for column in columns]
    frame = pl.DataFrame(bits)
    names = [
        pl.when(pl.col(column) == 1).then(pl.lit(column)).otherwise(None) for column in columns
    ]
    given = [pl.col(column).is_not_null() for column in columns]
    # A row with a gap says nothing sure about its image, unless gaps mean that nothing applies.
    known = pl.any_horizontal(given) if read.empty_label == "none" else pl.all_horizontal(given)
    labels = frame.select(
        pl.when(known).then(pl.concat_list(names).list.drop_nulls()).otherwise(None)
    ).to_series()
    how = f"a column of 0 and 1 for each of {counted(len(columns), 'label')}: {listed(columns)}"
    return _one_or_several(labels, read, where, how)


def _one_or_several(
    labels: pl.Series, read: ReadOptions, where: str, how: str, notes: Sequence[str] = ()
) -> Labels:
    """Labels from 0 and 1: with one 1 in every row, the classes exclude each other.

    Raises:
        CatalogError: none has two, but some have no 1; that may be an image that nobody labeled.
    """
    ones = labels.list.len().drop_nulls()
    if (ones > 1).any() or read.empty_label == "none":
        return Labels(labels, (*notes, f"several labels per image: {how}"))
    bare = int((ones == 0).sum())
    if bare and read.empty_label is None:
        raise CatalogError(
            f"{counted(bare, 'row')} of {len(labels):,} have no 1, and none has two",
            where=where,
            details=[how],
            fix="1. --empty-label missing   (these images are unlabeled; the others have one label "
            "each)\n2. --empty-label none   (no label applies to them; several labels per image)",
        )
    return Labels(labels.list.first(), (*notes, f"one label per image: {how}"))


def _with_empty(labels: Labels, empty_label: str | None) -> Labels:
    """Say what rows without a label are, and make them so."""
    values = labels.values
    several = isinstance(values.dtype, pl.List)
    none = int(values.is_null().sum())
    if several and empty_label == "missing":
        values = values.set(values.list.len() == 0, None) if len(values) else values
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


def _mapped(keys: pl.Series, lists: dict[str, list[str]]) -> pl.Series:
    found = pl.DataFrame(
        {"key": list(lists), "label": list(lists.values())},
        schema={"key": pl.String, "label": pl.List(pl.String)},
    )
    rows = keys.alias("key").to_frame()
    return rows.join(found, on="key", how="left", maintain_order="left")["label"]


def _distinct(text: pl.Series) -> list[str]:
    cells: list[str] = text.drop_nulls().unique(maintain_order=True).to_list()
    return cells


def _list_keys(column: pl.Series, where: str) -> pl.Series:
    """One text for each list, so that equal lists are parsed once."""
    try:
        return column.cast(pl.List(pl.String)).list.join(_UNIT, ignore_nulls=True)
    except pl.exceptions.PolarsError as error:
        raise CatalogError(
            f"column {column.name!r} holds {column.dtype}, not labels",
            where=where,
            fix="--label COLUMN",
        ) from error


def _parsed(cells: Sequence[str], where: str) -> dict[str, list[str]]:
    lists = {cell: parse_list(cell) for cell in cells}
    unread = [cell for cell, items in lists.items() if items is None]
    if unread:
        cut = any("..." in cell for cell in unread)
        raise CatalogError(
            "cells that were cut when they were written: labels are lost"
            if cut
            else f"{counted(len(unread), 'different cell')} in brackets cannot be read as labels",
            where=where,
            details=unread,
            fix="write the table again with whole cells, such as red|cotton"
            if cut
            else f"write them alike, such as red|cotton, or keep them whole: {_FLAG_WHOLE}",
        )
    given = {cell: items for cell, items in lists.items() if items is not None}
    _refuse_blanks_only(given, where)
    return given


def _refuse_blanks_only(lists: dict[str, list[str]], where: str) -> None:
    """`[long sleeve]` is one label or two, where no cell has a comma or a quote."""
    bare = [cell for cell, items in lists.items() if any(" " in item for item in items)]
    if bare and not any(mark in cell for cell in lists for mark in ",'\""):
        raise CatalogError(
            "cells in brackets have words without a comma between them",
            where=where,
            details=bare,
            fix='1. --label-separator " "   (each word is a label)\n'
            '2. --label-separator ","   (the words are one label)',
        )


def _refuse_some_lists(cells: Sequence[str], where: str) -> None:
    """Some cells are lists, and some are not."""
    lists = [cell for cell in cells if is_surely_list(cell)]
    if lists:
        other = next((cell for cell in cells if not is_surely_list(cell)), lists[0])
        raise CatalogError(
            f"some cells of labels are lists, such as {lists[0]}, and others are not: {other}",
            where=where,
            fix=f"write all in one way, such as red|cotton; {_FLAG_WHOLE} keeps cells whole",
        )


def _refuse_objects(cells: Sequence[str], name: str, where: str) -> None:
    objects = [cell for cell in cells if is_object(cell)]
    printed = [cell for cell in cells if _PRINTED_SERIES.search(cell)]
    if objects or printed:
        raise CatalogError(
            f"column {name!r} holds {'JSON objects' if objects else 'printed Series'}, not labels",
            where=where,
            details=[repr(cell[:100]) for cell in objects or printed],
            fix="write the labels alone into a column, such as red|cotton, and name it: "
            "--label COLUMN",
        )


def _plain_items(lists: dict[str, list[str]], where: str) -> dict[str, list[str]]:
    """Without gaps, and with 3 for 3.0; numbers such as .25 are no labels."""
    plain = {
        key: [item for item in map(str.strip, items) if item and item not in MISSING_WORDS]
        for key, items in lists.items()
    }
    distinct = {item for items in plain.values() for item in items}
    if not distinct or not all(map(is_number, distinct)):
        return plain
    whole = {item: re.sub(r"\.0*$", "", item) for item in distinct}
    if all(re.fullmatch(r"[+-]?\d+", item) for item in whole.values()):
        return {key: [whole[item] for item in items] for key, items in plain.items()}
    raise CatalogError(
        "cells hold numbers with decimals, not labels",
        where=where,
        details=[str(items) for items in plain.values()],
        fix=f"name a column of labels: --label COLUMN; {_FLAG_WHOLE} keeps cells whole",
    )


def _bits(column: pl.Series, where: str) -> pl.Series:
    text = as_text(column).str.to_lowercase().str.strip_chars()
    text = text.set(text.is_in([word.lower() for word in MISSING_WORDS]), None)
    bits = text.replace_strict(_BITS, default=None, return_dtype=pl.Int8)
    odd = column.filter(bits.is_null() & text.is_not_null())
    if len(odd):
        raise CatalogError(
            f"column {column.name!r} holds {odd[0]!r}; of several columns of labels, each holds "
            "0 and 1",
            where=where,
            fix=f"name one column of labels, such as --label {column.name!r}",
        )
    return bits


def _bare(cell: str) -> str:
    """The inside of a cell in brackets, without quotes."""
    return re.sub(r"['\"]", "", cell.strip()[1:-1])


def _about_numbers(column: pl.Series, text: pl.Series) -> list[str]:
    changed = column.filter(text.is_not_null() & (text != column))
    if not len(changed):
        return []
    return [f"labels such as {changed[0]!r} are read as whole numbers: {changed[0].split('.')[0]}"]
