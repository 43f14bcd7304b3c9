"""A text table of somebody else's is written back with some cells changed, and no other byte.

Its encoding, byte order mark, quotes, line ends, blank rows and what stands above the names of its
columns stay as they are: what is not changed is copied, not written anew.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from shopsight.errors import TableError
from shopsight.read_options import ReadOptions
from shopsight.tables.delimited import Delimited, as_delimited
from shopsight.tables.encodings import Decoded, decode_bytes
from shopsight.tables.long_texts import lines_of_text
from shopsight.text import counted

Place = tuple[int, int]
"""A row in its file, from 1 as a spreadsheet counts, and a column, from 0."""

_LOOKED_AT_ROWS = 1000
_LONGEST_CELL = 2**31 - 1
_MARKS = (
    # UTF-32's mark begins with that of UTF-16.
    codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE,
    codecs.BOM_UTF8,
)  # fmt: skip


@dataclass(frozen=True)
class TextRow:
    """A row of a text.

    Attributes:
        tokens: its cells as they stand there, with their quotes.
        starts: where each begins in the text of the table.
    """

    tokens: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TableBytes:
    """The bytes of a text table, to be written back.

    Attributes:
        where: the file, for errors.
        mark: its byte order mark, or nothing.
        decoded: its text and its encoding.
        table: how the text is laid out.
    """

    where: str
    mark: bytes
    decoded: Decoded
    table: Delimited

    @classmethod
    def of(cls, data: bytes, where: str, read: ReadOptions | None = None) -> TableBytes:
        """The table that these bytes are.

        Args:
            data: the whole file.
            where: its name, for errors.
            read: its encoding, where that is not to be guessed.

        Raises:
            TableError: the bytes are no text, or text that would be written with other bytes.
        """
        decoded = decode_bytes(data, (read or ReadOptions()).encoding, where)
        is_unicode = decoded.encoding.startswith("utf-")
        mark = next((mark for mark in _MARKS if is_unicode and data.startswith(mark)), b"")
        found = cls(where, mark, decoded, as_delimited(decoded.text, where))
        if mark + found._encoded(decoded.text) != data:
            raise TableError(
                f"read as {decoded.encoding}, it cannot be written back byte for byte",
                where=where,
                fix="--encoding NAME, or export it anew as CSV (UTF-8)",
            )
        return found

    def with_cells(self, cells: Mapping[Place, str]) -> bytes:
        """The bytes with these cells changed.

        Args:
            cells: what each is to hold, without quotes; a cell gets quotes where its text needs
                them, or where others of its column have them without need.

        Raises:
            TableError: there is no such cell, or the encoding does not have its letters.
        """
        rows = self.rows({row for row, _ in cells})
        quoted = {column: self._is_quoted(column) for column in {place[1] for place in cells}}
        parts, done, text = [self.mark, self._encoded(self._above)], 0, self.table.text
        for (row, column), value in sorted(cells.items()):
            start, old = self._token(rows, row, column)
            parts.append(self._encoded(text[done:start]))
            parts.append(self._written(value, old, row, quoted=quoted[column]))
            done = start + len(old)
        return b"".join([*parts, self._encoded(text[done:])])

    def only(
        self, header: int, rows: Sequence[int], columns: Sequence[int], cells: Mapping[Place, str]
    ) -> bytes:
        """The bytes of a table of some rows and columns.

        Args:
            header: the row with the names of the columns.
            rows: those to keep, in their order.
            columns: likewise.
            cells: what changes, as in `with_cells`.

        Raises:
            TableError: as there.
        """
        found = self.rows({header, *rows})
        quoted = {column: self._is_quoted(column) for column in columns}
        separator, end = self._encoded(self.table.separator), self._encoded(self.line_end)
        lines = [self.mark]
        for row in (header, *rows):
            written = []
            for column in columns:
                _, old = self._token(found, row, column)
                value = cells.get((row, column))
                is_new = value is not None and row != header
                written.append(
                    self._written(str(value), old, row, quoted=quoted[column])
                    if is_new
                    else self._encoded(old)
                )
            lines.append(separator.join(written) + end)
        return b"".join(lines)

    @property
    def line_end(self) -> str:
        """What ends the first line."""
        first = next(lines_of_text(self.table.text), "")
        return first[len(first.rstrip("\r\n")) :] or "\n"

    def rows(self, wanted: Collection[int]) -> dict[int, TextRow]:
        """Some rows, by their numbers.

        Raises:
            TableError: there is no such row, or its quotes cannot be read.
        """
        found: dict[int, TextRow] = {}
        last = max(wanted, default=0)
        for number, start, row in self.records():
            if number > last:
                break
            if number in wanted:
                found[number] = self._tokens(start, row, number)
        missing = sorted(set(wanted) - set(found))
        if missing:
            raise TableError(f"there is no row {missing[0]:,}", where=self.where)
        return found

    @property
    def _above(self) -> str:
        """What stands above the first row that is read."""
        text = self.decoded.text
        return text[: len(text) - len(self.table.text)]

    def records(self) -> Iterator[tuple[int, int, list[str]]]:
        """Each row: its number, where it begins in the text, and its cells."""
        end = 0

        def counted_lines() -> Iterator[str]:
            nonlocal end
            for line in lines_of_text(self.table.text):
                end += len(line)
                yield line

        # The limit is the process's, see `shopsight.tables.text_rows`.
        limit = csv.field_size_limit(_LONGEST_CELL)
        reader = csv.reader(
            counted_lines(),
            delimiter=self.table.separator,
            skipinitialspace=self.table.has_blanks_before_quotes,
            strict=True,
        )
        try:
            start, number = 0, self.table.first_line
            for row in reader:
                yield number, start, row
                start, number = end, number + 1
        except csv.Error as error:
            raise TableError(
                f"its quotes cannot be read from row {number:,} on: {error}", where=self.where
            ) from error
        finally:
            csv.field_size_limit(limit)

    def _tokens(self, start: int, cells: Sequence[str], number: int) -> TextRow:
        """The cells of a row as they stand in the text, from where it begins."""
        text, separator = self.table.text, self.table.separator
        tokens, starts = list[str](), list[int]()
        place = start
        for cell in cells:
            if self.table.has_blanks_before_quotes:
                while text.startswith(" ", place) and separator != " ":
                    place += 1
            end = _token_end(text, place, separator)
            token = text[place:end]
            # What Python's reader made of it; otherwise another byte would be changed.
            if _unquoted(token) != cell:
                raise TableError(f"the quotes of row {number:,} are not clear", where=self.where)
            tokens.append(token)
            starts.append(place)
            place = end + len(separator)
        return TextRow(tuple(tokens), tuple(starts))

    def _token(self, rows: Mapping[int, TextRow], row: int, column: int) -> tuple[int, str]:
        found = rows[row]
        if column >= len(found.tokens):
            raise TableError(
                f"row {row:,} has {counted(len(found.tokens), 'cell')}, and no column {column + 1}",
                where=self.where,
                fix="complete the row in the shop system, and export it anew",
            )
        return found.starts[column], found.tokens[column]

    def _is_quoted(self, column: int) -> bool:
        """Whether the column's cells are in quotes that they do not need."""
        for number, start, row in islice(self.records(), 1, _LOOKED_AT_ROWS):
            if column < len(row) and row[column] and not self._needs_quotes(row[column]):
                return self._tokens(start, row, number).tokens[column].startswith('"')
        return False

    def _needs_quotes(self, value: str) -> bool:
        marks = (self.table.separator, '"', "\r", "\n")
        return value != value.strip() or any(mark in value for mark in marks)

    def _written(self, value: str, old: str, row: int, *, quoted: bool) -> bytes:
        if quoted or old.startswith('"') or self._needs_quotes(value):
            escaped = value.replace('"', '""')
            value = f'"{escaped}"'
        try:
            return self._encoded(value)
        except UnicodeEncodeError as error:
            raise TableError(
                f"row {row:,}: {value} has letters that {self.decoded.encoding} has not",
                where=self.where,
                fix="export it anew as CSV (UTF-8)",
            ) from error

    def _encoded(self, text: str) -> bytes:
        # Bytes that are not of its encoding were read as surrogates.
        return text.encode(self.decoded.encoding, "surrogateescape")


def _token_end(text: str, start: int, separator: str) -> int:
    """Where the cell ends that begins here."""
    if text.startswith('"', start):
        place = text.find('"', start + 1)
        while text.startswith('"', place + 1):
            place = text.find('"', place + 2)
        return place + 1
    found = _cell_end(separator).search(text, start)
    return len(text) if found is None else found.start()


@cache
def _cell_end(separator: str) -> re.Pattern[str]:
    return re.compile(rf"[{re.escape(separator)}\r\n]")


def _unquoted(token: str) -> str:
    return token[1:-1].replace('""', '"') if token.startswith('"') else token
