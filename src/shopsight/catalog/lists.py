"""Lists: a path and its labels in each line, mostly without a header, often parted by blanks.

Lists of ImageNet, DeepFashion, CelebA or GroceryStore have no names for their columns, and nothing
but the files that are there tells where a path ends: a line is split at blanks only where that
gives a path that leads to a file, and a first row that names a file is no header.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import polars as pl

from shopsight.catalog.columns import Choice
from shopsight.errors import TableError
from shopsight.image_files.image_roots import names_of_files
from shopsight.images.kinds import has_image_suffix
from shopsight.read_options import ReadOptions
from shopsight.tables.column_names import IMAGE_NAMES, LABEL_NAMES, canonical, ranked
from shopsight.tables.delimited import Delimited, as_delimited
from shopsight.tables.row_check import Record, Row, RowCheck, named_frame
from shopsight.tables.table_names import may_be_list
from shopsight.tables.text_rows import to_frame
from shopsight.text import lines_of, listed

_SAMPLED_LINES = 50
_MOST_BLANKS_IN_PATH = 4
SEVERAL_LABELS = "--label-separator TEXT says what stands between several labels of an image"


def read_rows(text: str, path: str, read: ReadOptions) -> tuple[pl.DataFrame, list[str]]:
    """Read the rows of a table or list; columns without a header have the names "1", "2", ...

    Args:
        text: the table.
        path: its file.
        read: the folder of the images, the separator of labels, and what to do with rows that do
            not fit.

    Raises:
        TableError: rows do not fit, or the text is none.
    """
    table = as_delimited(text, path)
    on_bad_row = read.choice("on_bad_row")
    root = None if read.images_root is None else str(read.images_root)
    sample = table.sample(_SAMPLED_LINES)
    cells = dict.fromkeys(cell.strip() for row in sample for cell in row)
    found = names_of_files(cells, path, root)
    leading = sum(any(cell.strip() in found for cell in row) for row in sample)
    # A broken line of a list may be a path alone.
    is_unclear = leading <= len(sample) / 2
    if is_unclear and (may_be_list(path) or all(len(row) == 1 for row in sample)):
        lines = _lines_of(table, path, read)
        if lines is not None:
            return _frame_of_lines(lines, table, path, on_bad_row)
    if read.label_separator == table.separator and sample and not _has_header(sample, found):
        return _frame_of_two(table, path, on_bad_row)
    return to_frame(
        table, path, on_bad_row=on_bad_row, has_header=lambda rows: _has_header(rows, found)
    )


def is_list(text: str, path: str) -> bool:
    """Whether a text is a list of images that are there."""
    try:
        table = as_delimited(text, path)
    except TableError:
        return False
    cells = dict.fromkeys(cell.strip() for row in table.sample(_SAMPLED_LINES) for cell in row)
    if any(map(has_image_suffix, names_of_files(cells, path, None))):
        return True
    lines = _lines_of(table, path, ReadOptions())
    return lines is not None and any(map(has_image_suffix, lines.found))


def list_label(table: pl.DataFrame, taken: Collection[str]) -> Choice | None:
    """Choose the label column of a list, whose columns have numbers or no telling names for names.

    Several columns of numbers are alternative labels, such as fine and coarse classes: the first
    is taken.

    Args:
        table: the rows.
        taken: columns that mean something else.
    """
    free = [name for name in table.columns if name not in taken]
    if not is_numbered(table):
        # Such as `category_label` of DeepFashion's lists.
        free = [] if ranked(free, LABEL_NAMES) else [name for name in free if _is_label(name)]
    free = [name for name in free if not _is_running(table, name, taken)]
    if not free:
        return None
    words = [name for name in free if table[name].cast(pl.Float64, strict=False).null_count()]
    if len(words) > 1 or (words and len(free) > 1):
        return None  # Columns of words are told apart by what is in them.
    others = f" (also possible: {listed(free[1:])}; --label COLUMN)" if free[1:] else ""
    return Choice((free[0],), f"label from column {free[0]!r}{others}")


def _is_running(table: pl.DataFrame, name: str, taken: Collection[str]) -> bool:
    """Whether a column before the path numbers the rows, as in CUB's `1 001.Albatross/1.jpg`."""
    before = all(table.columns.index(name) < table.columns.index(other) for other in taken)
    return before and len(table) > 2 and table[name].n_unique() == len(table)


def _is_label(name: str) -> bool:
    return canonical(name).endswith(("_label", "_labels"))


def is_numbered(table: pl.DataFrame) -> bool:
    """Whether the columns have numbers for names, as those of lists without a header."""
    return table.columns == [str(number) for number in range(1, table.width + 1)]


def _has_header(rows: Sequence[Row], found: Collection[str]) -> bool:
    """Whether the first row names the columns, and no file."""
    first, second = rows[0], rows[1] if len(rows) > 1 else None
    for at, cell in enumerate(name.strip() for name in first):
        below = None if second is None or at >= len(second) else second[at].strip()
        if has_image_suffix(cell):
            if cell in found or below is None or has_image_suffix(below):
                return False
        elif (
            {cell, below} <= set(found)
            and not has_image_suffix(below or "")
            and canonical(cell) not in {*IMAGE_NAMES, *LABEL_NAMES}
        ):
            return False
    return True


