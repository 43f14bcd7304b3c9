"""Attributes of products and their variants as columns, named by their codes."""

from __future__ import annotations

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, SOURCE_FILE, SOURCE_ROW, TABLE_ROW
from shopsight.exports.layout import ATTRIBUTE
from shopsight.exports.products import INDEX, Products

BETWEEN_VALUES = "; "
"""What stands between several values of an attribute."""

RESERVED = frozenset(
    {"image", "label", "group", "variant", "text", "price", "currency", "position", "status"}
    | {"split", "fold", "id", SOURCE_FILE, SOURCE_ROW, TABLE_ROW, *BOX_COLUMNS}
)
"""What means something else in a catalog: an attribute of such a code is `code_source`."""


def attribute_table(products: Products) -> pl.DataFrame:
    """The attributes of each product, in the order of `products.table`.

    Returns:
        A column for each attribute that a product has, by its code; null where one has none, and
        several values with "; " between them.
    """
    names = [name for name in products.rows.columns if name.startswith(ATTRIBUTE)]
    own = products.table.select(INDEX).join(
        products.rows.select(INDEX, *names), on=INDEX, how="left", maintain_order="left"
    )
    filled = [name for name in names if own[name].null_count() < len(own)]
    return own.select(_values(name).alias(_column(name)) for name in filled)


def _values(name: str) -> pl.Expr:
    """Values in one form: no blanks around them, each once."""
    parts = pl.col(name).str.split(";").list.eval(pl.element().str.strip_chars())
    parts = parts.list.eval(pl.element().filter(pl.element() != ""))
    joined = parts.list.unique(maintain_order=True).list.join(BETWEEN_VALUES)
    return joined.replace("", None)


def _column(name: str) -> str:
    code = name.removeprefix(ATTRIBUTE)
    return f"{code}_source" if code in RESERVED else code
