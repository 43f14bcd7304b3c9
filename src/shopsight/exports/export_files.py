"""The files of an export: which of DATA are some, and their rows as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from shopsight import paths
from shopsight.errors import CatalogError
from shopsight.exports.layout import Layout, column_layout, missing_anchors, recognize
from shopsight.exports.profiles import PLATFORMS, Profile
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions
from shopsight.tables.delimited import Delimited, as_delimited
from shopsight.tables.long_texts import lines_of_text
from shopsight.tables.numbered_rows import ROW, read_numbered
from shopsight.tables.table_files import read_bytes, read_start, read_text

FILE = "file"
"""Which of the files a row is of, from 0."""

# The names of columns may stand below rows of something else.
_LOOKED_AT_ROWS = 5


@dataclass(frozen=True, eq=False)
class ExportRows:
    """The rows of an export.

    Attributes:
        profile: of its platform.
        files: their paths, in order.
        layouts: of each file.
        frame: the columns `file`, `row` (its number in the file, from 1), and those of the layouts
            by their roles; all cells are text, empty ones null.
        notes: how the files were read, a line each.
    """

    profile: Profile
    files: tuple[str, ...]
    layouts: tuple[Layout, ...]
    frame: pl.DataFrame
    notes: tuple[str, ...]

    def column(self, role: str) -> str:
        """The name of a column in the first file that has it; "" in none."""
        return next((name for one in self.layouts if (name := one.name_of(role))), "")

    def names(self) -> list[str]:
        """What the files are called in a catalog: their names, or paths where two have one name."""
        names = [paths.name_of(file) for file in self.files]
        return names if len(set(names)) == len(names) else list(self.files)


def platform_of(path: str) -> Profile | None:
    """The platform that a local file is of, by its first rows; None for any other file."""
    start = read_start(Path(path))
    if not start.strip():
        return None
    try:
        found = _header_of(as_delimited(start, path), None)
    except CatalogError:
        return None
    return None if found is None else found[0]


def read_export(files: Sequence[str], read: ReadOptions) -> ExportRows:
    """Read the files of one export.

    Args:
        files: paths or URLs, in the order in which the shop system wrote them.
        read: the platform, where it is not to be guessed, and how text tables are read.

    Raises:
        CatalogError: a file is no export of the platform, or of another than the first.
        TableError: a file cannot be read as a table.
    """
    named = None if read.platform is None else PLATFORMS[read.platform]
    parts: list[tuple[Layout, pl.DataFrame]] = []
    notes: list[str] = []
    for number, file in enumerate(files):
        layout, frame, about = _read_file(file, named, read)
        if parts and layout.profile != parts[0][0].profile:
            raise CatalogError(
                f"of {layout.profile.title}, and {files[0]} is of {parts[0][0].profile.title}",
                where=file,
                fix="name the files of one export, and the others in a command of their own",
            )
        parts.append((layout, frame.insert_column(0, _constant(FILE, number, len(frame)))))
        notes += [line if len(files) == 1 else f"{paths.name_of(file)}: {line}" for line in about]
    layouts = tuple(layout for layout, _ in parts)
    frame = pl.concat([frame for _, frame in parts], how="diagonal")
    if not len(frame):
        raise CatalogError("the export has no rows", where=files[0])
    return ExportRows(layouts[0].profile, tuple(files), layouts, frame, tuple(notes))


def _read_file(
    file: str, named: Profile | None, read: ReadOptions
) -> tuple[Layout, pl.DataFrame, Sequence[str]]:
    text, notes = read_text(read_bytes(file, Access(read.allow_private)), file, read)
    table = as_delimited(text, file)
    del text
    found = _header_of(table, named)
    if found is None:
        raise _no_export(file, table, named)
    profile, place = found
    layouts: list[Layout] = []
    label = read.label_columns[0] if len(read.label_columns) == 1 else None

    def keep(header: Sequence[str]) -> list[int]:
        layouts.append(column_layout(profile, header, label=label))
        return sorted(set(layouts[0].places.values()))

    rows = read_numbered(
        _from_row(table, place),
        file,
        on_bad_row=read.choice("on_bad_row"),
        keep=keep,
        first_row=table.first_line + place,
    )
    layout = layouts[0]
    columns = [pl.col(str(place)).alias(role) for role, place in layout.places.items()]
    blank = [f"rows with nothing that is read: {rows.num_blank:,}"] if rows.num_blank else []
    return layout, rows.frame.select(ROW, *columns), [*notes, *rows.notes, *blank]


def _header_of(table: Delimited, named: Profile | None) -> tuple[Profile, int] | None:
    """The platform of a table, and the place of the row of its columns' names; or None."""
    for place, (_, row, wrong) in enumerate(islice(table.records(), _LOOKED_AT_ROWS)):
        if wrong:
            continue
        if named is not None and not missing_anchors(named, row):
            return named, place
        if named is None and (profile := recognize(row)) is not None:
            return profile, place
    return None


def _from_row(table: Delimited, place: int) -> Delimited:
    """The table without so many rows above the names of its columns."""
    if not place:
        return table
    reader = table.reader()
    for _ in range(place):
        next(reader)
    lines = islice(lines_of_text(table.text), reader.line_num)
    start = sum(map(len, lines))
    first_line = table.first_line + reader.line_num
    return Delimited(table.text[start:], table.separator, first_line, table.notes)


def _no_export(file: str, table: Delimited, named: Profile | None) -> CatalogError:
    header = next(iter(table.sample(1)), [])
    known = "|".join(PLATFORMS)
    if named is None:
        return CatalogError(
            "not an export of a shop system that is known by its columns",
            where=file,
            details=[f"columns: {', '.join(header)}"],
            fix=f"--platform {known}\n--image COLUMN reads any other table",
        )
    missing = missing_anchors(named, header)
    other = recognize(header)
    hint = "" if other is None else f"; by its columns it is of {other.title}"
    return CatalogError(
        f"not an export of {named.title}{hint}",
        where=file,
        details=[f"no column {names}" for names in missing],
        fix=f"--platform {known if other is None else other.name}, or leave it out",
    )


def _constant(name: str, value: int, length: int) -> pl.Series:
    return pl.Series(name, [value], dtype=pl.Int64).new_from_index(0, length)