def _frame_of_two(table: Delimited, path: str, on_bad_row: str) -> tuple[pl.DataFrame, list[str]]:
    """A list whose labels are parted by the same mark as its path from them: "a.jpg,red,blue"."""
    mark = table.separator
    check = RowCheck(path, 2, "of a path and its labels", SEVERAL_LABELS, joint=mark)
    records = (
        (line, [row[0], mark.join(row[1:])] if row else row, wrong)
        for line, row, wrong in table.records()
    )
    frame = check.frame(records, on_bad_row).with_columns(pl.all().str.strip_chars())
    frame, notes = named_frame(frame, check.names(), path)
    return frame, [*table.notes, *check.notes(), *notes]


@dataclass(frozen=True)
class _Cut:
    """Where lines are cut: so many words before the path, and so many behind it.

    With None behind it, all that follows the path is one cell, of several labels.
    """

    before: int
    behind: int | None

    @property
    def width(self) -> int:
        """The number of cells."""
        return self.before + 1 + (1 if self.behind is None else self.behind)

    def cells(self, line: str) -> Row:
        """The cells of a line; fewer where it is short."""
        *start, rest = line.split(None, self.before)
        if self.behind is None:
            return [*start, *rest.split(None, 1)]
        return [*start, *rest.rsplit(None, self.behind)]


@dataclass(frozen=True)
class _Lines:
    """A list whose cells are parted by blanks.

    Attributes:
        lines: the number of each line, and its text; the header included.
        cut: where they are cut.
        header: names of the columns, if the first line has them.
        found: pieces of lines that lead to files.
        notes: what was passed over.
    """

    lines: list[tuple[int, str]]
    cut: _Cut
    header: Row | None
    found: Collection[str]
    notes: list[str]


def _lines_of(table: Delimited, path: str, read: ReadOptions) -> _Lines | None:
    """Cut the lines of a text at blanks; None when no cut gives paths that lead to files."""
    root = None if read.images_root is None else str(read.images_root)
    lines = [
        (number, line.strip())
        for number, line in enumerate(lines_of(table.text), start=table.first_line)
        if line.strip()
    ]
    lines, notes = _without_count(lines)
    # A header may have fewer words than there are cells.
    sample = [line for _, line in lines[1 : _SAMPLED_LINES + 1] or lines]
    paths = {cut: [_path_of(cut, line) for line in sample] for cut in _cuts(sample)}
    found = names_of_files(set(chain.from_iterable(paths.values())), path, root)
    hits = {cut: [name for name in names if name in found] for cut, names in paths.items()}
    # Where an id without a suffix and a path both lead to files, the path is meant.
    cut = max(
        hits, key=lambda one: (len(hits[one]), sum(map(has_image_suffix, hits[one]))), default=None
    )
    if cut is None or not hits[cut]:
        return None
    if read.label_separator and not read.label_separator.strip():
        cut = _Cut(cut.before, None)
    first = lines[0][1]
    is_row = bool(names_of_files([_path_of(cut, first)], path, root))
    is_row = is_row or has_image_suffix(_path_of(cut, first))
    return _Lines(lines, cut, None if is_row else _header(first, cut), found, notes)


def _cuts(sample: Sequence[str]) -> Iterator[_Cut]:
    """The cuts to try: the longest paths first, a number before the path last."""
    most = max((len(line.split()) for line in sample), default=1)
    for before in (0, 1):
        for behind in range(most - before):
            # A path has few blanks, and lines may have a thousand labels.
            if behind >= most - before - 1 - _MOST_BLANKS_IN_PATH:
                yield _Cut(before, behind)


def _path_of(cut: _Cut, line: str) -> str:
    cells = cut.cells(line)
    return cells[cut.before] if cut.before < len(cells) else ""


def _header(line: str, cut: _Cut) -> Row:
    """Names of the columns; numbers where there are not as many names as cells."""
    names = line.split()
    if len(names) == cut.width - 1:
        return ["image", *names]  # As in CelebA's list of attributes.
    if len(names) == cut.width:
        return names
    return [*names[:1], *(str(number) for number in range(2, cut.width + 1))]


def _without_count(lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[str]]:
    """Pass over a first line that is the number of the rows, as in DeepFashion's lists."""
    if len(lines) < 2 or not lines[0][1].isdecimal() or lines[1][1].isdecimal():
        return lines, []
    count, rest = int(lines[0][1]), lines[1:]
    note = f"passed over: the first line, a count ({count:,})"
    if count not in {len(rest), len(rest) - 1}:
        note += f"; there are {len(rest):,} lines"
    return rest, [note]


def _frame_of_lines(
    lines: _Lines, table: Delimited, path: str, on_bad_row: str
) -> tuple[pl.DataFrame, list[str]]:
    cut = lines.cut
    check = RowCheck(path, cut.width, "parted by blanks", SEVERAL_LABELS, header=lines.header)
    rows = lines.lines if lines.header is None else lines.lines[1:]
    long = {_path_of(cut, line) for _, line in rows if len(line.split()) > cut.width}
    known = {*lines.found, *(name for name in long if has_image_suffix(name))}
    known |= names_of_files(long - known, path, None) if long - known else set()
    records = chain(
        [] if lines.header is None else [(0, lines.header, "")], _records(lines, rows, known)
    )
    frame = check.frame(records, on_bad_row)
    frame, notes = named_frame(frame, check.names(), path)
    return frame, [*table.notes, *lines.notes, *check.notes(), *notes]


def _records(
    lines: _Lines, rows: Iterable[tuple[int, str]], known: Collection[str]
) -> Iterator[Record]:
    """The cells of each line; a path with blanks in it must lead to a file."""
    cut = lines.cut
    for number, line in rows:
        cells = cut.cells(line)
        path = _path_of(cut, line)
        if len(path.split()) > 1 and path not in known:
            yield number, line.split(), ""
        else:
            yield number, cells, ""
