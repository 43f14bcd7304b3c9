"""The part of its image that a row of a table is about: four columns of a box, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int64

from shopsight.catalog.catalog import BOX_COLUMNS
from shopsight.errors import CatalogError
from shopsight.tables.cell_numbers import decimal_numbers
from shopsight.tables.cell_text import as_text
from shopsight.tables.column_names import BOX_NAMES_CORNERS, BOX_NAMES_SIZE, canonical
from shopsight.text import counted, listed


@dataclass(frozen=True)
class Boxes:
    """The boxes of a table.

    Attributes:
        columns: x, y, width and height of each row that is kept; empty without boxes.
        sources: the columns that they come from.
        kept: the rows that are kept.
        notes: lines for the user.
    """

    columns: list[pl.Series]
    sources: list[str]
    kept: Int64[np.ndarray, "m"]
    notes: tuple[str, ...] = ()


def read_boxes(
    table: pl.DataFrame, where: str, *, rows: Int64[np.ndarray, "n"], on_bad_row: str
) -> Boxes:
    """Find the four columns of a box by their names, and read them.

    A row without any number in them is about the whole image.

    Args:
        table: the rows that name images.
        where: the file, for errors.
        rows: their numbers in the file, from 0.
        on_bad_row: "error" stops at boxes that are none; "skip" leaves their rows out.

    Raises:
        CatalogError: a cell is not a number, a box has no area or lacks a number, or boxes are
            fractions of their images.
    """
    kept = np.arange(len(table))
    sources = _box_columns(table)
    if not sources:
        return Boxes([], [], kept)
    numbers = [_numbers(table[source], where).fill_nan(None) for source in sources]
    edges = np.stack([column.fill_null(np.nan).to_numpy() for column in numbers], axis=1)
    boxes = edges.copy()
    if tuple(map(canonical, sources)) in BOX_NAMES_CORNERS:
        boxes[:, 2:] -= boxes[:, :2]
    bad = _are_none(boxes)
    lines = [f"row {rows[row] + 1:,}: {_shown(sources, edges[row])}" for row in np.flatnonzero(bad)]
    if lines and (on_bad_row == "error" or bad.all()):
        raise CatalogError(
            f"{counted(len(lines), 'box')} of {len(table):,} without an area",
            where=where,
            details=lines,
            fix="correct the numbers; a row without any is about the whole image\n"
            "--on-bad-row skip leaves out such rows",
        )
    kept = np.flatnonzero(~bad)
    boxes = boxes[kept]
    known = ~np.isnan(boxes).all(axis=1)
    _refuse_fractions(boxes[known], sources, where)
    notes = [f"boxes from columns {listed(sources)}"] if known.any() else []
    if notes and not known.all():
        notes[0] += f"; {counted(int((~known).sum()), 'row')} without one: the whole image"
    if lines:
        notes.append(
            f"left out, boxes without an area: {counted(len(lines), 'row')}, e.g. {lines[0]}"
        )
    columns = [
        pl.Series(name, boxes[:, at], dtype=pl.Float64).fill_nan(None)
        for at, name in enumerate(BOX_COLUMNS)
    ]
    return Boxes(columns, sources, kept, tuple(notes))


def _box_columns(table: pl.DataFrame) -> list[str]:
    by_name = {canonical(column): column for column in table.columns}
    for names in (*BOX_NAMES_SIZE, *BOX_NAMES_CORNERS):
        if all(name in by_name for name in names):
            return [by_name[name] for name in names]
    return []


def _are_none(boxes: Float64[np.ndarray, "n 4"]) -> Bool[np.ndarray, "n"]:
    """Rows with some numbers that make no box."""
    is_whole_image = np.isnan(boxes).all(axis=1)
    has_area = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    none: Bool[np.ndarray, "n"] = ~(is_whole_image | has_area)
    return none


def _refuse_fractions(
    boxes: Float64[np.ndarray, "n 4"], sources: Sequence[str], where: str
) -> None:
    """Refuse boxes that all lie within one pixel: they are in parts of the image's sides."""
    if not len(boxes) or (boxes[:, :2] + boxes[:, 2:]).max() > 1:
        return
    raise CatalogError(
        "all boxes lie within one pixel: they seem to be fractions of the image's sides",
        where=where,
        details=[f"such as {_shown(BOX_COLUMNS, row)}" for row in boxes[:1]],
        fix="multiply them by the image's width and height, or rename the columns "
        f"({listed(sources)}): then they are left alone",
    )


def _numbers(column: pl.Series, where: str) -> pl.Series:
    numbers = decimal_numbers(column, where)
    if numbers.null_count() > as_text(column).null_count():
        bad = column.filter(numbers.is_null() & column.is_not_null())[0]
        raise CatalogError(f"column {column.name!r} holds {bad!r}, not a number", where=where)
    return numbers


def _shown(names: Sequence[str], numbers: Float64[np.ndarray, "4"]) -> str:
    """`"x1=10, y1=20, x2=10, y2=none"`."""
    cells = ("none" if np.isnan(number) else f"{number:g}" for number in numbers)
    return ", ".join(f"{name}={cell}" for name, cell in zip(names, cells, strict=True))
