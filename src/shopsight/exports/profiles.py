"""What the exports of shop systems look like: one small table a platform.

Names of columns are compared without case, blanks and marks (`canonical`); of several names for one
column the first that the file has counts. All of this is data: how it is read is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LabelColumn = Literal["category", "type", "tags"]
"""What of a product can be its label."""

Grouping = Literal["key"]
"""How rows become products.

"key": rows of one key are one product, whose own row is the first that has a title.
"""

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is known of a platform's export.

    Attributes:
        name: as `--platform` takes it.
        title: what users call such a file.
        anchors: columns that tell it from any other table, each under one of its names.
        grouping: how rows become products.
        key: columns whose first filled cell says which product a row is of.
        text: columns of the title.
        labels: columns of what can be the label.
        price: columns of the price.
        status: columns of the status.
        statuses: what a cell of the status means, in lower case; other cells stay as they are.
        images: patterns of columns of images, in the order of their positions.
        several_images: a cell names several images, with commas between them.
        position: columns of the position of a row's image.
        variant_image: columns of the image of a row's variant.
        options: patterns of columns of what tells variants apart.
        of_variant: patterns of columns that are filled in the rows of variants.
        attributes: the code of a column that is an attribute.
        attribute_pattern: a pattern of the whole name of an attribute's column, with its `code`.
        levels: what stands between the levels of a category.
        several_categories: what stands between several categories in a cell; "" where a cell holds
            one.
    """

    name: str
    title: str
    anchors: tuple[Names, ...]
    grouping: Grouping
    key: Names
    text: Names
    labels: Mapping[LabelColumn, Names]
    price: Names = ()
    status: Names = ()
    statuses: Mapping[str, str] = field(default_factory=dict)
    images: Names = ()
    several_images: bool = False
    position: Names = ()
    variant_image: Names = ()
    options: Names = ()
    of_variant: Names = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    attribute_pattern: str = ""
    levels: str = ">"
    several_categories: str = ""


SHOPIFY = Profile(
    name="shopify",
    title="Shopify",
    anchors=(("Handle", "URL handle"), ("Title",), ("Image Src", "Product image URL")),
    grouping="key",
    key=("Handle", "URL handle"),
    text=("Title",),
    labels={
        "category": ("Product Category", "Standardized Product Type"),
        "type": ("Type", "Custom Product Type"),
        "tags": ("Tags",),
    },
    price=("Variant Price", "Price"),
    # Exports of before 2020 have no status.
    status=("Status", "Published", "Published on online store"),
    statuses={"true": "active", "false": "draft"},
    images=(r"image_src", r"product_image_url"),
    position=("Image Position",),
    variant_image=("Variant Image", "Variant image URL"),
    options=(r"option[123]_value",),
    of_variant=(r"option1_value", r"variant_sku", r"sku", r"variant_price", r"price"),
    attributes={
        "Google Shopping / Gender": "gender",
        "Google Shopping / Age Group": "age_group",
    },
    # The name before it is in the language of the shop: "Farbe", "Färg".
    attribute_pattern=r".*\(\s*product\.metafields\.[\w-]+\.(?P<code>[\w-]+)\s*\)",
)

PLATFORMS: Mapping[str, Profile] = {one.name: one for one in (SHOPIFY,)}
"""The platforms by name, in the order in which a file is compared with them."""
