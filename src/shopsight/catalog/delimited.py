"""The text of a table becomes rows and columns: strictly, with the line of what does not fit.

Python's csv module reads it, not polars, which fills up rows of too few cells without a word: a
million rows of 75 bytes take 3 s instead of .5 s, less than the look-up of their images.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from shopsight.catalog.encodings import NAME_IT, has_escapes
from shopsight.errors import TableError
from shopsight.text import as_unicode, counted, listed

SEPARATORS = (",", "\t", ";", "|")
ROWS_AT_ONCE = 20_000
SKIP_THEM = "--on-bad-row skip leaves out such rows"

NEVER_CLOSED = "a quote that is never closed"

_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_SAMPLED_ROWS = 200
_SAMPLED_CHARACTERS = 200_000
_LONGEST_ROW_SHOWN = 120
_LONGEST_CELL = 2**31 - 1

Row = list[str]
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
            io.StringIO(self.text, newline=""),
            delimiter=self.separator,
            # Blanks are a part of the cell, unless a quote follows.
            skipinitialspace=f'{self.separator} "' in self.text,
            strict=True,
        )

    def records(self) -> Iterator[tuple[int, Row, str]]:
        """Each row that is not blank: the line in which it begins, its cells, and what is wrong.

        What is wrong is that its quotes cannot be read, and "" mostly.
        """
        reader = self.reader()
        while True:
            line = self.first_line + reader.line_num
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, [], _quotes_in_words(error)
            else:
                if row:
                    yield line, row, ""

    def sample(self, rows: int = _SAMPLED_ROWS) -> list[Row]:
        """The cells of the first rows that can be read."""
        return [row for _, row, wrong in islice(self.records(), rows) if not wrong]


def lay_out(text: str, where: str) -> Delimited:
    """Find the first row and the separator.

    A line `sep=;`, as Excel writes and reads it, names the separator. Lines of comments (`#`)
    before the first row are passed over.

    Raises:
        TableError: the text is empty, or has zero bytes.
    """
    if "\0" in text:
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
        TableError: rows do not fit, or two columns have one name.
    """
    # The limit is the process's: it guards against files that end within a quote, as `strict` does.
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        rows = _Rows(table, where, has_header)
        frame = rows.read()
    finally:
        csv.field_size_limit(limit)
    rows.refuse_bad(on_bad_row, len(frame))
    frame, blank_notes = _without_blank_rows(frame)
    frame, notes = _named(frame, rows.names, where)
    return frame, [*table.notes, *rows.notes(), *blank_notes, *notes]


