"""Rows of an export become products: which rows are of one, and which of them is its own."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight.errors import CatalogError
from shopsight.exports.export_files import FILE, ExportRows
from shopsight.exports.layout import KEY, OF_VARIANT
from shopsight.tables.numbered_rows import ROW
from shopsight.text import counted

INDEX, PRODUCT, GROUP = "index", "product", "group"
"""Of a row its place among all, and that of its product; of a product its key."""

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
        num_variants: rows of variants, beside the products' own.
    """

    table: pl.DataFrame
    rows: pl.DataFrame
    num_without_key: int
    num_variants: int

    def take(self, keep: pl.Expr) -> Products:
        """Some of the products, with their rows."""
        table = self.table.filter(keep)
        rows = self.rows.filter(pl.col(PRODUCT).is_in(table[PRODUCT].implode()))
        own = rows.filter(pl.col(INDEX).is_in(table[INDEX].implode()))
        num_variants = len(rows.filter(_of_variant(rows))) - len(own.filter(_of_variant(own)))
        return Products(table, rows, self.num_without_key, num_variants)


def find_products(export: ExportRows) -> Products:
    """Find the products of an export; what a product's own row leaves empty, its others may say.

    Raises:
        CatalogError: a file begins within a product, whose own row is in no file.
    """
    keys = [name for name in export.frame.columns if name.startswith(KEY)]
    key = pl.coalesce(pl.col(keys).str.strip_chars().replace("", None)).alias(GROUP)
    frame = export.frame.with_columns(key).with_row_index(INDEX)
    rows = frame.filter(pl.col(GROUP).is_not_null())
    is_titled = pl.col("text").is_not_null() if "text" in rows.columns else pl.lit(value=False)
    fields = [name for name in FIELDS if name in rows.columns]
    table = rows.group_by(GROUP, maintain_order=True).agg(
        pl.coalesce(pl.col(INDEX).filter(is_titled).first(), pl.col(INDEX).first()),
        is_titled.any().alias("titled"),
        *(pl.col(name).drop_nulls().first().alias(f"{name}:any") for name in fields),
    )
    _refuse_half(export, rows, table)
    own = rows.select(INDEX, FILE, ROW, *fields)
    table = table.drop("titled").join(own, on=INDEX, how="left", maintain_order="left")
    table = table.with_columns(pl.coalesce(name, f"{name}:any").alias(name) for name in fields)
    table = table.with_row_index(PRODUCT).select(PRODUCT, GROUP, INDEX, FILE, ROW, *fields)
    rows = rows.join(table.select(GROUP, PRODUCT), on=GROUP, how="left", maintain_order="left")
    others = rows.filter(~pl.col(INDEX).is_in(table[INDEX].implode()))
    num_variants = len(others.filter(_of_variant(others)))
    return Products(table, rows, len(frame) - len(rows), num_variants)


def _of_variant(rows: pl.DataFrame) -> pl.Expr:
    columns = [name for name in rows.columns if name.startswith(OF_VARIANT)]
    if not columns:
        return pl.lit(value=False)
    return pl.any_horizontal(pl.col(columns).is_not_null())


def _refuse_half(export: ExportRows, rows: pl.DataFrame, table: pl.DataFrame) -> None:
    """Refuse a file that begins within a product of which no file has the beginning."""
    untitled = table.filter(~pl.col("titled"))
    firsts = rows.group_by(FILE, maintain_order=True).first()
    begun = firsts.join(untitled, on=GROUP, how="semi", maintain_order="left")
    if not len(begun) or len(untitled) == len(table):
        return
    first = begun.row(0, named=True)
    count = int(rows.filter(pl.col(GROUP) == first[GROUP]).height)
    raise CatalogError(
        f"begins within a product: row {first[ROW]} is one of {counted(count, 'row')} of "
        f"{first[GROUP]!r}, whose row with the title is in no file",
        where=export.files[first[FILE]],
        details=["a part of an export: a product's rows may be in two files"],
        fix="name all files of the export together, such as "
        "shopsight audit products_export_1.csv,products_export_2.csv",
    )
