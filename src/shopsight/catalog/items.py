"""What a search finds: items with ids, and the products that they show.

An item is one row of a catalog: an image, or a box in one. Its id is what its owner calls it: the
`id` of a table's row, or else the path relative to the root of DATA. A renamed file is another
item. Ids are in NFC, the form in which keyboards type them: macOS stores `é` as two characters.
"""

from __future__ import annotations

import unicodedata

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, SOURCE_ROW, Catalog
from shopsight.errors import CatalogError
from shopsight.tables.column_names import CONTRIBUTOR_NAMES, canonical

ID_COLUMNS = ("id", "item_id", "image_id", "row_id", "uuid")
"""Names of columns that hold the ids of rows, where each row has its own; best first."""


def item_ids(catalog: Catalog) -> pl.Series:
    """The id of each row, String, no two alike.

    Raises:
        CatalogError: two rows would have one id.
    """
    named = _id_column(catalog.table)
    ids = _nfc(catalog.table["image"] if named is None else catalog.table[named].cast(pl.String))
    if named is None and ids.n_unique() < len(ids) and catalog.boxes() is not None:
        # Several boxes of one image are several items.
        box = pl.concat_str([pl.col(name).round(1) for name in BOX_COLUMNS], separator=",")
        marks = catalog.table.select(pl.format("#{}", box)).to_series().fill_null("")
        ids = (
            ids
            + pl.select(pl.when(ids.is_duplicated()).then(marks).otherwise(pl.lit(""))).to_series()
        )
    elif named is None and SOURCE_ROW in catalog.table.columns and catalog.has("group"):
        # One image of several products of an export is an item of each.
        marks = "#" + catalog.table["group"].cast(pl.String).fill_null("")
        ids = (
            ids
            + pl.select(pl.when(ids.is_duplicated()).then(marks).otherwise(pl.lit(""))).to_series()
        )
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    if len(twice):
        raise CatalogError(
            f"{len(twice)} ids stand for several rows each",
            where=catalog.name,
            details=twice.to_list(),
            fix="give the table a column `id` with another value in each row, or leave the "
            "repeated rows out",
        )
    return ids.alias("id")


def products(catalog: Catalog) -> pl.Series | None:
    """The product of each row, String with nulls, or None where the catalog does not tell.

    It is the catalog's `group`, unless that is who sent the photos: two photos of one contributor
    show two products.
    """
    if not catalog.has("group") or group_is_contributor(catalog.table):
        return None
    return _nfc(catalog.table["group"].cast(pl.String)).alias("product")


def group_is_contributor(table: pl.DataFrame) -> bool:
    """Whether `group` is a column that says who a photo is from.

    The group keeps its own name in a catalog too, with the same values.
    """
    names = [
        name for name in table.columns if name != "group" and canonical(name) in CONTRIBUTOR_NAMES
    ]
    groups = table["group"].cast(pl.String)
    return any(table[name].cast(pl.String).equals(groups, check_names=False) for name in names)


def _id_column(table: pl.DataFrame) -> str | None:
    by_name = {canonical(name): name for name in reversed(table.columns)}
    for wanted in ID_COLUMNS:
        name = by_name.get(wanted)
        if name is None or not (table[name].dtype == pl.String or table[name].dtype.is_integer()):
            continue
        cells = table[name].cast(pl.String)
        if cells.null_count() == 0 and cells.n_unique() == len(cells) and (cells != "").all():
            return name
    return None


def _nfc(names: pl.Series) -> pl.Series:
    if names.str.contains(r"[^\x00-\x7f]").any():
        return names.map_elements(
            lambda name: unicodedata.normalize("NFC", name), return_dtype=pl.String
        )
    return names
