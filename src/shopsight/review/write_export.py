"""The import file: the original export with the accepted categories, and no other byte changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight import paths
from shopsight.errors import WriteError
from shopsight.exports.export_files import read_export
from shopsight.exports.layout import KEY
from shopsight.files import atomic_file
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions
from shopsight.review.cells import AcceptedCells
from shopsight.review.shop_products import ShopProducts
from shopsight.tables.table_files import read_bytes
from shopsight.tables.write_back import Place, TableBytes

IMPORT_STEM = "products_import"
SUPPLEMENT_FILE = "products_supplement.csv"


@dataclass(frozen=True)
class ImportFile:
    """A file that is written for the shop system to import.

    Attributes:
        path: where.
        export: the file of the export that it is made of.
        num_cells: how many cells it changes.
    """

    path: Path
    export: str
    num_cells: int


def import_files(shop: ShopProducts, accepted: AcceptedCells, out: Path) -> list[ImportFile]:
    """Where the import files go: one for each file of the export of which a cell changes.

    Raises:
        WriteError: one of them would be a file of the export.
    """
    found = []
    for number, file in enumerate(shop.files, start=1):
        count = len(accepted.by_file.get(file, {}))
        suffix = Path(paths.name_of(file).removesuffix(".gz")).suffix or ".csv"
        several = f"_{number}" if len(shop.files) > 1 else ""
        path = out / f"{IMPORT_STEM}{several}{suffix}"
        refuse_original(path, shop.files)
        if count:
            found.append(ImportFile(path, file, count))
    return found


def refuse_original(path: Path, originals: Sequence[str]) -> None:
    """Refuse to write over a file of the export.

    Raises:
        WriteError: it is one.
    """
    there = [file for file in originals if path.exists() and paths.is_file(file)]
    if any(path.samefile(file) for file in there):
        raise WriteError(
            "is the export itself, which is never written over",
            where=str(path),
            fix="--out FOLDER   (another folder)",
        )


def write_import(
    file: ImportFile, cells: Mapping[Place, str], shop: ShopProducts, read: ReadOptions, *,
    minimal: bool,
) -> None:  # fmt: skip
    """Write one import file, whole.

    Args:
        file: which.
        cells: what changes in it.
        shop: the export.
        read: how it was read.
        minimal: only the columns of the key, the title and the category, and only products of which
            the category changes.

    Raises:
        TableError: a cell is not there, or the file cannot be written back.
    """
    data = read_bytes(file.export, Access(read.allow_private))
    table = TableBytes.of(data, file.export, read)
    if minimal:
        header, columns = _minimal_columns(table, file.export, shop, read, cells)
        rows = sorted({row for row, _ in cells})
        written = table.only(header, rows, columns, cells)
    else:
        written = table.with_cells(cells)
        _check_all_others(table, TableBytes.of(written, str(file.path), read), cells)
    with atomic_file(file.path) as part:
        part.write_bytes(written)


def _check_all_others(before: TableBytes, after: TableBytes, cells: Mapping[Place, str]) -> None:
    """Compare what both files say, cell by cell: our own work is not trusted with a shop."""
    changed: dict[int, dict[int, str]] = {}
    for (row, column), value in cells.items():
        changed.setdefault(row, {})[column] = value
    for (row, _, old), (_, _, new) in zip(before.records(), after.records(), strict=True):
        values = changed.get(row, {})
        assert new == [values.get(column, cell) for column, cell in enumerate(old)]


def _minimal_columns(
    table: TableBytes, file: str, shop: ShopProducts, read: ReadOptions, cells: Mapping[Place, str]
) -> tuple[int, list[int]]:
    """The row of the names of columns, and the places of those that are kept."""
    export = read_export(shop.files, read)
    layout = export.layouts[export.files.index(file)]
    keys = [place for role, place in layout.places.items() if role.startswith(KEY)]
    title = [layout.places["text"]] if "text" in layout.places else []
    columns = sorted({*keys, *title, *(column for _, column in cells)})
    width = len(layout.header)
    header = next(
        number
        for number, _, row in table.records()
        if [cell.strip() for cell in row[:width]] == list(layout.header)
    )
    return header, columns


def supplement(
    shop: ShopProducts, accepted: Mapping[str, str], written: Mapping[str, str], read: ReadOptions
) -> pl.DataFrame:
    """A supplemental feed for what is not written back, such as XML: ids and their categories.

    Args:
        shop: the export.
        accepted: the category of each product.
        written: what is written for a category.
        read: how the export was read.
    """
    export = read_export(shop.files, read)
    keys = [name for name in export.frame.columns if name.startswith(KEY)]
    # The last key is that of the row itself: the first may be of a group of variants.
    ids = pl.coalesce([pl.col(name) for name in reversed(keys)]).alias("id")
    files = pl.DataFrame({"number": range(len(export.files)), "file": list(export.files)})
    rows = export.frame.select(pl.col("file").alias("number"), "row", ids).join(files, on="number")
    cells = shop.cells.filter(pl.col("group").is_in(list(accepted)))
    name = str(cells["name"][0]).removeprefix("g:") if len(cells) else "google_product_category"
    labels = {product: written[label] for product, label in accepted.items() if label in written}
    category = pl.col("group").replace_strict(labels, default=None, return_dtype=pl.String)
    found = cells.join(rows, on=["file", "row"], how="left", maintain_order="left")
    return found.select("id", category.alias(name)).drop_nulls()
