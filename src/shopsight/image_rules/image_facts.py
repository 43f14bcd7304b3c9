"""One table of all that rules look at: each image with its product, its file and its address."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.image_rules.addresses import address_fault, shrunk_by
from shopsight.image_rules.fetched_widths import fetched_smaller, read_column
from shopsight.images.kinds import IMAGE_SUFFIXES, suffix_of

BLANK_CONTRAST_LEVELS = 1.5
"""Standard deviation of the strongest channel, in levels of 255, below which an image is blank."""

URL_COLUMN, POSITION, PRODUCT = "url", "position", "product"
_WEB = r"(?i)^https?://"
# Files that were fetched are named by their content.
_BY_CONTENT = r"^[0-9a-f]{2}/[0-9a-f]{64}\.\w+$"


def image_facts(catalog: Catalog, files: pl.DataFrame, measures: pl.DataFrame) -> pl.DataFrame:
    """Put together what rules look at, one line per row of the catalog.

    Args:
        catalog: the images.
        files: what is known of each file, see `AuditReport.files`.
        measures: see `FileMeasures`.

    Returns:
        The columns of `measures`, of `files` those that rules look at, and `row`, `product`,
        `is_main`, `address` (null for a local file), `address_fault`, `shrunk_by`, `suffix`,
        `label`, `is_blank`, `products_with_image`, `fetched_smaller`.
    """
    known = files.select("image", "status", "format", "width", "height", "bytes", "sha256")
    blank = (files["contrast"] < BLANK_CONTRAST_LEVELS).alias("is_blank")
    table = pl.concat([known, measures.drop("reason")], how="horizontal").with_columns(
        blank,
        row=pl.int_range(pl.len()),
        product=_products(catalog),
        label=_labels(catalog),
        fetched_smaller=fetched_smaller(catalog, files),
        address=_addresses(catalog),
    )
    table = table.with_columns(
        is_main=_is_main(catalog, table),
        products_with_image=pl.when(pl.col("sha256").is_not_null()).then(
            pl.col("product").n_unique().over("sha256")
        ),
        suffix=_suffixes(table),
    )
    return _with_forms(table)


def _products(catalog: Catalog) -> pl.Series:
    """The product of each row: its group, and an image without one is a product by itself."""
    images = catalog.table["image"]
    if "group" not in catalog.table.columns:
        return images.alias(PRODUCT)
    return catalog.table.select(pl.coalesce("group", "image").alias(PRODUCT)).to_series()


def _is_main(catalog: Catalog, table: pl.DataFrame) -> pl.Series:
    """The first row of each product whose position is 1, else its first row."""
    position = read_column(catalog, POSITION, pl.Float64())
    ordered = table.select("row", PRODUCT).with_columns(later=(position != 1).fill_null(True))
    first = ordered.sort("later", "row").unique(PRODUCT, keep="first")["row"]
    return table.select(pl.col("row").is_in(first.implode()).alias("is_main")).to_series()


def _labels(catalog: Catalog) -> pl.Series:
    if "label" not in catalog.table.columns:
        return pl.Series("label", [None] * len(catalog), dtype=pl.String)
    label = catalog.table["label"]
    return label.list.join(" | ") if catalog.multilabel else label


def _addresses(catalog: Catalog) -> pl.Series:
    """Where a feed says that each image is: the column `url` of fetched images, or the image."""
    refs = pl.Series("address", catalog.refs(), dtype=pl.String)
    urls = read_column(catalog, URL_COLUMN, pl.String())
    # In a table that was not fetched it may be the address of the product's page.
    suffixes = urls.map_elements(_suffix, return_dtype=pl.String)
    named = suffixes.is_in(sorted(IMAGE_SUFFIXES))
    fetched = catalog.table["image"].str.contains(_BY_CONTENT) & urls.is_not_null()
    refs = urls.zip_with((named | fetched).fill_null(False), refs)
    web = refs.str.contains(_WEB)
    return pl.select(pl.when(web).then(refs)).to_series().alias("address")


def _suffixes(table: pl.DataFrame) -> pl.Series:
    names = table.select(pl.coalesce("address", "image")).to_series()
    return names.map_elements(_suffix, return_dtype=pl.String)


def _suffix(name: str) -> str:
    try:
        path = urlsplit(name).path if "://" in name else name
    except ValueError:
        path = name
    return suffix_of(unquote(path).replace("\\", "/").rpartition("/")[2])


def _with_forms(table: pl.DataFrame) -> pl.DataFrame:
    addresses = table["address"]
    return table.with_columns(
        address_fault=addresses.map_elements(address_fault, return_dtype=pl.String),
        shrunk_by=addresses.map_elements(shrunk_by, return_dtype=pl.String),
    )
