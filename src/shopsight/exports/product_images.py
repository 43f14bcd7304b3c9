"""The images of products: one row for each product and image, in the order of their positions."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight.exports.grouping import VARIANT
from shopsight.exports.image_cells import image_identity, images_in, names_an_image
from shopsight.exports.layout import IMAGE, IMAGE_ELSE, OPTION
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
        of_variants: for each image the rows of the variants that it shows, with the columns
            `product`, `image_id`, `index` and those of options.
        num_odd: cells that name no image, such as texts.
        odd_example: such a cell; "" without any.
        num_again: images that their product names again.
        num_variant_only: images of variants that are none of their product's images.
    """

    table: pl.DataFrame
    of_variants: pl.DataFrame
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
    own = products.table.select(pl.col(INDEX), pl.lit(value=False).alias("further"))
    cells = cells.join(own, on=INDEX, how="left").with_columns(
        pl.col("further").fill_null(value=True)
    )
    order = (PRODUCT, "given", "further", INDEX, "column", "place")
    cells = cells.sort(*order, nulls_last=True)
    images = cells.unique([PRODUCT, IMAGE_ID], keep="first", maintain_order=True)
    position = pl.int_range(pl.len(), dtype=pl.Int64).over(PRODUCT) + 1
    table = images.select(PRODUCT, "image", IMAGE_ID, position.alias("position"))
    rows = _rows_of_variants(products.rows, cells)
    shown = _in_common(rows)
    only = rows.select(PRODUCT, IMAGE_ID).unique().join(table, on=[PRODUCT, IMAGE_ID], how="anti")
    table = table.join(shown, on=[PRODUCT, IMAGE_ID], how="left", maintain_order="left")
    example = odd["image"][0] if len(odd) else ""
    again = len(cells) - len(images)
    return ProductImages(table, rows, len(odd), example, again, len(only))


def _cells(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """A row for each image that a cell names: `product`, `index`, `column`, `place`, `given`."""
    has_position = "position" in rows.columns
    given = pl.col("position").str.strip_chars().cast(pl.Int64, strict=False)
    base = rows.select(
        PRODUCT,
        INDEX,
        (given if has_position else pl.lit(None, dtype=pl.Int64)).alias("given"),
        pl.col(f"^{IMAGE}.*$"),
        pl.col(f"^{IMAGE_ELSE}.*$"),
    )
    first = [name for name in base.columns if name.startswith(IMAGE)]
    others = [name for name in base.columns if name.startswith(IMAGE_ELSE)]
    if first and others:
        is_bare = pl.all_horizontal(pl.col(first).is_null())
        base = base.with_columns(pl.when(is_bare).then(pl.col(others)))
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
        for column, name in enumerate([*first, *others])
    ]
    # What Magento writes where there is none.
    return pl.concat(frames).filter(~pl.col("image").is_in(["", "no_selection"]))


def _rows_of_variants(rows: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """The rows of variants for each image that shows them: `product`, `image_id`, `index`, options.

    The image of a variant is named in a column of its own, or is that of the variant's row.
    """
    options = pl.col(f"^{OPTION}.*$")
    if "variant_image" in rows.columns:
        image = images_in(pl.col("variant_image"), several=False).list.first().alias("image")
        named = rows.filter(pl.col("variant_image").is_not_null())
        named = named.select(PRODUCT, INDEX, image, options).filter(names_an_image(pl.col("image")))
        identity = image_identity(pl.col("image")).alias(IMAGE_ID)
        return named.with_columns(identity).drop("image")
    of_variants = rows.filter(VARIANT).select(INDEX, options)
    each = cells.select(PRODUCT, INDEX, IMAGE_ID)
    return each.join(of_variants, on=INDEX, how="inner", maintain_order="left")


def _in_common(rows: pl.DataFrame) -> pl.DataFrame:
    """What the variants that an image shows have in common: `product`, `image_id`, `variant`."""
    options = [name for name in rows.columns if name.startswith(OPTION)]
    if not options:
        return rows.select(
            PRODUCT, IMAGE_ID, pl.lit(None, dtype=pl.String).alias("variant")
        ).clear()
    cells = pl.col(options).str.strip_chars()
    cells = pl.when((cells != "") & (cells != _NO_OPTION)).then(cells)
    one = pl.when(pl.col(options).n_unique() == 1).then(pl.col(options).first())
    shown = rows.with_columns(cells).group_by(PRODUCT, IMAGE_ID, maintain_order=True).agg(one)
    text = pl.concat_str(options, separator=BETWEEN_OPTIONS, ignore_nulls=True)
    return shown.select(PRODUCT, IMAGE_ID, pl.when(text != "").then(text).alias("variant"))
