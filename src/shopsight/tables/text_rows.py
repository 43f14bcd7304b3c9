"""The rows of a text table: strictly, with the line of what does not fit.

Python's csv module reads them, not polars, which fills up rows of too few cells without a word and
passes over quotes that are wrong. Of a long text, polars reads the parts in which both would read
the same, once separators and quotes have been counted.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import polars as pl

from shopsight.errors import TableError
from shopsight.tables.delimited import Delimited
from shopsight.tables.encodings import NAME_IT, has_escapes
from shopsight.tables.long_texts import read_well_formed, whole_rows
from shopsight.tables.row_check import (
    ROWS_AT_ONCE,
    Row,
    RowCheck,
    frame_of,
    named_frame,
    shown_row,
)
from shopsight.tables.table_room import check_table_room

MOST_COLUMNS = 50_000
"""Of a text table: 10,000 labels as columns of 0 and 1 are read in some seconds."""
LONGEST_CELL = 2**31 - 1
"""For the csv module, whose own limit is 131,072 characters."""

HasHeader = Callable[[Sequence[Row]], bool]
"""Says by the first rows whether the first one names the columns."""


def to_frame(
    table: Delimited, where: str, *, on_bad_row: str, has_header: HasHeader | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Read the rows; all cells are text, empty ones null.

    Args:
        table: the text.
        where: the file, for errors.
        on_bad_row: "error" stops at rows of too many or too few cells; "skip" leaves them out.
        has_header: tells whether the first row names the columns; None: it does. Without one,
            columns are named by their numbers: "1", "2", ...

    Returns:
        The table, and notes on what was left out.

    Raises:
        TableError: rows do not fit, two columns have one name, or there is no memory for all.
    """
    check = check_of(table, where, has_header)
    check_table_room(table.text, check.width, where)
    # The limit is the process's: it guards against files that end within a quote, as `strict` does.
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        frame = _all_that_fit(table, check)
        if frame is None:
            frame = check.frame(table.records(), on_bad_row)
    finally:
        csv.field_size_limit(limit)
    if check.header is None:
        # Blanks behind commas are no part of a path or an id.
        frame = frame.with_columns(pl.all().str.strip_chars())
    frame, notes = named_frame(frame, check.names(), where)
    return frame, [*table.notes, *check.notes(), *notes]


def check_of(table: Delimited, where: str, has_header: HasHeader | None = None) -> RowCheck:
    """What the rows of a table must be, by the first of them.

    Args:
        table: the text.
        where: the file, for errors.
        has_header: as `to_frame` has it.

    Raises:
        TableError: there are too many columns, or the header is not of the table's encoding.
    """
    # When the only row cannot be read, `records` says why.
    sample = table.sample() or [[]]
    headed = has_header is None or has_header(sample)
    header = sample[0] if headed else None
    width = _width(sample, has_header=headed)
    shown = "a tab" if table.separator == "\t" else f"'{table.separator}'"
    if width > MOST_COLUMNS:
        raise TableError(
            f"{width:,} columns; {MOST_COLUMNS:,} may be",
            where=where,
            fix="write it as Parquet; labels in one column, parted by |, instead of a column each",
        )
    check = RowCheck(
        where,
        width,
        parted_by=f"separated by {shown}",
        way_out=f'put cells that hold {shown} into double quotes ("...")',
        header=header,
        joint=table.separator,
        escaped=has_escapes(table.text),
    )
    if header is not None and any(map(has_escapes, header)):
        raise TableError(
            "the header has bytes that are not UTF-8",
            where=where,
            details=[shown_row(header, table.separator)],
            fix=NAME_IT,
        )
    return check


def _all_that_fit(table: Delimited, check: RowCheck) -> pl.DataFrame | None:
    """All rows, read without a look at each; None when one of them does not fit."""
    frames = [frame_of([], check.width)]
    for frame in frames_that_fit(table, check):
        if frame is None:
            return None
        frames.append(frame)
    return pl.concat(frames)


def frames_that_fit(
    table: Delimited, check: RowCheck, *, with_blank: bool = False
) -> Iterator[pl.DataFrame | None]:
    """All rows piece by piece, read without a look at each; None when one of them does not fit.

    Args:
        table: the text.
        check: what its rows must be.
        with_blank: give blank rows too, as rows of nulls.
    """
    if check.escaped:
        yield None
        return
    is_first = True
    for piece in whole_rows(table.text):
        frame = None
        if not is_first and not table.has_blanks_before_quotes and table.separator.isascii():
            frame = read_well_formed(piece, table.separator, check)
        if frame is None:
            frame = _quoted(table.part(piece), check, has_header=is_first, with_blank=with_blank)
        yield frame
        if frame is None:
            return
        is_first = False


def _quoted(
    table: Delimited, check: RowCheck, *, has_header: bool, with_blank: bool
) -> pl.DataFrame | None:
    """The rows of a part of the text by the csv module; None when one of them does not fit."""
    frames = [frame_of([], check.width)]
    reader = table.reader()
    blank = [[""] * check.width] * with_blank
    try:
        if has_header and check.header is not None:
            next(reader, None)
        while rows := list(islice(reader, ROWS_AT_ONCE)):
            if not set(map(len, rows)) <= {check.width, 0} or check.header in rows:
                return None
            kept = [row or blank[0] for row in rows] if blank else list(filter(None, rows))
            frames.append(frame_of(kept, check.width))
    except csv.Error:
        return None
    return pl.concat(frames)


def _width(sample: Sequence[Row], *, has_header: bool) -> int:
    """The number of cells that a row should have."""
    widths = Counter(map(len, sample[1:] or sample))
    usual = max(widths, key=lambda width: (widths[width], width))
    if not has_header:
        return usual
    header, rows = sample[0], sample[1:]
    if len(widths) > 1 or not rows:
        return len(header)
    # Some programs end every line in a separator, others only the first, or all but the first.
    if usual < len(header) and usual >= _named_cells(header):
        return usual
    if usual > len(header) and not any(cell for row in rows for cell in row[len(header) :]):
        return usual
    return len(header)


def _named_cells(header: Row) -> int:
    """The number of columns up to the last that has a name."""
    return max((at for at, name in enumerate(header, start=1) if name.strip()), default=0)
