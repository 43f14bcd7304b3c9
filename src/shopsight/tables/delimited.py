"""How the text of a table is laid out: where its first row is, and what stands between cells."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, islice
from typing import Any

from shopsight.errors import TableError
from shopsight.tables.column_names import IMAGE_NAMES, ranked
from shopsight.tables.encodings import NAME_IT
from shopsight.tables.long_texts import lines_of_text
from shopsight.tables.row_check import NEVER_CLOSED, Row
from shopsight.text import counted

SEPARATORS = (",", "\t", ";", "|")

_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
# Of all characters; text of two bytes a character, read as one byte each, has far more.
_MOST_ZEROS = 0.05
_SAMPLED_ROWS = 200
_SAMPLED_CHARACTERS = 200_000
_MOST_TITLE_LINES = 4


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