class _Rows:
    """The rows of a table as they are read: those that fit, and those that do not."""

    def __init__(self, table: Delimited, where: str, has_header: HasHeader | None) -> None:
        sample = table.sample()
        if not sample:
            # The only row cannot be read: `records` says why.
            sample = [[]]
        self.table = table
        self.where = where
        self.has_header = has_header is None or has_header(sample)
        self.header = sample[0] if self.has_header else []
        self.width = _width(sample, has_header=self.has_header)
        self.unclosed = False
        self.bad: list[str] = []
        self.bad_count = 0
        self.repeated: list[int] = []
        self.names = self._names()

    def read(self) -> pl.DataFrame:
        """The rows that fit; the others are looked at one by one, where there are any."""
        frames = self._all_fit()
        if frames is None:
            frames = [_frame(chunk, self.width) for chunk in self._chunks()]
        return pl.concat(frames)

    def _all_fit(self) -> list[pl.DataFrame] | None:
        """All rows, read without a look at each; None when one of them does not fit."""
        reader = self.table.reader()
        frames = [_frame([], self.width)]
        if has_escapes(self.table.text):
            return None
        try:
            if self.has_header:
                next(reader, None)
            while rows := list(islice(reader, ROWS_AT_ONCE)):
                widths = set(map(len, rows))
                if not widths <= {self.width, 0} or self.header in rows:
                    return None
                frames.append(_frame(list(filter(None, rows)), self.width))
        except csv.Error:
            return None
        return frames

    def _chunks(self) -> Iterator[list[Row]]:
        records = self.table.records()
        escaped = has_escapes(self.table.text)
        if self.has_header:
            line, _, wrong = next(records)
            if wrong:
                self._refuse(line, [], wrong)
        chunk: list[Row] = []
        for line, row, wrong in records:
            if wrong or len(row) != self.width or (escaped and any(map(has_escapes, row))):
                self._refuse(line, row, wrong)
            elif row == self.header:
                self.repeated.append(line)
            else:
                chunk.append(row)
                if len(chunk) == ROWS_AT_ONCE:
                    yield chunk
                    chunk = []
        yield chunk

    def refuse_bad(self, on_bad_row: str, good: int) -> None:
        """Stop when rows do not fit, unless they are to be left out and others are there."""
        if not self.bad_count or (on_bad_row == "skip" and good and not self.unclosed):
            return
        separator = "a tab" if self.table.separator == "\t" else f"'{self.table.separator}'"
        if self.unclosed:
            # To leave it out would leave out all that follows.
            raise TableError(
                f"the table ends within quotes, opened in {self.bad[-1]}",
                where=self.where,
                fix='close the quote there; a quote within a cell is written twice ("")',
            )
        quote_them = f'put cells that hold {separator} into double quotes ("...")'
        raise TableError(
            f"{counted(self.bad_count, 'row')} of {self.bad_count + good:,} cannot be read as "
            f"{counted(self.width, 'cell')} separated by {separator}",
            where=self.where,
            details=self.bad,
            fix=f"{NAME_IT if has_escapes(self.table.text) else quote_them}, or {SKIP_THEM}",
        )

    def notes(self) -> list[str]:
        notes = []
        if self.bad_count:
            notes.append(
                f"left out, not {counted(self.width, 'cell')}: {counted(self.bad_count, 'row')}, "
                f"e.g. {self.bad[0]}"
            )
        if self.repeated:
            lines = listed([f"{line:,}" for line in self.repeated])
            notes.append(f"left out, the header again: line {lines}")
        if not self.has_header:
            notes.append(
                f"no header: columns are named by their numbers, 1 to {self.width} "
                f"(first row: {_shown(next(iter(self.table.sample(1)), []), self.table.separator)})"
            )
        return notes

    def _names(self) -> list[str]:
        """Names of the columns; "" where the header has none."""
        if not self.has_header:
            return [str(number) for number in range(1, self.width + 1)]
        if any(map(has_escapes, self.header)):
            raise TableError(
                "the header has bytes that are not UTF-8",
                where=self.where,
                details=[_shown(self.header, self.table.separator)],
                fix=NAME_IT,
            )
        names = [name.strip() for name in self.header] + [""] * self.width
        return names[: self.width]

    def _refuse(self, line: int, row: Row, wrong: str) -> None:
        self.bad_count += 1
        if wrong == NEVER_CLOSED:
            self.unclosed = True
            self.bad.append(f"line {line:,}")
            return
        if len(self.bad) >= 5:
            self.bad.append("")  # An error shows the first five, and how many there are.
            return
        if not wrong:
            fits = len(row) == self.width
            wrong = "bytes that are not UTF-8" if fits else counted(len(row), "cell")
        shown = _shown(row, self.table.separator)
        self.bad.append(f"line {line:,}, {wrong}: {shown}" if row else f"line {line:,}, {wrong}")


def _frame(rows: list[Row], width: int) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * width
    frame = pl.DataFrame(
        [pl.Series(str(at), cells, dtype=pl.String) for at, cells in enumerate(columns)]
    )
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _without_blank_rows(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Leave out rows of nothing but separators, which Excel writes below a table."""
    kept = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    left = len(frame) - len(kept)
    return kept, [f"left out, all cells empty: {counted(left, 'row')}"] if left else []


def _named(frame: pl.DataFrame, names: Sequence[str], where: str) -> tuple[pl.DataFrame, list[str]]:
    """Give the columns their names; empty ones without a name, and mere copies, are left out."""
    by_name: dict[str, pl.Series] = {}
    first_at: dict[str, int] = {}
    copies = []
    for at, (name, column) in enumerate(zip(names, frame.iter_columns(), strict=True), start=1):
        if not name and column.null_count() == len(column):
            continue
        full = name or f"column {at}"
        if full not in by_name:
            by_name[full], first_at[full] = column.alias(full), at
        elif by_name[full].equals(column, null_equal=True):
            copies.append(full)
        else:
            raise TableError(
                f"two columns are named {full!r}",
                where=where,
                details=[
                    f"the columns {first_at[full]} and {at}; blanks around names do not count"
                ],
                fix="rename one of them in the first line of the table",
            )
    notes = [f"the column {name!r} is there again, with equal cells" for name in copies]
    return pl.DataFrame(list(by_name.values())), notes


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
    cells = len(Delimited(rest, separator).sample(1)[0]) if rest.strip() else 0
    if cells > 1 and len(comments[-1].split(separator)) == cells:
        start -= len(text[:start]) - text[:start].rindex(comments.pop())
    if not comments:
        return start, []
    return start, [f"passed over: {counted(len(comments), 'line')} of comments: {comments[0]!r}"]


def _first_line(text: str) -> str:
    return re.split(r"[\r\n]", text, maxsplit=1)[0]


def _after_first_line(text: str) -> str:
    return text[len(_first_line(text)) :].removeprefix("\r").removeprefix("\n")


def _line_ends(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


def _shown(row: Sequence[str], separator: str) -> str:
    text = as_unicode(separator.join(row)).replace("\r", " ").replace("\n", " ")
    return text if len(text) <= _LONGEST_ROW_SHOWN else f"{text[:_LONGEST_ROW_SHOWN]}..."


def _quotes_in_words(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return NEVER_CLOSED
    return "text behind a closing quote (a quote within a cell is written twice)"
