"""Images one after another from what callers pass: images, folders, tables, named data sets.

What is DATA for the other verbs is read here by the same `open_catalog`; labels are not looked at.
A folder stands for every image in it, whatever its sub-folders mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from shopsight.catalog.catalog import TABLE_ROW, Catalog
from shopsight.catalog.used_boxes import FOR_MODEL
from shopsight.datasets.data_access import folder_access
from shopsight.datasets.open import open_catalog, unused_options
from shopsight.datasets.registry import is_dataset
from shopsight.errors import CatalogError, RemoteError
from shopsight.exports.find_export import export_in_folder, find_export
from shopsight.image_files.scan import is_container, scan_folder
from shopsight.images.kinds import has_image_suffix
from shopsight.images.model_input import WHOLE_IMAGE, Box, box_at, without_box
from shopsight.io.access import PUBLIC, Access
from shopsight.io.logins import without_login
from shopsight.io.opening import list_folder
from shopsight.paths import is_file, is_url, join, name_of
from shopsight.progress import notify
from shopsight.read_options import NO_COLUMN, ReadOptions, flag_of
from shopsight.tables.table_names import is_table, may_be_list
from shopsight.text import as_unicode, listed

LISTED = 6
ROWS_AT_ONCE = 16_384
"""Rows of a table whose paths and boxes are made at a time: ten million paths take gigabytes."""


@dataclass(frozen=True, eq=False)
class NamedImage:
    """One image of a stream.

    Attributes:
        source: its path or URL, or "image 3" for the third input when that has no name.
        image: the path or URL again, or the image itself.
        access: which hosts in private networks may be asked for it.
        box: the part that counts; None is the whole image.
        boxed: who said so: the columns of its "table" (which may have none for this row), or the
            caller, who "asked" for this part; "no" where nobody could.
        row: of a table, its row, counted from 0.
        name: of a table, the image as the table names it.
    """

    source: str
    image: str | Path | bytes | Image.Image | np.ndarray
    access: Access = PUBLIC
    box: Box | None = None
    row: int | None = None
    name: str | None = None
    boxed: Literal["no", "table", "asked"] = "no"


ImageInput = str | Path | bytes | Image.Image | np.ndarray | Catalog | NamedImage
ImageInputs = ImageInput | Iterable[ImageInput]


def open_images(images: ImageInputs, read: ReadOptions | None = None) -> Iterator[NamedImage]:
    """Give the images one by one, in the callers' order.

    Tables and data sets in a list are read at once, so that what is wrong with them is known
    before the first image; those that an iterator gives, and all folders, when their turn comes.

    Args:
        images: a path, a URL, bytes, a PIL image, a uint8 array, a catalog, or any iterable of
            these. A folder stands for all images in it, a table or the name of a data set for its
            rows.
        read: how DATA is read; None guesses everything.

    Raises:
        CatalogError: DATA cannot be read, there is no image at all, or an option would change
            nothing.
    """
    read = read or ReadOptions()
    given = _one_by_one(images)
    if isinstance(given, Sequence):
        _refuse_unused(given, read)
        return _numbered([_with_tables_read(one, read) for one in given], read)
    return _numbered((_with_tables_read(one, read) for one in given), read)


def with_used_boxes(images: Iterable[NamedImage], *, used: bool) -> Iterator[NamedImage]:
    """The images as a network reads them: by the boxes of tables, or whole; the latter is said.

    A box that a caller asked for counts in either case.

    Args:
        images: in their order.
        used: whether the network looks at boxes. A row of a table with boxes may lack one: that is
            an error of its own.

    Raises:
        ImageError: boxes are used, and an image comes from where none has one.
    """
    notified = False
    for one in images:
        if used and one.box is None and one.boxed == "no":
            raise without_box(one.source)
        if used and one.box is None and one.boxed == "asked":
            one = replace(one, box=WHOLE_IMAGE)  # noqa: PLW2901
        if not used and one.box is not None and one.boxed == "table":
            if not notified:
                notified = True
                notify(f"boxes of the table: not used, {FOR_MODEL}")
            one = replace(one, box=None)  # noqa: PLW2901
        yield one


def asked_boxes(images: Iterable[NamedImage]) -> Iterator[NamedImage]:
    """Images to search for: the box that a table gives one says what is looked for in it."""
    for one in images:
        yield one if one.box is None else replace(one, boxed="asked")


def _one_by_one(images: ImageInputs) -> Iterable[ImageInput]:
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return list(images)
    if isinstance(images, str | Path | bytes | Image.Image | np.ndarray | Catalog | NamedImage):
        return [images]
    return images


def _refuse_unused(given: Sequence[ImageInput], read: ReadOptions) -> None:
    """Refuse options that none of the inputs uses."""
    unused = set(read.given())
    for one in given:
        if unused and isinstance(one, str | Path | Catalog):
            unused &= set(unused_options(read, one))
    if unused:
        flags = ", ".join(flag_of(name) for name in read.given() if name in unused)
        raise CatalogError(f"{flags} would change nothing here", fix=f"leave out {flags}")


def _with_tables_read(one: ImageInput, read: ReadOptions) -> ImageInput:
    if not isinstance(one, str | Path):
        return one
    data = str(one)
    is_file = is_table(data) or may_be_list(data)
    # A folder may have the name of a table.
    if is_dataset(data) or (is_file and not _is_folder(data)):
        return open_rows(data, read)
    if not _is_folder(data) and find_export(data, read):
        return open_rows(data, read)
    return one


def open_rows(data: str, read: ReadOptions) -> Catalog:
    """Read DATA, whose labels are not looked at unless `read` says which.

    Raises:
        CatalogError: it cannot be read.
    """
    wanted = read.without(unused_options(read, data))
    if not (wanted.label or wanted.drop or wanted.label_map):
        # Nor is it asked which column they are in.
        wanted = replace(wanted, label=NO_COLUMN)
    return open_catalog(data, wanted)


def _numbered(given: Iterable[ImageInput], read: ReadOptions) -> Iterator[NamedImage]:
    """Give all images, those without a name by their number."""
    number, names = 0, list[str]()
    for one in given:
        before = number
        for found in _images_of(one, read):
            number += 1
            yield found if isinstance(found, NamedImage) else NamedImage(f"image {number}", found)
        if number == before and len(names) < LISTED:
            names.append(one.name if isinstance(one, Catalog) else as_unicode(str(one)))
    if not number and names:
        raise CatalogError("there is no image here", where=listed(names))


def _images_of(
    one: ImageInput, read: ReadOptions
) -> Iterator[NamedImage | bytes | Image.Image | np.ndarray]:
    if isinstance(one, Catalog):
        yield from _rows(one)
    elif isinstance(one, str | Path):
        path = without_login(str(one))
        if _is_folder(path):
            yield from _in_folder(path, read)
        elif is_container(path) and is_file(path):
            yield from _rows(open_rows(path, read))
        else:
            yield NamedImage(path, path, PUBLIC.typed(path))
    else:
        yield one


def _is_folder(path: str) -> bool:
    if not is_url(path):
        # Unlike Path.is_dir, no error for what cannot be a path at all.
        return os.path.isdir(path)  # noqa: PTH112
    if has_image_suffix(path):
        return False
    try:
        files, folders = list_folder(path, PUBLIC.typed(path))
    except RemoteError:
        # Web servers list nothing. Where something is wrong, reading it as an image says what.
        return False
    return bool(folders) or bool(set(files) - {name_of(path)})


def _rows(catalog: Catalog) -> Iterator[NamedImage]:
    """The images of all rows, labeled or not."""
    for first in range(0, len(catalog), ROWS_AT_ONCE):
        piece = catalog.with_table(catalog.table.slice(first, ROWS_AT_ONCE))
        boxes = piece.boxes()
        names = piece.table["image"].to_list()
        # Of a table of which some rows name no image, or several, the user's own row numbers.
        known = TABLE_ROW in piece.table.columns
        rows = piece.table[TABLE_ROW].to_list() if known else range(first, first + len(piece))
        for index, (ref, name, row) in enumerate(zip(piece.refs(), names, rows, strict=True)):
            box = box_at(boxes, index)
            boxed: Literal["no", "table"] = "no" if boxes is None else "table"
            yield NamedImage(ref, ref, catalog.access, box, row, name, boxed)


def _in_folder(folder: str, read: ReadOptions) -> Iterator[NamedImage]:
    if read.label_pattern is not None:
        yield from _rows(open_rows(folder, read))
        return
    scan = scan_folder(folder, skip=read.skip_folder, follow_outside=read.allow_outside)
    # A name that no table takes is good enough for opening the file.
    names = sorted([*scan.images, *scan.not_unicode, *scan.outside])
    if not names and (scan.containers or scan.tables or export_in_folder(folder)):
        yield from _rows(open_rows(folder, read))
        return
    for line in replace(scan, not_unicode=[]).notes():
        notify(f"{as_unicode(folder)}: {line}")
    if names and scan.tables:
        notify(f"{as_unicode(folder)}: all images in it, whatever its tables say")
    access = folder_access(folder, read)
    for name in names:
        path = join(folder, name) if is_url(folder) else str(Path(folder) / name)
        yield NamedImage(path, path, access)
