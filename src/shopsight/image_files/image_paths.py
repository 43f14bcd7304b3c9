"""The images of a table: for each row its file or address, and which rows have none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.errors import CatalogError
from shopsight.image_files.file_lookup import Folders
from shopsight.image_files.find_files import FoundFiles, find_files
from shopsight.image_files.image_cells import ImageNames, read_image_cells, stands_for_nothing
from shopsight.image_files.image_columns import ImageColumns, choose_image_columns
from shopsight.image_files.image_roots import MAX_FOLDERS, table_roots, with_chosen_root
from shopsight.images.kinds import has_image_suffix, suffix_of
from shopsight.paths import is_full, join
from shopsight.read_options import ReadOptions
from shopsight.text import as_unicode, counted

SHOWN_CELLS = 2
MAX_CELL_LENGTH = 30


@dataclass(frozen=True)
class ImagePaths:
    """The images of a table.

    Attributes:
        columns: the columns that name them.
        root: the folder that they are relative to.
        images: one for each image, with a suffix where the table has only ids.
        rows: the row of the table that each image is of, ascending; rows that name no image are
            not in it, and those that name several are in it more than once.
        unlisted: image files without a row, in the folders that the rows use.
        notes: lines for the user.
        roots: the folders below which the images may lie, as `Access.roots` has them.
    """

    columns: tuple[str, ...]
    root: str
    images: list[str]
    rows: Int64[np.ndarray, "n"]
    unlisted: tuple[str, ...]
    notes: tuple[str, ...]
    roots: tuple[str, ...] | None

    def take(self, places: Int64[np.ndarray, "m"]) -> ImagePaths:
        """Those of the images at these places, in this order."""
        return replace(
            self, images=[self.images[place] for place in places], rows=self.rows[places]
        )


def find_image_paths(table: pl.DataFrame, path: str, read: ReadOptions) -> ImagePaths:
    """Find the columns that name the images, the folder they lie in, and the files.

    Args:
        table: the user's table.
        path: its file.
        read: the columns and the folder, where the user named them, and what to do with rows
            that have no image.

    Raises:
        CatalogError: no column names existing files, or several do so equally well; a name could
            mean several files; no row names an image, or one does not and `read` refuses that.
    """
    images_root = None if read.images_root is None else str(read.images_root)
    roots = None if read.allow_outside else table_roots(path, images_root)
    folders = Folders(roots)
    choice = choose_image_columns(
        table,
        path,
        folders,
        named=read.image_columns,
        images_root=images_root,
        taken=[*read.label_columns, *(name for name in (read.group, read.text) if name)],
    )
    cells = [read_image_cells(table[column]) for column in choice.columns]
    names = _in_order_of_rows([cell.names for cell in cells])
    found = find_files(
        names,
        choice.root,
        folders=folders,
        most_folders=None if images_root else MAX_FOLDERS,
        take_whole_folder=images_root is not None,
        take_spread=True,
    )
    found.refuse_unclear(path)
    pairs = zip(names, found.files, strict=True)
    named = np.array([_names_an_image(name, file) for name, file in pairs], dtype=bool)
    rows = np.repeat(np.arange(len(table)), len(choice.columns))
    without = np.flatnonzero(np.bincount(rows[named], minlength=len(table)) == 0)
    if len(without) == len(table):
        raise CatalogError("no row names an image", where=path, fix="--image COLUMN")
    if read.choice("on_missing_image") == "error":
        _refuse_missing(table, path, found, named, rows, without)
    images = _with_suffixes(names, found)
    notes = [choice.note(), *_about_cells(cells), *found.notes()]
    notes += _about_rows(table, choice, found, named, without)
    kept = [images[place] for place in np.flatnonzero(named)]
    again = len(kept) - len(set(kept))
    if again:
        notes.append(f"rows that name an image again: {again:,}")
    unlisted = _unlisted(folders, choice.root, [file for file in found.files if file])
    if roots is not None:
        roots = with_chosen_root(roots, path, choice.root)
    return ImagePaths(choice.columns, choice.root, kept, rows[named], unlisted, tuple(notes), roots)


def with_groups_of_rows(columns: list[pl.Series], rows: Int64[np.ndarray, "n"]) -> list[pl.Series]:
    """Keep the images of one row in one part of a split, where no group does so.

    Args:
        columns: the catalog's columns, with or without `group`.
        rows: the row of the table that each image is of.
    """
    of_row = pl.Series("group", [f"row {row + 1}" for row in rows.tolist()], dtype=pl.String)
    given = next((column for column in columns if column.name == "group"), None)
    if given is None:
        return [*columns, of_row]
    filled = given.to_frame().select(pl.col("group").fill_null(of_row)).to_series()
    return [filled if column is given else column for column in columns]


def _in_order_of_rows(columns: Sequence[list[str]]) -> list[str]:
    """The first row's names in all columns, then those of the second ..."""
    if len(columns) == 1:
        return columns[0]
    return [name for row in zip(*columns, strict=True) for name in row]


