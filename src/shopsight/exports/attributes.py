"""Attributes of products and their variants as columns, named by their codes."""

from __future__ import annotations

import re

import polars as pl

from shopsight.catalog.attribute_columns import BETWEEN_VALUES, RESERVED
from shopsight.exports.layout import ATTRIBUTE, LIST, NAME, VALUES
from shopsight.exports.product_images import IMAGE_ID, ProductImages
from shopsight.exports.products import INDEX, PRODUCT, Products
from shopsight.exports.profiles import Profile

MOST_ATTRIBUTES = 500
"""Of those that stand in cells; more is no list of attributes."""

_UNIT = "\x1f"


def image_attributes(products: Products, images: ProductImages, profile: Profile) -> pl.DataFrame:
    """The attributes of each image, in the order of `images.table`.

    Those of the variants that it shows, where their rows say any; else those of the product.

    Returns:
        A column for each attribute that an image has, by its code; null where one has none, and
        several values with "; " between them.
    """
    rows = _attributes_of_rows(products.rows, profile)
    names = rows.columns[1:]
    own = products.table.select(PRODUCT, INDEX).join(rows, on=INDEX, how="left").drop(INDEX)
    keys = [PRODUCT, IMAGE_ID]
    table = images.table.select(keys).join(own, on=PRODUCT, how="left", maintain_order="left")
    shown = images.of_variants.select(*keys, INDEX).join(rows, on=INDEX)
    if names and shown.select(pl.any_horizontal(pl.col(names).is_not_null().any())).item():
        values = pl.col(names).drop_nulls().unique(maintain_order=True).str.join(_UNIT)
        shown = shown.group_by(keys, maintain_order=True).agg(values)
        table = table.join(shown, on=keys, how="left", maintain_order="left", suffix=_UNIT)
        table = table.with_columns(_first(f"{name}{_UNIT}", name) for name in names)
    filled = [name for name in names if table[name].null_count() < len(table)]
    return table.select([_joined(name) for name in filled])


def _first(name: str, other: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.col(name)).otherwise(other).alias(other)


def _attributes_of_rows(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """The attributes of each row: `index`, and the values by their codes with a mark between."""
    mark = profile.between_values
    named = [name for name in rows.columns if name.startswith(ATTRIBUTE)]
    columns = rows.select(INDEX, *(_split(pl.col(name), mark).alias(name) for name in named))
    cells = pl.concat([_pairs(rows), _lists(rows, profile)]).drop_nulls()
    codes = cells["code"].unique(maintain_order=True).head(MOST_ATTRIBUTES)
    cells = cells.filter((pl.col("code") != "") & pl.col("code").is_in(codes.implode()))
    if not len(cells):
        return columns
    cells = cells.with_columns(
        _split(pl.col("value"), mark), pl.format(ATTRIBUTE + "{}", pl.col("code")).alias("code")
    )
    wide = cells.pivot("code", index=INDEX, values="value", aggregate_function="first")
    return columns.join(wide, on=INDEX, how="left", maintain_order="left")


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """Attributes whose name stands in one column and whose values stand in another."""
    numbers = [name.removeprefix(NAME) for name in rows.columns if name.startswith(NAME)]
    frames = [
        rows.select(INDEX, _code(pl.col(NAME + number)), pl.col(VALUES + number).alias("value"))
        for number in numbers
        if VALUES + number in rows.columns
    ]
    return pl.concat([_none(rows), *frames])


def _lists(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Attributes that stand with their values in one cell: `color=Red,size=M`."""
    after = re.escape(profile.after_code)
    begin = rf"{re.escape(profile.between_attributes)}\s*([\w \-]+{after})"
    frames = []
    for name in (name for name in rows.columns if name.startswith(LIST)):
        cells = rows.select(INDEX, pl.col(name).alias("cell")).drop_nulls()
        parts = pl.col("cell").str.replace_all(begin, _UNIT + "${1}").str.split(_UNIT)
        cells = cells.with_columns(parts).explode("cell")
        code = _code(pl.col("cell").str.extract(f"^(.*?){after}"))
        # PrestaShop has the position of a value behind it.
        value = pl.col("cell").str.extract(f"{after}([^{after}]*)").alias("value")
        frames.append(cells.select(INDEX, code, value))
    return pl.concat([_none(rows), *frames])


def _none(rows: pl.DataFrame) -> pl.DataFrame:
    text = pl.lit(None, dtype=pl.String)
    return rows.select(INDEX, text.alias("code"), text.alias("value")).clear()


def _code(names: pl.Expr) -> pl.Expr:
    """A code of the name that an owner gave to an attribute: of "Sleeve Length" `sleeve_length`."""
    code = names.str.to_lowercase().str.replace_all(r"\W+", "_")
    return code.str.strip_chars("_").alias("code")


def _split(cells: pl.Expr, mark: str) -> pl.Expr:
    """Values with a mark between them, each once, without blanks around them."""
    parts = cells.str.replace_all(mark, _UNIT).str.split(_UNIT)
    parts = parts.list.eval(pl.element().str.strip_chars())
    parts = parts.list.eval(pl.element().filter(pl.element() != ""))
    joined = parts.list.unique(maintain_order=True).list.join(_UNIT)
    return pl.when(joined != "").then(joined)


def _joined(name: str) -> pl.Expr:
    values = pl.col(name).str.split(_UNIT).list.unique(maintain_order=True)
    code = name.removeprefix(ATTRIBUTE)
    # An attribute of such a code must not be taken for what the catalog means by it.
    column = f"{code}_source" if code in RESERVED else code
    return values.list.join(BETWEEN_VALUES).alias(column)
