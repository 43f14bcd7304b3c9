"""Catalogs from CSV, TSV and Parquet tables whose columns are named or guessed."""

from __future__ import annotations

import codecs
import difflib
from dataclasses import dataclass
from encodings.aliases import aliases
from pathlib import Path

import fsspec
import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.catalog.columns import (
    Choice,
    as_text,
    asked,
    choose_boxes,
    choose_group,
    choose_label,
    choose_split,
    choose_text,
    read_labels,
    read_split,
)
from shopsight.catalog.image_paths import find_image_paths
from shopsight.errors import CatalogError
from shopsight.read_options import NO_COLUMN, ReadOptions, flag_of
from shopsight.runtime import trusted_certificates
from shopsight.text import counted

CANONICAL = ("image", "label", "group", "split", "fold", *BOX_COLUMNS, "text")
SEPARATORS = (",", "\t", ";", "|")
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
TRIED = "tried without --encoding: UTF-16 by its mark, UTF-8, Windows-1252"


def table_catalog(path: str, read: ReadOptions | None = None) -> Catalog:
    """Read a table with one row per image (or per box in an image).

    Columns are guessed by name and content; every guess is in `Catalog.notes`. Cells are kept as
    they are: blanks around labels are the audit's to report.

    Args:
        path: a file or URL ending in .csv, .tsv or .parquet.
        read: columns that are not to be guessed, the folder of the images, the separator of
            labels in a cell, and the encoding.

    Raises:
        CatalogError: the table cannot be read, or a column cannot be guessed.
    """
    read = read or ReadOptions()
    table, notes = read_table(path, encoding=read.encoding)
    if not len(table):
        raise CatalogError("the table has no rows", where=path)
    _check_columns(table, read, path)
    root = None if read.images_root is None else str(read.images_root)
    located = find_image_paths(table, path, image=_first(read.image_columns), images_root=root)
    boxes, box_sources = choose_boxes(table, path)
    chosen = _choose(table, read, path, taken=[located.column, *box_sources])
    columns, column_notes = chosen.read(table, read.label_separator)
    used = {located.column, *box_sources, chosen.label.column, chosen.split.column}
    rest = _rest(table, used | {chosen.text.column}, group=chosen.group.column)
    images = pl.Series("image", located.images, dtype=pl.String)
    return Catalog(
        pl.DataFrame([images, *boxes, *columns]).hstack(rest),
        name=Path(path).name,
        root=located.root,
        notes=tuple(line for line in (*notes, *located.notes, *column_notes) if line),
        unlisted=located.unlisted,
    )


def _check_columns(table: pl.DataFrame, read: ReadOptions, path: str) -> None:
    named = {"image": read.image_columns, "label": read.label_columns}
    named |= {"group": _several(read.group), "text": _several(read.text)}
    for name, columns in named.items():
        for column in columns:
            if column != NO_COLUMN:
                asked(table, column, flag_of(name), path)


@dataclass(frozen=True)
class _Chosen:
    """The columns of a user's table that a catalog is made of, beside images and boxes."""

    label: Choice
    group: Choice
    split: Choice
    text: Choice

    def read(
        self, table: pl.DataFrame, label_separator: str | None
    ) -> tuple[list[pl.Series], list[str]]:
        """The catalog's columns, and a note on each that was guessed."""
        columns = []
        notes = [self.label.note, self.group.note, self.split.note, self.text.note]
        if self.label.column:
            labels, note = read_labels(table[self.label.column], label_separator)
            columns.append(labels.alias("label"))
            notes[1:1] = [note, _about_empty(labels)]
        if self.group.column:
            columns.append(as_text(table[self.group.column]).alias("group"))
        if self.split.column:
            columns.append(read_split(table[self.split.column]).alias("split"))
        if self.text.column:
            columns.append(as_text(table[self.text.column]).alias("text"))
        return columns, notes


