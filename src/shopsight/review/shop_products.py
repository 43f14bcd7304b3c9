"""The products of a shop's export, with their categories as the file writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import polars as pl

from shopsight import paths
from shopsight.catalog.about_record import read_about
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.rare_classes import RARE_LABEL
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ConfigError
from shopsight.exports.category_cells import category_cells
from shopsight.exports.category_paths import LEVELS, paths_in
from shopsight.exports.export_files import platform_of, read_export
from shopsight.exports.find_export import BETWEEN_FILES, export_in_folder, find_export
from shopsight.exports.platforms import PLATFORMS
from shopsight.exports.profiles import LabelColumn, Profile
from shopsight.io.addresses import local_path
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder

PRODUCT = "product"
TABLE_COLUMNS = {
    PRODUCT: pl.String,
    "title": pl.String,
    "given": pl.String,
    "as_run": pl.String,
    "categories": pl.List(pl.String),
    "row": pl.Int64,
}

# What a run says of its own DATA that holds for the export as well.
_OF_LABELS = ("platform", "label", "label_column", "label_map", "drop", "path_separator")


@dataclass(frozen=True, eq=False)
class ShopProducts:
    """Products that have photos, in the order of the export.

    Attributes:
        name: what is reviewed, for messages.
        files: of the export; empty for a catalog, which is not written back.
        profile: of its platform; None for a catalog.
        photos: a row for each photo, with `group`.
        table: the columns `product` (its key), `title`, `given` (its label; null without),
            `as_run` (what the run made of that label), `categories` (all that its cell names) and
            `row` (of its main photo in `photos`).
        cells: as `shopsight.exports.category_cells` gives them, with `label` and `categories`.
        all_products: keys, also of products without photos.
    """

    name: str
    files: tuple[str, ...]
    profile: Profile | None
    photos: Catalog
    table: pl.DataFrame
    cells: pl.DataFrame
    all_products: frozenset[str]

    def __len__(self) -> int:
        return self.table.height

    def row_texts(self) -> dict[str, str]:
        """`" (row 12)"` of each product: where its category stands in its file."""
        if not self.files:
            return {}
        firsts = self.cells.unique("group", keep="first").select("group", "row")
        return {product: f" (row {row:,})" for product, row in firsts.iter_rows()}

    def as_trained(self, run: RunFolder) -> ShopProducts:
        """The same with `as_run` as the run has merged, folded or dropped rare labels."""
        rare = run.state().get("rare", {})
        labels = dict(rare.get("folded", {})) | dict.fromkeys(rare.get("merged", ()), RARE_LABEL)
        if not labels:
            return self
        as_run = pl.col("given").replace_strict(labels, default=pl.col("given"))
        return replace(self, table=self.table.with_columns(as_run=as_run))


def as_the_run_read(read: ReadOptions, run: ReadOptions) -> ReadOptions:
    """How the export is read: labels as those of the run, unless the user says otherwise."""
    plain = ReadOptions()
    kept = {
        one.name: getattr(run, one.name)
        for one in fields(ReadOptions)
        if one.name in _OF_LABELS and getattr(read, one.name) == getattr(plain, one.name)
    }
    return replace(read, **kept)


def open_shop(
    export: str | Path | Catalog,
    read: ReadOptions,
    photos: str | Path | Catalog | None = None,
) -> ShopProducts:
    """Read the products of an export, or of a catalog.

    Args:
        export: an export file, several with commas between them, the folder in which they lie; or
            a catalog that shopsight wrote.
        read: how it is read.
        photos: the catalog of its photos as files, where the export names addresses.

    Raises:
        CatalogError: it is neither, or nothing says which photos show one product.
        TableError: a file cannot be read.
    """
    files = () if isinstance(export, Catalog) else _files_of(str(export), read)
    opened = open_catalog(BETWEEN_FILES.join(files) if files else export, read)
    _refuse_without_products(opened)
    shown = opened if photos is None else open_catalog(photos)
    if photos is not None:
        _refuse_without_products(shown)
    products = _products_of(opened, shown)
    if not files:
        none = pl.DataFrame(schema={"group": pl.String, "value": pl.String})
        every = frozenset(opened.table["group"].drop_nulls())
        return ShopProducts(opened.name, (), None, shown, products, none, every)
    profile = PLATFORMS[read.platform] if read.platform else platform_of(files[0])
    assert profile is not None
    cells = _cells_of(files, read, profile)
    categories = cells.group_by("group", maintain_order=True).agg(pl.col("categories").first())
    products = products.drop("categories").join(
        categories, left_on=PRODUCT, right_on="group", how="left", maintain_order="left"
    )
    return ShopProducts(
        opened.name,
        files,
        profile,
        shown,
        products.select(*TABLE_COLUMNS),
        cells,
        frozenset(cells["group"]),
    )


def _files_of(export: str, read: ReadOptions) -> tuple[str, ...]:
    """The files of an export; none of a catalog that shopsight wrote.

    Raises:
        CatalogError: it is neither.
    """
    path = local_path(export)
    if found := find_export(path, read):
        return found
    if paths.is_folder(path) and (found := export_in_folder(path)):
        return found
    if not paths.exists(path):
        raise CatalogError("no such export", where=export)
    if paths.is_folder(path):
        raise CatalogError(
            "no file in this folder is an export of a shop system",
            where=export,
            fix="name the files of the export",
        )
    if read_about(Path(path)) is None:
        read_export((path,), read)  # It says why not.
    return ()


def _refuse_without_products(catalog: Catalog) -> None:
    if not catalog.has("group"):
        raise CatalogError(
            "does not say which photos show one product: it has no column `group`",
            where=catalog.name,
            fix="name the shop's export, or the catalog that import or fetch wrote of it",
        )
    if catalog.multilabel:
        raise ConfigError(
            "its products have several labels each, such as tags: a review is of one category",
            where=catalog.name,
            fix="--label-column category",
        )


def _products_of(opened: Catalog, shown: Catalog) -> pl.DataFrame:
    """The products of which photos are there."""
    named = opened.table.filter(pl.col("group").is_not_null())
    said = {"title": "text", "given": "label"}
    columns = [
        pl.col(column).drop_nulls().first().alias(name)
        if column in named.columns
        else pl.lit(None, dtype=pl.String).first().alias(name)
        for name, column in said.items()
    ]
    table = named.group_by(pl.col("group").alias(PRODUCT), maintain_order=True).agg(*columns)
    photos = shown.table.with_row_index("row").filter(pl.col("group").is_not_null())
    order = ["position", "row"] if "position" in photos.columns else ["row"]
    mains = photos.sort(order, nulls_last=True).group_by("group", maintain_order=True)
    rows = mains.agg(pl.col("row").first().cast(pl.Int64))
    table = table.join(rows, left_on=PRODUCT, right_on="group", how="inner", maintain_order="left")
    categories = pl.concat_list("given").list.drop_nulls().alias("categories")
    return table.with_columns(categories, as_run="given").select(*TABLE_COLUMNS)


def _cells_of(files: Sequence[str], read: ReadOptions, profile: Profile) -> pl.DataFrame:
    """The cells that labels are read from: without an option the categories, else the types."""
    if read.label_column is not None:
        return _with_categories(category_cells(files, read, column=read.label_column), profile)
    columns: tuple[LabelColumn, ...] = ("category", "type")
    first: pl.DataFrame | None = None
    export = read_export(files, read)
    for column in columns:
        if not export.column(column):
            continue
        cells = _with_categories(category_cells(files, read, column=column), profile)
        if (cells["categories"].list.len() > 0).any():
            return cells
        first = cells if first is None else first
    # Without such a column this says which ones there could be.
    return category_cells(files, read) if first is None else first


def _with_categories(cells: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """The cells with all categories that each names; one that lies above another is none."""
    distinct = cells["value"].drop_nulls().unique(maintain_order=True)
    lists = [categories_in(cell, profile) for cell in distinct]
    found = pl.DataFrame(
        {"value": distinct, "categories": pl.Series(lists, dtype=pl.List(pl.String))}
    )
    return cells.join(found, on="value", how="left", maintain_order="left").with_columns(
        pl.col("categories").fill_null([])
    )


def categories_in(cell: str, profile: Profile) -> list[str]:
    """The categories that a cell names, without those that lie above another of them."""
    found = paths_in(
        cell, levels=profile.levels, several=profile.several_categories, roots=profile.roots
    )
    names = [LEVELS.join(path) for path in found]
    above = {LEVELS.join(path[:depth]) for path in found for depth in range(1, len(path))}
    return [name for name in dict.fromkeys(names) if name not in above]
