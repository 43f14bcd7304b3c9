"""Some columns of a text table, each row with its number in the file.

What writes a table back must know where each cell stood: no row is dropped without a count, blank
ones are counted, and columns go by their places, since two may have one name.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.tables.delimited import Delimited
from shopsight.tables.row_check import Record, RowCheck, frame_of
from shopsight.tables.table_room import check_table_room
from shopsight.tables.text_rows import LONGEST_CELL, check_of, frames_that_fit

ROW = "row"
"""The number of a row in its file, from 1, as a spreadsheet shows it: what stands above the names
of the columns is counted, and blank rows are."""


@dataclass(frozen=True, eq=False)
class NumberedRows:
    """Columns of a text table.

    Attributes:
        header: the names of all columns, blanks around them taken away.
        frame: the column `row`, and of each kept column its cells by its place: "0", "1", ...;
            rows of which no kept cell has text are not in it.
        num_blank: how many those are.
        notes: what was passed over.
    """

    header: tuple[str, ...]
    frame: pl.DataFrame
    num_blank: int
    notes: tuple[str, ...]


def read_numbered(
    table: Delimited,
    where: str,
    *,
    on_bad_row: str,
    keep: Callable[[Sequence[str]], Sequence[int]],
    first_row: int,
) -> NumberedRows:
    """Read the rows below the names of the columns; cells are text, empty ones null.

    Args:
        table: the text, from the row of the names on.
        where: the file, for errors.
        on_bad_row: as `delimited.to_frame` has it.
        keep: gives the places of the columns to read, from the names of all.
        first_row: the number of the row of the names in its file, from 1.

    Raises:
        TableError: rows do not fit, or there is no memory for all.
    """
    check = check_of(table, where)
    check_table_room(table.text, check.width, where)
    header = tuple(check.names())
    columns = [str(place) for place in keep(header)]
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        frame = _fast(table, check, columns, first_row)
        if frame is None:
            frame = _checked(table, check, on_bad_row, columns, first_row)
    finally:
        csv.field_size_limit(limit)
    kept = frame.filter(~pl.all_horizontal(pl.col(columns).is_null()))
    notes = (*table.notes, *check.notes())
    return NumberedRows(header, kept, len(frame) - len(kept), notes)


def _fast(
    table: Delimited, check: RowCheck, columns: Sequence[str], first_row: int
) -> pl.DataFrame | None:
    """All rows, read without a look at each; None when one of them does not fit."""
    frames = [_numbered(frame_of([], check.width), [], columns)]
    row = first_row + 1
    for frame in frames_that_fit(table, check, with_blank=True):
        if frame is None:
            return None
        frames.append(_numbered(frame, range(row, row + len(frame)), columns))
        row += len(frame)
    return pl.concat(frames)


def _checked(
    table: Delimited, check: RowCheck, on_bad_row: str, columns: Sequence[str], first_row: int
) -> pl.DataFrame:
    """All rows that fit, each looked at."""
    row_of_line: dict[int, int] = {}

    def records() -> Iterator[Record]:
        for place, record in table.numbered_records():
            row_of_line[record[0]] = first_row + place
            yield record

    frame = check.frame(records(), on_bad_row)
    return _numbered(frame, [row_of_line[line] for line in check.kept_lines], columns)


def _numbered(frame: pl.DataFrame, rows: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
    numbers = pl.Series(ROW, rows, dtype=pl.Int64)
    return frame.select(columns).insert_column(0, numbers)
