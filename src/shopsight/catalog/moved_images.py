"""The images of a catalog that shopsight wrote, where these lie elsewhere by now."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.image_files.find_files import find_files
from shopsight.images.idx import idx_member
from shopsight.paths import exists, full, is_folder, is_url, join
from shopsight.text import counted


def move_images(catalog: Catalog, root: str, where: str) -> Catalog:
    """Find the images of a catalog under another folder.

    Names that lead to a file there stay as they are; full paths, and those of another place, are
    matched by their ends (`find_files`). What is not found keeps its name, for the audit.

    Args:
        catalog: its image names are relative to another folder, or full paths.
        root: the folder or URL under which the images lie now.
        where: the table or run, for errors.

    Raises:
        CatalogError: there is no such folder, or a name could mean several files.
    """
    if not is_url(root) and not is_folder(root):
        raise CatalogError("no such folder of images", where=root, fix="--images-root DIR")
    files, members = _files_of(catalog)
    found = find_files(files, root)
    found.refuse_unclear(where)
    images = [
        (file or name) + member
        for name, file, member in zip(files, found.files, members, strict=True)
    ]
    note = f"images under {root}: {found.num_found:,} of {counted(len(images), 'row')} found"
    table = catalog.table.with_columns(pl.Series("image", images, dtype=pl.String))
    return replace(catalog, table=table, root=root).with_notes(note, *found.notes())


def refuse_missing_images(catalog: Catalog, where: str) -> None:
    """Stop where an image is not there; addresses are not asked.

    Raises:
        CatalogError: files are missing; they are named.
    """
    files, _ = _files_of(catalog)
    root = full(catalog.root)
    places = ((row, name, join(root, name)) for row, name in enumerate(files, 1))
    missing = [
        f"row {row:,}: {name} is not there"
        for row, name, place in places
        if not is_url(place) and not exists(place)
    ]
    if missing:
        raise CatalogError(
            f"{len(missing):,} of {counted(len(catalog), 'row')} name no image or a missing one",
            where=where,
            details=missing,
            fix="--on-missing-image skip leaves them out\n"
            "--images-root DIR names the images' folder",
        )


def _files_of(catalog: Catalog) -> tuple[list[str], list[str]]:
    """The files that the images are, or lie in, and what names an image in its file."""
    names = catalog.table["image"].to_list()
    files = [member[0] if (member := idx_member(name)) else name for name in names]
    return files, [name[len(file) :] for name, file in zip(names, files, strict=True)]
