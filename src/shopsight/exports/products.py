"""Rows of an export become products: which rows are of one, and which of them is its own."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight.errors import CatalogError
from shopsight.exports.export_files import FILE, ExportRows
from shopsight.exports.grouping import GROUP, OWN, with_groups
from shopsight.tables.numbered_rows import ROW

INDEX, PRODUCT = "index", "product"
"""Of a row its place among all, and the number of its product."""

FIELDS = ("text", "label", "category", "type", "tags", "status", "price")


@dataclass(frozen=True, eq=False)
class Products:
    """The products of an export.

    Attributes:
        table: one row each, in the order of the files, with the columns `product` (its number),
            `group`, `index`, `file` and `row` of its own row, and those of `FIELDS` that the export
            has.
        rows: the rows of the export that are of products, with `index` and `product`.
        num_without_key: rows that say no product.
    """

    table: pl.DataFrame
    rows: pl.DataFrame
    num_without_key: int

    @property
    def further(self) -> pl.DataFrame:
        """The rows that are no product's own."""
        own = self.table.select(INDEX)
        return self.rows.join(own, on=INDEX, how="anti", maintain_order="left")

    def take(self, keep: pl.Expr) -> Products:
        """Some of the products, with their rows."""
        table = self.table.filter(keep)
        kept = table.select(PRODUCT)
        rows = self.rows.join(kept, on=PRODUCT, how="semi", maintain_order="left")
        return Products(table, rows, self.num_without_key)


def find_products(export: ExportRows) -> Products:
    """Find the products of an export; what a product's own row leaves empty, its others may say.

    Raises:
        CatalogError: a file begins within a product, whose own row is in no file.
    """
    frame = with_groups(export.frame, export.profile).with_row_index(INDEX)
    rows = frame.filter(pl.col(GROUP).is_not_null())
    fields = [name for name in FIELDS if name in rows.columns]
    table = rows.group_by(GROUP, maintain_order=True).agg(
        pl.coalesce(pl.col(INDEX).filter(OWN).first(), pl.col(INDEX).first()),
        pl.col(OWN).any(),
        *(pl.col(name).drop_nulls().first().alias(f"{name}:any") for name in fields),
    )
    _refuse_half(export, frame, table)
    own = rows.select(INDEX, FILE, ROW, *fields)
    table = table.join(own, on=INDEX, how="left", maintain_order="left")
    table = table.with_columns(pl.coalesce(name, f"{name}:any").alias(name) for name in fields)
    table = table.with_row_index(PRODUCT).select(PRODUCT, GROUP, INDEX, FILE, ROW, *fields)
    rows = rows.join(table.select(GROUP, PRODUCT), on=GROUP, how="left", maintain_order="left")
    return Products(table, rows, len(frame) - len(rows))


def _refuse_half(export: ExportRows, frame: pl.DataFrame, table: pl.DataFrame) -> None:
    """Refuse a file that begins within a product of which no file has the beginning."""
    is_whole = table.filter(OWN).select(GROUP)
    begun = frame.group_by(FILE, maintain_order=True).first()
    begun = begun.join(is_whole, on=GROUP, how="anti", maintain_order="left").filter(~pl.col(OWN))
    if export.profile.grouping == "key":
        # A row without a key is one for itself.
        begun = begun.filter(pl.col(GROUP).is_not_null())
    if not len(begun):
        return
    first = begun.row(0, named=True)
    of_what = "no product" if first[GROUP] is None else f"{first[GROUP]!r}"
    raise CatalogError(
        f"begins within a product: row {first[ROW]} is a further row of {of_what}, whose own row "
        "is in no file",
        where=export.files[first[FILE]],
        details=["a part of an export: the rows of one product may be in two files"],
        fix="name all files of the export together, with commas between them, as DATA",
    )
