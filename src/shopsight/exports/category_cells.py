"""Where the category of each product stands in its export, for whoever writes it back."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shopsight.errors import CatalogError
from shopsight.exports.export_files import FILE, ExportRows, read_export
from shopsight.exports.grouping import GROUP, VARIANT
from shopsight.exports.products import INDEX, find_products
from shopsight.exports.profiles import LabelColumn
from shopsight.read_options import ReadOptions
from shopsight.tables.numbered_rows import ROW


def category_cells(
    files: Sequence[str], read: ReadOptions | None = None, *, column: LabelColumn = "category"
) -> pl.DataFrame:
    """Find the cells that say the category of each product.

    Args:
        files: those of one export, as `export_catalog` takes them.
        read: as there; the status of products is not looked at.
        column: which of the columns.

    Returns:
        A row for each cell, in the order of the files:
            `group`: the product's key, as in the catalog.
            `file`: its path, one of `files`.
            `row`: the row in the file, from 1, as a spreadsheet shows it, which is how Python's
                `csv.reader` counts: the row of the names of columns is one, so is each above it,
                and blank rows are. A row may be several lines.
            `column`: the place of the cell in its row, from 0; null in feeds of XML and in JSON,
                of which `row` is the number of the item.
            `name`: the column's name in the file.
            `value`: the cell as it stands there, without the quotes around it; null where it is
                empty.
        Where a platform wants the category in the rows of variants too, a product has several
        cells; else it has one.

    Raises:
        CatalogError: the files are no export of one platform, or it has no such column.
        TableError: a file cannot be read.
    """
    export = read_export(files, read or ReadOptions())
    if not export.column(column):
        raise CatalogError(
            f"this export of {export.profile.title} has no column of the {column}",
            where=files[0],
            fix=f"export it with {' or '.join(export.profile.labels[column])}"
            if column in export.profile.labels
            else None,
        )
    products = find_products(export)
    own = products.table.select(INDEX, pl.lit(value=True).alias("is_own"))
    rows = products.rows.join(own, on=INDEX, how="left", maintain_order="left")
    wanted = pl.col("is_own").is_not_null()
    if export.profile.every_row:
        wanted = wanted | pl.col(VARIANT)
    rows = rows.filter(wanted)
    return pl.concat([_of_file(export, rows, number, column) for number in range(len(files))])


def _of_file(
    export: ExportRows, rows: pl.DataFrame, number: int, column: LabelColumn
) -> pl.DataFrame:
    layout = export.layouts[number]
    of_file = rows.filter(pl.col(FILE) == number)
    if column not in layout.places:
        of_file = of_file.clear()
    place = layout.places.get(column) if layout.is_text_table else None
    return of_file.select(
        GROUP,
        pl.lit(export.files[number]).alias("file"),
        pl.col(ROW).alias("row"),
        pl.lit(place, dtype=pl.Int64).alias("column"),
        pl.lit(layout.name_of(column), dtype=pl.String).alias("name"),
        pl.col(column).alias("value"),
    )
