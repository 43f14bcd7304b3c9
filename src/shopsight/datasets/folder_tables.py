"""The labels of a folder whose images lie in no class folders: in tables or lists beside them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from shopsight import paths
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.datasets.split_files import lists_in, open_parts, parts_among, tables_in_parts
from shopsight.errors import CatalogError, TableError
from shopsight.image_files.scan import Scan
from shopsight.images.kinds import suffix_of
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import command_line

_FORM = re.compile(r"(?i)(sample|example)[\W_]*submission|submission[\W_]*(sample|example|format)")


def table_in_folder(folder: str, scan: Scan, read: ReadOptions) -> Catalog | None:
    """Read the table or list with labels, or one for each part of a split, in a folder.

    They lie directly in it; or, one for each part, in the folders of the parts.

    Args:
        folder: a folder or URL.
        scan: what lies in it.
        read: how to read tables.

    Returns:
        The catalog; None when no table has labels of images that are there.

    Raises:
        CatalogError: several tables have labels.
        TableError: none has, and one cannot be read.
    """
    names = [name for name in (*scan.tables, *lists_in(folder)) if not _is_form(name)]
    parts = parts_among(names)
    if not names:
        parts = tables_in_parts(folder)
        scan = replace(scan, others=scan.others - Counter(suffix_of(part) for part in parts))
    if parts:
        files = [f"{folder}/{part}" for part in parts]
        return open_parts(files, read, name=paths.name_of(folder)).with_notes(*scan.notes())
    found: list[Catalog] = []
    broken: list[TableError] = []
    for table in names:
        try:
            found.append(table_catalog(f"{folder}/{table}", read))
        except CatalogError as error:
            if len(names) == 1 and (read.image or read.label or read.encoding):
                raise
            broken += [error] if isinstance(error, TableError) else []
            notify(f"{table} is skipped: {error.what}")
    labeled = [catalog for catalog in found if catalog.labels]
    if len(labeled) > 1:
        words = ["shopsight", "audit", f"{folder}/{labeled[0].name}"]
        raise CatalogError(
            "several tables could hold the labels",
            where=folder,
            details=[catalog.name for catalog in labeled],
            fix=f"{command_line(words)}   (names the table itself)",
        )
    if not labeled and broken:
        # Images whose labels could not be read are not unlabeled.
        first = broken[0]
        fixes = [first.fix] if first.fix else []
        raise TableError(
            first.what,
            where=first.where,
            details=first.details,
            fix="\n".join([*fixes, "--label none reads the images of the folder without labels"]),
        )
    if not labeled:
        return None
    note = f"labels from {labeled[0].name} in the folder"
    return labeled[0].with_notes(note, *scan.notes())


def _is_form(name: str) -> bool:
    """Whether a table is a contest's example of how answers are written: its labels are none."""
    return _FORM.search(name) is not None