def _choose(table: pl.DataFrame, read: ReadOptions, path: str, *, taken: list[str]) -> _Chosen:
    """Choose the columns: those that `read` names, and of the others the likeliest."""
    taken = [*taken, *read.label_columns, *(name for name in (read.group, read.text) if name)]
    split = choose_split(table, taken)
    taken += _columns(split)
    label = _given(_first(read.label_columns)) or choose_label(table, taken, path)
    taken += _columns(label)
    group = _given(read.group) or choose_group(table, label.column, taken)
    text = _given(read.text) or choose_text(table, [*taken, *_columns(group)])
    return _Chosen(label, group, split, text)


def read_table(path: str, *, encoding: str | None = None) -> tuple[pl.DataFrame, list[str]]:
    """Read a table as it is, CSV cells as text (so that "050" stays "050"); and its notes.

    Args:
        path: a file or URL.
        encoding: of a text table; None guesses.

    Raises:
        CatalogError: no such file, not a table, or an encoding that is unknown or does not fit.
    """
    try:
        with trusted_certificates(), fsspec.open(path, "rb") as file:
            data: bytes = file.read()
    except (OSError, ImportError, ValueError) as error:
        raise CatalogError(str(getattr(error, "strerror", None) or error), where=path) from error
    try:
        if path.lower().endswith(".parquet"):
            if encoding is not None:
                raise CatalogError("--encoding is for text tables, not for Parquet", where=path)
            return pl.read_parquet(data), []
        text, notes = _decode(data, encoding, path)
        separator = _separator_of(text)
        table = pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise CatalogError(
            f"not a readable table: {str(error).splitlines()[0]}", where=path
        ) from error
    return table.rename({name: name.strip() for name in table.columns}), notes


def _decode(data: bytes, encoding: str | None, where: str) -> tuple[str, list[str]]:
    if encoding is not None:
        return _decode_as(encoding, data, where), []
    if data.startswith(UTF16_MARKS):
        return data.decode("utf-16"), ["the table is UTF-16 text"]
    try:
        return data.removeprefix(UTF8_MARK).decode("utf-8"), []
    except UnicodeDecodeError:
        return _decode_as("cp1252", data, where), ["the table is not UTF-8: read as Windows-1252"]


def _decode_as(encoding: str, data: bytes, where: str) -> str:
    try:
        codec = codecs.lookup(encoding)
    except LookupError as error:
        known = sorted(set(aliases.values()))
        near = difflib.get_close_matches(encoding.replace("-", "_"), known, n=1, cutoff=0.5)
        raise CatalogError(
            f"{encoding!r} is not a known encoding"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            where=where,
            details=[TRIED],
            fix="--encoding NAME, such as utf-8, cp1252, shift_jis",
        ) from error
    try:
        return data.decode(codec.name).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
        raise CatalogError(
            f"the table is not {codec.name} text: {error}",
            where=where,
            details=[TRIED],
            fix="--encoding NAME, such as utf-8, cp1252, shift_jis",
        ) from error


def _separator_of(text: str) -> str:
    header = text.partition("\n")[0]
    return max(SEPARATORS, key=header.count)


def _several(column: str | None) -> tuple[str, ...]:
    return () if column is None else (column,)


def _first(columns: tuple[str, ...]) -> str | None:
    return columns[0] if columns else None


def _given(column: str | None) -> Choice | None:
    if column is None:
        return None
    return Choice(None if column == NO_COLUMN else column)


def _columns(choice: Choice) -> list[str]:
    return [choice.column] if choice.column else []


def _about_empty(labels: pl.Series) -> str:
    empty = labels.null_count()
    return f"{counted(empty, 'row')} without a label" if empty else ""


def _rest(table: pl.DataFrame, used: set[str | None], *, group: str | None) -> pl.DataFrame:
    """The source's other columns; names that mean something in a catalog are set aside."""
    # The group keeps its own name too, so that `--group sender_id` still finds it.
    used = used | ({"group"} if group == "group" else set())
    rest = table.select([name for name in table.columns if name not in used])
    if "fold" in rest.columns and rest["fold"].cast(pl.Int64, strict=False).null_count() == 0:
        rest = rest.with_columns(pl.col("fold").cast(pl.Int64))
        reserved = [name for name in CANONICAL if name != "fold"]
    else:
        reserved = list(CANONICAL)
    return rest.rename({name: f"{name}_source" for name in rest.columns if name in reserved})
