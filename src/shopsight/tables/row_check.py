"""Rows of text that must have as many cells as the others; those that do not, by their lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from shopsight.errors import SHOWN_DETAILS, TableError
from shopsight.tables.encodings import NAME_IT, has_escapes
from shopsight.text import as_unicode, counted, listed

ROWS_AT_ONCE = 20_000
SKIP_THEM = "--on-bad-row skip leaves out such rows"
NEVER_CLOSED = "a quote that is never closed"
_LONGEST_ROW_SHOWN = 120

Row = list[str]
Record = tuple[int, Row, str]
"""The line in which a row begins, its cells, and what is wrong with it, mostly "".
"""


@dataclass
class RowCheck:
    """What rows must be, and those that are not.

    Attributes:
        where: the file, for errors.
        width: how many cells a row must have.
        parted_by: how cells are told apart, in words.
        way_out: what can be done about rows of another number of cells.
        header: the first row, when it names the columns.
        joint: what to show between the cells of a row.
        escaped: the text has bytes that are not of its encoding.
        kept_lines: the line in which each row begins that `frame` kept.
    """

    where: str
    width: int
    parted_by: str
    way_out: str
    header: Row | None = None
    joint: str = " "
    escaped: bool = False
    kept_lines: list[int] = field(default_factory=list)
    _bad: list[str] = field(default_factory=list)
    _repeated: list[int] = field(default_factory=list)
    _unclosed: str = ""

    def frame(self, records: Iterable[Record], on_bad_row: str) -> pl.DataFrame:
        """The rows that fit, without the header.

        Args:
            records: all rows, the header first when there is one.
            on_bad_row: "error" stops at rows that do not fit; "skip" leaves them out.

        Raises:
            TableError: rows do not fit and are not to be left out; or none does.
        """
        frames = [frame_of(chunk, self.width) for chunk in self._fitting(iter(records))]
        frame = pl.concat(frames)
        self._refuse_bad(on_bad_row, len(frame))
        return frame

    def names(self) -> list[str]:
        """Names of the columns: "" where the header has none, numbers without a header."""
        if self.header is None:
            return [str(number) for number in range(1, self.width + 1)]
        names = [name.strip() for name in self.header] + [""] * self.width
        return names[: self.width]

    def notes(self) -> list[str]:
        """What was left out, and that there is no header."""
        notes = []
        if self._bad:
            notes.append(
                f"left out, not {counted(self.width, 'cell')}: {counted(len(self._bad), 'row')}, "
                f"e.g. {self._bad[0]}"
            )
        if self._repeated:
            lines = listed([f"{line:,}" for line in self._repeated])
            notes.append(f"left out, the header again: line {lines}")
        if self.header is None:
            notes.append(f"no header: columns are named by their numbers, 1 to {self.width}")
        return notes

    def _fitting(self, records: Iterator[Record]) -> Iterator[list[Row]]:
        """The rows that fit, many at a time; at least one chunk, which may be empty."""
        if self.header is not None:
            line, _, wrong = next(records)
            if wrong:
                self._keep_bad(line, [], wrong)
        chunk: list[Row] = []
        for line, row, wrong in records:
            if wrong or len(row) != self.width or (self.escaped and any(map(has_escapes, row))):
                self._keep_bad(line, row, wrong)
            elif row == self.header:
                self._repeated.append(line)
            else:
                chunk.append(row)
                self.kept_lines.append(line)
                if len(chunk) == ROWS_AT_ONCE:
                    yield chunk
                    chunk = []
        yield chunk

    def _keep_bad(self, line: int, row: Row, wrong: str) -> None:
        if wrong == NEVER_CLOSED:
            self._unclosed = f"line {line:,}"
        if len(self._bad) >= SHOWN_DETAILS:
            self._bad.append("")  # Only the first ones are shown, with the number of all.
            return
        if not wrong:
            fits = len(row) == self.width
            wrong = "bytes that are not UTF-8" if fits else counted(len(row), "cell")
        shown = f": {shown_row(row, self.joint)}" if row else ""
        self._bad.append(f"line {line:,}, {wrong}{shown}")

    def _refuse_bad(self, on_bad_row: str, good: int) -> None:
        if self._unclosed:
            # To leave it out would leave out all that follows.
            raise TableError(
                f"the table ends within quotes, opened in {self._unclosed}",
                where=self.where,
                fix='close the quote there; a quote within a cell is written twice ("")',
            )
        if not self._bad or (on_bad_row == "skip" and good):
            return
        bad = len(self._bad)
        way_out = f"{NAME_IT if self.escaped else self.way_out}, or {SKIP_THEM}"
        if self.header is not None and bad > good:
            way_out = "delete what stands above the names of the columns, if line 1 is a title\n"
            way_out += f"or {self.way_out}"
        raise TableError(
            f"{counted(bad, 'row')} of {bad + good:,} cannot be read as "
            f"{counted(self.width, 'cell')} {self.parted_by}",
            where=self.where,
            details=self._bad,
            fix=way_out,
        )


def shown_row(row: Sequence[str], joint: str) -> str:
    """A row in one short line."""
    text = as_unicode(joint.join(row)).replace("\r", " ").replace("\n", " ")
    return text if len(text) <= _LONGEST_ROW_SHOWN else f"{text[:_LONGEST_ROW_SHOWN]}..."


def frame_of(rows: list[Row], width: int) -> pl.DataFrame:
    """Rows as columns of text without names; empty cells are null."""
    columns = zip(*rows, strict=True) if rows else [()] * width
    frame = pl.DataFrame(
        [pl.Series(str(at), cells, dtype=pl.String) for at, cells in enumerate(columns)]
    )
    return empty_as_null(frame)


def empty_as_null(frame: pl.DataFrame) -> pl.DataFrame:
    """The cells of text, null where one is empty."""
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def named_frame(
    frame: pl.DataFrame, names: Sequence[str], where: str
) -> tuple[pl.DataFrame, list[str]]:
    """Give the columns their names.

    Rows of nothing but separators, which Excel writes below a table, columns without a name and a
    cell, and mere copies of a column are left out.

    Args:
        frame: the rows.
        names: of the columns; "" where the header has none.
        where: the file, for the error.

    Returns:
        The table, and notes on what was left out.

    Raises:
        TableError: two columns have one name.
    """
    kept = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    blank = len(frame) - len(kept)
    frame = kept
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
    notes = [f"left out, all cells empty: {counted(blank, 'row')}"] if blank else []
    notes += [f"the column {name!r} is there again, with equal cells" for name in copies]
    return pl.DataFrame(list(by_name.values())), notes