def _names_an_image(name: str, file: str | None) -> bool:
    return bool(name) and (file is not None or not stands_for_nothing(name))


def _refuse_missing(
    table: pl.DataFrame,
    path: str,
    found: FoundFiles,
    named: np.ndarray,
    rows: np.ndarray,
    without: np.ndarray,
) -> None:
    """Stop, with each row that names no image, or one that is not there."""
    absent = [place for place in np.flatnonzero(named).tolist() if found.files[place] is None]
    if not absent and not len(without):
        return
    lines = {int(row): f"{_example(table, int(row))} names no image" for row in without}
    for place in absent:
        line = f"{_example(table, int(rows[place]))}: {found.names[place]} is not there"
        lines[int(rows[place])] = line
    raise CatalogError(
        f"{len(lines):,} of {counted(len(table), 'row')} name no image or a missing one",
        where=path,
        details=[lines[row] for row in sorted(lines)],
        fix="--on-missing-image skip leaves them out\n--images-root DIR names the images' folder",
    )


def _with_suffixes(names: Sequence[str], found: FoundFiles) -> list[str]:
    """The files; for a missing one its name, with the usual suffix where names lack one."""
    added = Counter(
        suffix_of(str(found.files[row]))
        for row, ways in found.ways.items()
        if "no suffix" in ways or "digits" in ways
    )
    # The audit names the missing file.
    usual = added.most_common(1)[0][0] if added else ""
    return [
        file or (name if has_image_suffix(name) else name + usual).replace("\\", "/")
        for name, file in zip(names, found.files, strict=True)
    ]


def _about_cells(cells: Sequence[ImageNames]) -> list[str]:
    several = [cell for cell in cells if cell.num_several]
    if not several:
        return []
    count = sum(cell.num_several for cell in several)
    example = _shortened(several[0].example, 100)
    return [
        f"several images in a cell, of which the first is taken: {counted(count, 'row')}, "
        f"e.g. {example}"
    ]


def _about_rows(
    table: pl.DataFrame,
    choice: ImageColumns,
    found: FoundFiles,
    named: np.ndarray,
    without: np.ndarray,
) -> list[str]:
    notes = []
    if len(choice.columns) > 1:
        images = counted(int(named.sum()), "image")
        notes.append(f"{images} of {counted(len(table) - len(without), 'row')}: each is a row")
    missing = sum(found.files[place] is None for place in np.flatnonzero(named).tolist())
    if missing:
        notes.append(f"{counted(missing, 'row')} of {int(named.sum()):,} without a file")
    if len(without):
        notes.append(
            f"rows that name no image, left out: {len(without):,} of {len(table):,}, "
            f"e.g. {_example(table, int(without[0]))} (--on-missing-image error refuses them)"
        )
    return notes


def _example(table: pl.DataFrame, row: int) -> str:
    """A row by its number, the first being 1, and its first cells."""
    cells = [str(cell) for cell in table.row(row) if cell is not None and str(cell).strip()]
    shown = ", ".join(_shortened(cell, MAX_CELL_LENGTH) for cell in cells[:SHOWN_CELLS])
    return f"row {row + 1:,}" + (f" ({shown})" if shown else "")


def _shortened(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[:length]}..."


def _unlisted(folders: Folders, root: str, used: list[str]) -> tuple[str, ...]:
    by_folder: dict[str, set[str]] = defaultdict(set)
    for name in used:
        if not is_full(name):
            head, slash, base = name.rpartition("/")
            by_folder[head + slash].add(base)
    left: list[str] = []
    for head, names in by_folder.items():
        files = filter(has_image_suffix, folders.listing(join(root, head)).files - names)
        left += [as_unicode(head + name) for name in files]
    return tuple(sorted(left))
