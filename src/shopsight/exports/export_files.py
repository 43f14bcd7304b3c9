"""The files of an export: which of DATA are some, and their rows as one table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import polars as pl

from shopsight import paths
from shopsight.errors import ArchiveError, CatalogError
from shopsight.exports.json_products import has_products, is_json, read_products
from shopsight.exports.layout import IMAGE, Layout, column_layout, missing_anchors, recognize
from shopsight.exports.platforms import PLATFORMS
from shopsight.exports.profiles import Profile
from shopsight.exports.translated import translated
from shopsight.exports.xml_feed import is_feed, is_xml, read_feed
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions
from shopsight.tables.delimited import Delimited, as_delimited
from shopsight.tables.long_texts import lines_of_text
from shopsight.tables.numbered_rows import ROW, read_numbered
from shopsight.tables.table_files import read_bytes, read_start, read_text, start_of
from shopsight.text import counted

FILE = "file"
"""Which of the files a row is of, from 0."""

# The names of columns may stand below rows of something else.
_MOST_ABOVE = 5
_LOOKED_AT_ROWS = 50


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
    with suppress(OSError, CatalogError, ArchiveError):
        start = start_of(path)
        if is_feed(start):
            return PLATFORMS["meta" if b"fb_product_category" in start else "google"]
        if has_products(start):
            return PLATFORMS["shopify"]
        if not (is_xml(start) or is_json(start)):
            text = read_start(Path(path))
            found = _header_of(as_delimited(text, path), None) if text.strip() else None
            return None if found is None else found.profile
    return None


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
    """The layout of a file, its rows by their roles, and notes."""
    data = read_bytes(file, Access(read.allow_private))
    label = read.label_columns[0] if len(read.label_columns) == 1 else None
    if is_xml(data) or is_json(data):
        found = read_feed(data, file) if is_xml(data) else read_products(data, file)
        header = found.columns[1:]
        profile = named or recognize(header)
        if profile is None or missing_anchors(profile, header):
            raise _no_export(file, header, named)
        layout = column_layout(profile, header, label=label)
        columns = [pl.col(header[at]).alias(role) for role, at in layout.places.items()]
        return replace(layout, is_text_table=False), found.select(ROW, *columns), ()
    text, notes = read_text(data, file, read)
    del data
    table = as_delimited(text, file)
    del text
    return _read_rows(table, file, named, read, notes, label)


def _read_rows(
    table: Delimited,
    file: str,
    named: Profile | None,
    read: ReadOptions,
    notes: Sequence[str],
    label: str | None,
) -> tuple[Layout, pl.DataFrame, Sequence[str]]:
    found = _header_of(table, named)
    if found is None:
        raise _no_export(file, next(iter(table.sample(1)), []), named)
    layouts: list[Layout] = []

    def keep(header: Sequence[str]) -> list[int]:
        layouts.append(column_layout(found.profile, header, known=found.known, label=label))
        return sorted(set(layouts[0].places.values()))

    rows = read_numbered(
        _from_row(table, found.place),
        file,
        on_bad_row=read.choice("on_bad_row"),
        keep=keep,
        first_row=table.first_line + found.place,
    )
    layout = layouts[0]
    columns = [pl.col(str(at)).alias(role) for role, at in layout.places.items()]
    about = [*notes, *rows.notes]
    if found.place:
        about.append(f"passed over, above the names of the columns: {counted(found.place, 'row')}")
    if found.known is not None:
        names = layout.name_of("text"), layout.name_of(f"{IMAGE}0")
        about.append(f"columns by their places and marks: title {names[0]!r}, images {names[1]!r}")
    if rows.num_blank:
        about.append(f"rows with nothing that is read: {rows.num_blank:,}")
    return layout, rows.frame.select(ROW, *columns), about


@dataclass(frozen=True)
class _Header:
    """The row of the names of columns.

    Attributes:
        profile: of the platform.
        place: of the row, from 0, blank ones counted.
        known: the names in the language of the profile, where they are in another.
    """

    profile: Profile
    place: int
    known: list[str] | None = None


def _header_of(table: Delimited, named: Profile | None) -> _Header | None:
    """The row of the names of columns, by a platform's anchors; None for any other table."""
    records = islice(table.numbered_records(), _LOOKED_AT_ROWS)
    rows = {place: row for place, (_, row, wrong) in records if not wrong}
    for place, row in islice(rows.items(), _MOST_ABOVE):
        profile = named or recognize(row)
        if profile is not None and not missing_anchors(profile, row):
            return _Header(profile, place)
    if not rows:
        return None
    (first, header), *others = rows.items()
    known = translated(header, [row for _, row in others])
    profile = recognize(known) if known else None
    if profile is None or (named is not None and named is not profile):
        return None
    return _Header(profile, first, known)


def _from_row(table: Delimited, place: int) -> Delimited:
    """The table without so many rows above the names of its columns."""
    if not place:
        return table
    reader = table.reader()
    for _ in range(place):
        # A title may hold any quotes.
        with suppress(csv.Error):
            next(reader)
    lines = islice(lines_of_text(table.text), reader.line_num)
    start = sum(map(len, lines))
    first_line = table.first_line + reader.line_num
    return Delimited(table.text[start:], table.separator, first_line, table.notes)


def _no_export(file: str, header: Sequence[str], named: Profile | None) -> CatalogError:
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
