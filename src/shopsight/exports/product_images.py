"""The images of products: one row for each product and image, in the order of their positions."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight.exports.image_cells import image_identity, images_in, names_an_image
from shopsight.exports.layout import IMAGE, OPTION
from shopsight.exports.products import INDEX, PRODUCT, Products
from shopsight.exports.profiles import Profile

IMAGE_ID = "image_id"
BETWEEN_OPTIONS = " / "
"""What stands between the options of a variant, as in "Red / M"."""

# What Shopify calls the variant of a product that has no variants.
_NO_OPTION = "Default Title"


@dataclass(frozen=True, eq=False)
class ProductImages:
    """The images of products.

    Attributes:
        table: the columns `product`, `image`, `image_id` (its identity), `position` (from 1) and
            `variant`, sorted by product and position.
        num_odd: cells that name no image, such as texts.
        odd_example: such a cell; "" without any.
        num_again: images that their product names again.
        num_variant_only: images of variants that are none of their product's images.
    """

    table: pl.DataFrame
    num_odd: int
    odd_example: str
    num_again: int
    num_variant_only: int


def find_images(products: Products, profile: Profile) -> ProductImages:
    """Find the images of products, and which variant each shows."""
    cells = _cells(products.rows, profile)
    is_image = names_an_image(pl.col("image"))
    odd, cells = cells.filter(~is_image), cells.filter(is_image)
    cells = cells.with_columns(image_identity(pl.col("image")).alias(IMAGE_ID))
    cells = cells.sort(PRODUCT, "given", INDEX, "column", "place", nulls_last=True)
    images = cells.unique([PRODUCT, IMAGE_ID], keep="first", maintain_order=True)
    position = pl.int_range(pl.len(), dtype=pl.Int64).over(PRODUCT) + 1
    table = images.select(PRODUCT, "image", IMAGE_ID, position.alias("position"))
    shown = _shown_variants(products.rows)
    only = shown.join(table, on=[PRODUCT, IMAGE_ID], how="anti")
    table = table.join(shown, on=[PRODUCT, IMAGE_ID], how="left", maintain_order="left")
    example = odd["image"][0] if len(odd) else ""
    return ProductImages(table, len(odd), example, len(cells) - len(images), len(only))


def _cells(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """A row for each image that a cell names: `product`, `index`, `column`, `place`, `given`."""
    has_position = "position" in rows.columns
    given = pl.col("position").str.strip_chars().cast(pl.Int64, strict=False)
    base = rows.select(
        PRODUCT,
        INDEX,
        (given if has_position else pl.lit(None, dtype=pl.Int64)).alias("given"),
        pl.col(f"^{IMAGE}.*$"),
    )
    frames = [
        base.filter(pl.col(name).is_not_null())
        .select(
            PRODUCT,
            INDEX,
            "given",
            pl.lit(column, dtype=pl.Int64).alias("column"),
            images_in(pl.col(name), several=profile.several_images).alias("image"),
        )
        .with_columns(pl.int_ranges(pl.col("image").list.len()).alias("place"))
        .explode("image", "place")
        for column, name in enumerate(name for name in base.columns if name.startswith(IMAGE))
    ]
    return pl.concat(frames).filter(pl.col("image") != "")


def _shown_variants(rows: pl.DataFrame) -> pl.DataFrame:
    """For each image of variants what these have in common: `product`, `image_id`, `variant`."""
    options = [name for name in rows.columns if name.startswith(OPTION)]
    if "variant_image" not in rows.columns:
        schema = {PRODUCT: pl.UInt32, IMAGE_ID: pl.String, "variant": pl.String}
        return pl.DataFrame(schema=schema).cast({PRODUCT: rows.schema[PRODUCT]})
    image = images_in(pl.col("variant_image"), several=False).list.first()
    named = rows.filter(pl.col("variant_image").is_not_null()).with_columns(image)
    named = named.filter(names_an_image(pl.col("variant_image")))
    common = [
        pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).replace(_NO_OPTION, None)
        for name in options
    ]
    shown = named.group_by(
        PRODUCT, image_identity(pl.col("variant_image")).alias(IMAGE_ID), maintain_order=True
    ).agg(*common)
    text = pl.concat_str(options, separator=BETWEEN_OPTIONS, ignore_nulls=True).replace("", None)
    variant = text if options else pl.lit(None, dtype=pl.String)
    return shown.select(PRODUCT, IMAGE_ID, variant.alias("variant"))
