"""One way in: whatever the user names becomes a catalog."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog, read_about
from shopsight.catalog.columns import NO_COLUMN, as_text, asked, read_labels
from shopsight.catalog.folders import folder_catalog, pattern_catalog
from shopsight.catalog.idx_pairs import container_catalog
from shopsight.catalog.label_map import drop_labels, map_labels, read_label_map
from shopsight.catalog.scan import Scan, is_container, is_image, is_table, scan_folder
from shopsight.catalog.tables import table_catalog
from shopsight.datasets.registry import DATASETS, is_dataset, open_dataset
from shopsight.errors import CatalogError
from shopsight.progress import notify


def open_catalog(
    data: str | Path | Catalog,
    *,
    image: str | None = None,
    label: str | None = None,
    group: str | None = None,
    images_root: str | Path | None = None,
    label_pattern: str | None = None,
    label_separator: str | None = None,
    root: str | Path | None = None,
    drop: Collection[str] = (),
    label_map: str | Path | None = None,
) -> Catalog:
    """Read a folder, a table, IDX files or a named data set; what is guessed is told.

    Args:
        data: a path or URL, or the name of a data set (`shopsight data` lists them).
        image, label, group: columns of a table that are not to be guessed; "none" for no such.
        images_root: the folder that a table's image names are relative to.
        label_pattern: where the label is in file names, e.g. "*_{label}.jpg".
        label_separator: between several labels in a cell; None guesses, "" says there is none.
        root: where a named data set lies on this machine.
        drop: labels to leave out (before or after the mapping).
        label_map: a table with columns `label` and `to`.

    Raises:
        CatalogError: there is nothing there, or it cannot be read as images with labels.
        SourceError: a named data set is neither at hand nor within reach.
    """
    columns = _Columns(image, label, group, _text(images_root), label_separator)
    if isinstance(data, Catalog):
        known = len(data.notes)
        catalog = columns.applied_to(data)
    else:
        known = 0
        catalog = _open(str(data), columns, label_pattern, None if root is None else Path(root))
        if catalog.root and "://" not in catalog.root:
            # The images are found again after a change of the working folder.
            catalog = replace(catalog, root=str(Path(catalog.root).absolute()))
    catalog = _apply_label_options(catalog, drop, label_map)
    for line in catalog.notes[known:]:
        notify(line)
    return catalog


@dataclass(frozen=True)
class _Columns:
    """What the user said about columns, for the sources that have any."""

    image: str | None
    label: str | None
    group: str | None
    images_root: str | None
    label_separator: str | None

    def read(self, path: str) -> Catalog:
        return table_catalog(
            path,
            image=self.image,
            label=self.label,
            group=self.group,
            images_root=self.images_root,
            label_separator=self.label_separator,
        )

    def applied_to(self, catalog: Catalog) -> Catalog:
        """Take label and group of a catalog from other columns of its table."""
        table = catalog.table
        if self.label == NO_COLUMN:
            table = table.drop("label", strict=False)
        elif self.label is not None:
            column = asked(table, self.label, "--label", catalog.name)
            labels, _ = read_labels(table[column], self.label_separator)
            table = table.with_columns(labels.alias("label"))
        if self.group == NO_COLUMN:
            table = table.drop("group", strict=False)
        elif self.group is not None:
            column = asked(table, self.group, "--group", catalog.name)
            table = table.with_columns(as_text(table[column]).alias("group"))
        return catalog if table is catalog.table else catalog.with_table(table)


def _open(data: str, columns: _Columns, label_pattern: str | None, root: Path | None) -> Catalog:
    if is_dataset(data):
        catalog = open_dataset(data, root=root, images_root=columns.images_root)
        if Path(data).exists():
            note = f"{data!r} is read as the data set; ./{data} is the folder of that name"
            catalog = catalog.with_notes(note)
        return columns.applied_to(catalog)
    if root is not None:
        raise CatalogError(
            f"--root goes with a named data set, and {data!r} is none",
            details=[f"data sets: {', '.join(DATASETS)}"],
        )
    if "://" not in data and not Path(data).exists():
        raise _not_there(data)
    is_file = "://" not in data and Path(data).is_file()
    if label_pattern is not None and (is_file or is_table(data)):
        raise CatalogError("a label pattern goes with a folder of images", where=data)
    if is_table(data):
        return _open_table(data, columns)
    if is_file:
        return columns.applied_to(_open_file(Path(data)))
    return _open_folder(data, columns, label_pattern)


def _open_table(path: str, columns: _Columns) -> Catalog:
    if "://" in path or read_about(Path(path)) is None or columns.image is not None:
        return columns.read(path)
    catalog = Catalog.read(path)
    if columns.images_root is not None:
        catalog = replace(catalog, root=columns.images_root)
    return columns.applied_to(catalog)


def _open_file(path: Path) -> Catalog:
    if is_container(path.name):
        return container_catalog([path.name], name=path.name, root=str(path.parent))
    if is_image(path.name):
        return Catalog(pl.DataFrame({"image": [path.name]}), path.name, str(path.parent))
    raise CatalogError(
        "neither a folder nor a table (.csv, .tsv, .parquet), an IDX file or an image",
        where=str(path),
    )


def _open_folder(folder: str, columns: _Columns, label_pattern: str | None) -> Catalog:
    folder = folder.rstrip("/") or "/"
    name = folder.rpartition("/")[2] if "://" in folder else Path(folder).absolute().name
    scan = scan_folder(folder)
    if label_pattern is not None:
        catalog = pattern_catalog(scan, label_pattern, name=name, root=folder)
    elif not scan.images and scan.containers:
        catalog = container_catalog(scan.containers, name=name, root=folder)
    else:
        catalog = folder_catalog(scan, name=name, root=folder)
        if scan.tables and not catalog.labels:
            labeled = _table_in_folder(folder, scan, columns)
            if labeled is not None:
                return labeled
    return columns.applied_to(catalog)


def _table_in_folder(folder: str, scan: Scan, columns: _Columns) -> Catalog | None:
    """The images lie in no class folders: perhaps a table beside them has the labels."""
    read: list[Catalog] = []
    for table in scan.tables:
        try:
            read.append(columns.read(f"{folder}/{table}"))
        except CatalogError as error:
            if len(scan.tables) == 1 and (columns.image or columns.label):
                raise
            notify(f"{table} is passed over: {error.what}")
    labeled = [catalog for catalog in read if catalog.labels]
    if len(labeled) > 1:
        raise CatalogError(
            "several tables could hold the labels",
            where=folder,
            details=[catalog.name for catalog in labeled],
            fix=f"shopsight audit {folder}/{labeled[0].name}   (name the table itself)",
        )
    if not labeled:
        return None
    return labeled[0].with_notes(f"labels from {labeled[0].name} in the folder")


def _apply_label_options(
    catalog: Catalog, drop: Collection[str], label_map: str | Path | None
) -> Catalog:
    if label_map is None:
        return drop_labels(catalog, drop)
    mapping = read_label_map(label_map)
    # A label to drop may be one of the source, or one that the map makes.
    before = [label for label in drop if label in catalog.labels]
    made = set(mapping.values())
    after = [label for label in drop if label not in before and label in made]
    unknown = [label for label in drop if label not in before and label not in made]
    catalog, _ = map_labels(drop_labels(catalog, [*before, *unknown]), mapping)
    return drop_labels(catalog, after)


def _not_there(data: str) -> CatalogError:
    here = Path(data).parent
    beside = [path.name for path in here.iterdir()] if here.is_dir() else []
    near = difflib.get_close_matches(Path(data).name, [*DATASETS, *beside], n=1, cutoff=0.6)
    return CatalogError(
        "no such folder, table or data set" + (f"; did you mean {near[0]!r}?" if near else ""),
        where=data,
        fix="shopsight data   (lists the named data sets)",
    )


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
