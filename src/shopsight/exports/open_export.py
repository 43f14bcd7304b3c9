"""The export of a shop becomes a catalog: one row for each product and image."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shopsight import paths
from shopsight.catalog.catalog import SOURCE_FILE, SOURCE_ROW, Catalog
from shopsight.errors import CatalogError
from shopsight.exports.attributes import image_attributes
from shopsight.exports.export_files import FILE, ExportRows, read_export
from shopsight.exports.export_notes import Decided
from shopsight.exports.grouping import GROUP
from shopsight.exports.image_places import place_images
from shopsight.exports.prices import read_prices
from shopsight.exports.product_images import find_images
from shopsight.exports.product_labels import choose_labels
from shopsight.exports.products import PRODUCT, Products, find_products
from shopsight.exports.statuses import only_status, plain_status
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions
from shopsight.tables.numbered_rows import ROW


def export_catalog(files: Sequence[str], read: ReadOptions) -> Catalog:
    """Read the files of one export as a catalog.

    Args:
        files: paths or URLs.
        read: the platform where it is not to be guessed, the status of the products to read, which
            column is the label, and how text tables are read.

    Returns:
        The catalog with the columns `image`, `label` (a path; several with tags), `group` (the
        product's key), `variant`, `text`, `price`, `currency`, `position` (from 1), `status`,
        `source_file`, `source_row` and one for each attribute; its notes say what was decided.

    Raises:
        CatalogError: the files are no export of one platform, or no product has an image.
        TableError: a file cannot be read.
    """
    export = read_export(files, read)
    everything = plain_status(find_products(export), export.profile)
    products, status = only_status(everything, read.status, files[0])
    labels = choose_labels(products, export, read)
    images = find_images(products, export.profile)
    if not len(images.table):
        column = export.column("image:0")
        raise CatalogError(
            f"none of {len(products.table):,} products has an image",
            where=files[0],
            details=[f"images are named in {column!r}"] if column else [],
            fix="export the products with their images",
        )
    attributes = image_attributes(products, images, export.profile)
    decided = Decided(export, everything, products, status, labels, images, attributes)
    of_product = _product_columns(products, export).hstack([labels.values.alias("label")])
    table = images.table.hstack(attributes)
    table = table.join(of_product, on=PRODUCT, how="left", maintain_order="left")
    places = place_images(table["image"], files[0], read)
    first = ["image", "label", GROUP, "variant", "text", "price", "currency", "position", "status"]
    first += [SOURCE_FILE, SOURCE_ROW]
    table = table.with_columns(places.images)
    name = paths.name_of(files[0]) + f" and {len(files) - 1} more" * (len(files) > 1)
    return Catalog(
        table.select([*(one for one in first if one in table.columns), *attributes.columns]),
        name=name,
        root=places.root,
        notes=(*decided.notes(), *places.notes),
        access=Access(roots=places.roots),
    )


def _product_columns(products: Products, export: ExportRows) -> pl.DataFrame:
    """What a catalog says of each product: `product`, `group`, `text`, `price`, ..."""
    table = products.table
    names = pl.Series(export.names(), dtype=pl.String)
    columns = [
        pl.col(PRODUCT),
        pl.col(GROUP),
        names.gather(table[FILE]).alias(SOURCE_FILE),
        pl.col(ROW).alias(SOURCE_ROW),
    ]
    columns += [
        pl.col(name).str.strip_chars() for name in ("text", "status") if name in table.columns
    ]
    if "price" in table.columns:
        price, currency = read_prices(pl.col("price"))
        columns.append(price.alias("price"))
        if table.select(currency.is_not_null().any()).item():
            columns.append(currency.alias("currency"))
    return table.select(columns)
