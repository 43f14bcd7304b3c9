"""The text of a table becomes rows and columns: strictly, with the line of what does not fit.

Python's csv module reads it, not polars, which fills up rows of too few cells without a word and
passes over quotes that are wrong. Of a long text, polars reads the parts that have no quotes, once
the separators have been counted.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, islice
from typing import Any

import polars as pl

from shopsight.errors import TableError
from shopsight.tables.column_names import IMAGE_NAMES, ranked
from shopsight.tables.encodings import NAME_IT, has_escapes
from shopsight.tables.long_texts import lines_of_text, read_well_formed, whole_rows
from shopsight.tables.row_check import (
    NEVER_CLOSED,
    ROWS_AT_ONCE,
    Row,
    RowCheck,
    frame_of,
    named_frame,
    shown_row,
)
from shopsight.tables.table_room import check_table_room
from shopsight.text import counted

SEPARATORS = (",", "\t", ";", "|")
MOST_COLUMNS = 50_000
"""Of a text table: 10,000 labels as columns of 0 and 1 are read in some seconds."""

_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
# Of all characters; text of two bytes a character, read as one byte each, has far more.
_MOST_ZEROS = 0.05
_SAMPLED_ROWS = 200
_SAMPLED_CHARACTERS = 200_000
LONGEST_CELL = 2**31 - 1
_MOST_TITLE_LINES = 4

HasHeader = Callable[[Sequence[Row]], bool]
"""Tells by the first rows whether the first one names the columns."""


@dataclass
class Delimited:
    """How the text of a table is laid out.

    Attributes:
        text: from its first row on.
        separator: what stands between cells.
        first_line: the number of the line of the file in which `text` begins.
        notes: what was passed over.
    """

    text: str
    separator: str
    first_line: int = 1
    notes: list[str] = field(default_factory=list)

    def reader(self) -> Any:
        """Every row, blank ones as empty lists; `csv.Error` where quotes cannot be read."""
        return csv.reader(
            lines_of_text(self.text),
            delimiter=self.separator,
            # Blanks are a part of the cell, unless a quote follows.
            skipinitialspace=self.has_blanks_before_quotes,
            strict=True,
        )

    @cached_property
    def has_blanks_before_quotes(self) -> bool:
        """Whether blanks stand between a separator and a quote."""
        return f'{self.separator} "' in self.text

    def part(self, text: str) -> Delimited:
        """A part of the text, laid out as the whole."""
        part = Delimited(text, self.separator)
        part.has_blanks_before_quotes = self.has_blanks_before_quotes
        return part

    def records(self) -> Iterator[tuple[int, Row, str]]:
        """Each row that is not blank: the line in which it begins, its cells, and what is wrong.

        What is wrong is that its quotes cannot be read, and "" mostly.
        """
        yield from (record for _, record in self.numbered_records())

    def numbered_records(self) -> Iterator[tuple[int, tuple[int, Row, str]]]:
        """What `records` gives, with its place among all rows from 0, blank ones counted."""
        reader = self.reader()
        for place in count():
            line = self.first_line + reader.line_num
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield place, (line, [], _quotes_in_words(error))
            else:
                if row:
                    yield place, (line, row, "")

    def sample(self, rows: int = _SAMPLED_ROWS) -> list[Row]:
        """The cells of the first rows that can be read."""
        return [row for _, row, wrong in islice(self.records(), rows) if not wrong]


def as_delimited(text: str, where: str) -> Delimited:
    """Find the first row and the separator.

    A line `sep=;`, as Excel writes and reads it, names the separator. Lines of comments (`#`)
    before the first row are passed over, and a title above the names of the columns.

    Raises:
        TableError: the text is empty, or has zero bytes in more than single cells.
    """
    if text.count("\0") > _MOST_ZEROS * len(text):
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(
            f"zero bytes in line {line:,}: this is not text",
            where=where,
            fix=f"export the table anew as CSV (UTF-8), or {NAME_IT}",
        )
    if not text.strip():
        raise TableError("the file is empty", where=where)
    line, named = 1, None
    found = _SEPARATOR_LINE.fullmatch(_first_line(text))
    if found is not None:
        named, text, line = found[1], _after_first_line(text), 2
    start, notes = _after_comments(text)
    line += _line_ends(text[:start])
    text = text[start:]
    start, title_notes = _after_title(text)
    line += _line_ends(text[:start])
    text, notes = text[start:], [*notes, *title_notes]
    separator = named or _likeliest_separator(text)
    return Delimited(text, separator, line, notes)


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


def _likeliest_separator(text: str) -> str:
    """The one by which most rows have as many cells as the first, and then the most cells."""
    sample = text[:_SAMPLED_CHARACTERS]
    if len(sample) < len(text):
        # The last line was cut.
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    best, best_fit = SEPARATORS[0], (False, 0.0, 1)
    for separator in SEPARATORS:
        records = list(islice(Delimited(sample, separator).records(), _SAMPLED_ROWS))
        widths = Counter(len(row) for _, row, wrong in records if not wrong)
        if not widths:
            continue
        width = max(widths, key=lambda count: (widths[count], count))
        fit = (len(records[0][1]) == width, widths[width] / len(records), width)
        if width > 1 and fit > best_fit:
            best, best_fit = separator, fit
    return best


def _after_comments(text: str) -> tuple[int, list[str]]:
    """Where the first row begins, and a note on the lines of comments before it.

    A first line `#,file,label` is no comment: it has as many cells as the next one.
    """
    start = 0
    comments = []
    while text.startswith("#", start):
        line = _first_line(text[start:])
        comments.append(line)
        start = len(text) - len(_after_first_line(text[start:]))
    if not comments:
        return 0, []
    rest = text[start:]
    separator = _likeliest_separator(rest)
    first_row = next(iter(Delimited(rest, separator).sample(1)), [])
    cells = len(first_row)
    if cells > 1 and len(comments[-1].split(separator)) == cells:
        start -= len(text[:start]) - text[:start].rindex(comments.pop())
    if not comments:
        return start, []
    return start, [f"passed over: {counted(len(comments), 'line')} of comments: {comments[0]!r}"]


def _after_title(text: str) -> tuple[int, list[str]]:
    """Where the names of the columns begin below a title, and a note on its lines.

    A title is of lines with one cell at most, above one whose cells all have text and of which one
    is a usual name of an image column.
    """
    start, title, head = 0, list[str](), text[:_SAMPLED_CHARACTERS]
    for _ in range(_MOST_TITLE_LINES):
        line = _first_line(head[start:])
        start = len(head) - len(_after_first_line(head[start:]))
        rest = head[start:]
        if not rest:
            break
        title.append(line)
        separator = _likeliest_separator(rest)
        names = next(iter(Delimited(rest, separator).sample(1)), [])
        is_header = len(names) > 1 and all(map(str.strip, names))
        if not is_header or not ranked(names, IMAGE_NAMES):
            continue
        cells = [[cell for cell in line.split(separator) if cell.strip(' "')] for line in title]
        if max(map(len, cells)) > 1 or ranked([cell for row in cells for cell in row], IMAGE_NAMES):
            break
        shown = " ".join(cell.strip() for row in cells for cell in row)
        return start, [f"passed over, above the names of the columns: {shown!r}"]
    return 0, []


def _first_line(text: str) -> str:
    return re.split(r"[\r\n]", text, maxsplit=1)[0]


def _after_first_line(text: str) -> str:
    return text[len(_first_line(text)) :].removeprefix("\r").removeprefix("\n")


def _line_ends(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


def _quotes_in_words(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return NEVER_CLOSED
    return "text behind a closing quote (a quote within a cell is written twice)"
