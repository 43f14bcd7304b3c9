"""Import: a shop's export as a catalog table that every verb opens again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.catalog.about_record import check_catalog_file
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.data_access import say_how_to_fetch
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.exports.find_export import BETWEEN_FILES, export_files
from shopsight.output_locks import only_writer_of_file
from shopsight.read_options import ReadOptions


@dataclass(frozen=True, eq=False)
class ImportResult:
    """An export that was read.

    Attributes:
        catalog: one row for each product and image; its notes say what was decided.
    """

    catalog: Catalog

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        table = self.catalog.table
        labeled = table.filter(table["label"].is_not_null()) if "label" in table.columns else table
        return {
            "name": self.catalog.name,
            "num_images": len(table),
            "num_products": table["group"].n_unique(),
            "num_unlabeled_images": len(table) - len(labeled),
            "labels": list(self.catalog.labels),
            "columns": table.columns,
            "notes": list(self.catalog.notes),
        }


def import_export(
    exports: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    read: ReadOptions | None = None,
) -> ImportResult:
    """Read a shop's export and keep it as a catalog table.

    Args:
        exports: the files of one export, or the folder in which they lie.
        out: a .parquet or .csv file, which every verb takes as DATA; None writes nothing.
        read: how the export is read; None guesses everything.

    Raises:
        CatalogError: the files are no export of one shop system, or no product has an image.
        TableError: a file cannot be read.
        WriteError: `out` cannot be written, or is one of the files.
        LockedError: another process writes `out`.
    """
    read = read or ReadOptions()
    if out is not None:
        check_catalog_file(out)
    files = export_files([str(one) for one in exports], read)
    data = BETWEEN_FILES.join(files)
    if out is None:
        return ImportResult(open_catalog(data, read))
    refuse_output_over_data(files, out)
    with only_writer_of_file(out):
        catalog = open_catalog(data, read)
        catalog.write(out)
    say_how_to_fetch(catalog, str(out))
    return ImportResult(catalog)
