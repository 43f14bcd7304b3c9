"""Blouses and trousers (Lamoda): two classes, given by the file names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import SourceError
from shopsight.folders.label_patterns import pattern_catalog
from shopsight.image_files.scan import scan_folder

PATTERN = r"_(?P<label>bluzy|bryuki)\.[A-Za-z]+$"
ENGLISH = {"bluzy": "blouse", "bryuki": "trousers"}


def open_lamoda(root: Path | None) -> Catalog:
    """Read 13,476 photos named `..._bluzy.jpg` or `..._bryuki.jpg`.

    The labels are "blouse" and "trousers". The test photos have no label in their names and are
    `unlisted`.

    Args:
        root: the folder of the photos, which may lie deeper in it.

    Raises:
        SourceError: `root` is None; no public host offers the photos.
        CatalogError: no file name under `root` ends like that.
    """
    if root is None:
        raise SourceError(
            "the Lamoda photos are on no public host",
            where="lamoda",
            fix="--root FOLDER with the files *_bluzy.jpg and *_bryuki.jpg",
        )
    catalog = pattern_catalog(scan_folder(str(root)), PATTERN, name="lamoda", root=str(root))
    test = catalog.table.filter(pl.col("label").is_null())["image"].to_list()
    table = catalog.table.drop_nulls("label").with_columns(pl.col("label").replace_strict(ENGLISH))
    named = catalog.with_table(table).with_notes("bluzy is called blouse, bryuki trousers")
    return replace(named, unlisted=tuple(test))
