"""Catalogs from folders: a sub-folder per class, splits above them or in them."""

from __future__ import annotations

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.folders.folder_classes import read_classes
from shopsight.folders.folder_layout import Layout, read_layout
from shopsight.folders.folder_tree import folder_tree
from shopsight.folders.label_patterns import Reading
from shopsight.image_files.scan import Scan
from shopsight.tables.split_names import is_split
from shopsight.text import command_line, counted


def folder_catalog(scan: Scan, *, name: str, root: str) -> Catalog:
    """Read labels, splits and groups from the folders that the images lie in.

    `shirt/1.jpg` has the label "shirt"; `train/shirt/1.jpg` also has the split "train". A single
    folder around everything is ignored. Images in no class folder, and those in a folder named
    `predict` or `unlabeled`, are rows without a label.

    Args:
        scan: the files under `root`.
        name: name of the catalog.
        root: the folder.

    Raises:
        CatalogError: there are no images, or it is not clear which folders are classes.
    """
    if not scan.images:
        raise scan.no_images(root)
    table = pl.DataFrame({"image": scan.rows}).with_columns(folder=_folder_of("image"))
    sizes = dict(table["folder"].value_counts().sort("folder").iter_rows())
    tree = folder_tree(sizes)
    try:
        layout = read_layout(tree, root=root)
    except CatalogError as error:
        raise _or_table(error, scan, root) from None
    classes = read_classes(layout.places, tree)
    if any(reading.label is not None for reading in classes.readings.values()):
        readings, notes = _with_split(classes.readings, layout)
    else:
        readings, notes = _without_labels(layout)
    table = _joined(table, readings)
    about = _about_classes(table)
    return Catalog(
        table,
        name,
        root,
        notes=(*notes, *layout.notes, *about, *classes.notes, *_about_tables(scan), *scan.notes()),
    )


def _folder_of(column: str) -> pl.Expr:
    """The path without its last part; "" for a name alone."""
    return pl.col(column).str.replace(r"/?[^/]*$", "")


def _with_split(
    readings: dict[str, Reading], layout: Layout
) -> tuple[dict[str, Reading], list[str]]:
    """Keep the split, unless all labeled images are in one part."""
    if not layout.splits:
        return readings, []
    if len({reading.split for reading in readings.values()} - {None}) > 1:
        given = ", ".join(f"{folder}/ is {split}" for folder, split in layout.splits.items())
        return readings, [f"splits from the folders: {given}"]
    # A single part says nothing about the others: all are made anew.
    used = sorted({reading.split for reading in readings.values() if reading.split})
    folders = ", ".join(f"{name}/" for name, split in layout.splits.items() if split in used)
    readings = {path: reading._replace(split=None) for path, reading in readings.items()}
    return readings, [f"only {used[0]} has classes ({folders}): not used as a split"]


def _without_labels(layout: Layout) -> tuple[dict[str, Reading], list[str]]:
    if not is_split(place.split for place in layout.places.values() if place.split):
        readings = dict.fromkeys(layout.places, Reading(None))
        return readings, ["the images lie in no class folders: read as unlabeled"]
    readings = {path: Reading(None, place.split) for path, place in layout.places.items()}
    given = ", ".join(f"{folder}/ is {split}" for folder, split in layout.splits.items())
    return readings, [
        f"splits from the folders ({given}); no class folders below them: read as unlabeled"
    ]


def _joined(table: pl.DataFrame, readings: dict[str, Reading]) -> pl.DataFrame:
    """The images with the columns that any of them has a value for."""
    columns = {
        part: [getattr(reading, part) for reading in readings.values()]
        for part in ("label", "group", "split")
    }
    of_folder = pl.DataFrame(
        {"folder": list(readings), **columns}, schema_overrides=dict.fromkeys(columns, pl.String)
    )
    joined = table.join(of_folder, on="folder", how="left", maintain_order="left").drop("folder")
    empty = [part for part in columns if joined[part].null_count() == len(joined)]
    return joined.drop(empty)


def _about_classes(table: pl.DataFrame) -> list[str]:
    if "label" not in table.columns:
        return []
    labeled = table.filter(pl.col("label").is_not_null())
    classes = labeled["label"].n_unique()
    images = counted(len(labeled), "image")
    line = f"one folder per class: {counted(classes, 'class')}, {images}"
    if classes == 1:
        line = f"only one class folder ({labeled['label'][0]}/): {images}"
    return [line, *_about_unlabeled(table)]


def _about_unlabeled(table: pl.DataFrame) -> list[str]:
    unlabeled = table.filter(pl.col("label").is_null())["image"]
    if not len(unlabeled):
        return []
    return [
        f"in no class folder: {counted(len(unlabeled), 'image')} unlabeled, e.g. {unlabeled[0]}"
    ]


def _about_tables(scan: Scan) -> list[str]:
    if not scan.tables:
        return []
    tables = f"{counted(len(scan.tables), 'table')}, e.g. {scan.tables[0]}"
    return [f"not used, the folders say what is what: {tables} (name a table as DATA to read it)"]


def _or_table(error: CatalogError, scan: Scan, root: str) -> CatalogError:
    """The error of folders that can be read in two ways; a table among them is a third."""
    if not scan.tables:
        return error
    table = command_line([f"{root}/{scan.tables[0]}"])
    return CatalogError(
        error.what,
        where=error.where,
        details=error.details,
        fix=f"{error.fix}\n{table}   (as DATA: the table says what is what)",
    )
