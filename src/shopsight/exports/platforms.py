"""What the exports of shop systems look like: one small table a platform.

All of this is data; `Profile` says what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shopsight.exports.profiles import Profile

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

_GOOGLE_ATTRIBUTES = {
    "color": "color",
    "pattern": "pattern",
    "material": "material",
    "gender": "gender",
    "age_group": "age_group",
    "size": "size",
}

GOOGLE = Profile(
    name="google",
    title="Google Merchant Center",
    anchors=(("id",), ("title",), ("image_link",), ("link", "availability", "item_group_id")),
    grouping="variants",
    # A row without a group is a product of its own.
    key=("item_group_id", "id"),
    text=("title",),
    labels={"category": ("google_product_category",), "type": ("product_type",)},
    every_row=True,
    price=("price",),
    images=(r"image_link", r"additional_image_links?(_\d+)?"),
    several_images=True,
    options=(r"color", r"size", r"pattern", r"material"),
    attributes=_GOOGLE_ATTRIBUTES,
    between_values="[;/]",
)

META = replace(
    GOOGLE,
    name="meta",
    title="Meta",
    anchors=(("id",), ("title",), ("image_link", "image[0].url")),
    marks=("fb_product_category", "image[0].url", "quantity_to_sell_on_facebook"),
    labels={
        "category": ("google_product_category", "fb_product_category"),
        "type": ("product_type",),
        "tags": ("product_tags[0]",),
    },
    status=("status", "visibility"),
    statuses={"published": "active", "staging": "draft"},
    images=(r"image_link", r"image_\d+_url", r"additional_image_links?(_\d+)?"),
)

WOOCOMMERCE = Profile(
    name="woocommerce",
    title="WooCommerce",
    anchors=(
        *(("Type",), ("Name",), ("Categories",), ("Images",), ("SKU", "ID")),
        ("Parent", "Published", "Visibility in catalog"),
    ),
    grouping="parent",
    key=("SKU", "ID"),
    parent=("Parent",),
    kind=("Type",),
    # "variation, virtual": how it is sold stands behind it.
    variant_kinds=("variation",),
    text=("Name",),
    labels={"category": ("Categories",), "tags": ("Tags",)},
    price=("Regular price",),
    status=("Published",),
    statuses={"1": "active", "0": "private", "-1": "draft"},
    images=(r"images",),
    several_images=True,
    options=(r"attribute_\d+_value_s",),
    attribute_names=r"attribute_(?P<number>\d+)_name",
    attribute_values=r"attribute_(?P<number>\d+)_value_s",
    between_values="[,|]",
    several_categories=",",
)

MAGENTO = Profile(
    name="magento",
    title="Magento (Adobe Commerce)",
    anchors=(("sku",), ("product_type", "attribute_set_code"), ("base_image",), ("name",)),
    grouping="children",
    key=("sku",),
    parent=("configurable_variations",),
    repeated=("store_view_code",),
    text=("name",),
    labels={"category": ("categories",)},
    every_row=True,
    price=("price",),
    status=("product_online",),
    statuses={"1": "active", "2": "disabled"},
    # `small_image` and `thumbnail_image` are the same image again; a swatch shows no product.
    images=(r"base_image", r"additional_images"),
    several_images=True,
    attribute_lists=("additional_attributes",),
    after_code="=",
    between_values=r"\|",
    levels="/",
    several_categories=",",
    roots=("Default Category", "Root Catalog"),
)

PRESTASHOP = Profile(
    name="prestashop",
    title="PrestaShop",
    anchors=(
        ("Product ID", "ID", "Reference #"),
        ("Name *", "Name"),
        ("Categories (x,y,z...)",),
        ("Image URLs (x,y,z...)",),
    ),
    grouping="key",
    key=("Product ID", "ID", "Reference #"),
    text=("Name *", "Name"),
    labels={"category": ("Categories (x,y,z...)",), "tags": ("Tags (x,y,z...)",)},
    price=("Price tax included", "Price tax excluded", "Price tax excluded or Price tax included"),
    status=("Active (0/1)", "Active (0 = No, 1 = Yes)"),
    statuses={"1": "active", "0": "disabled"},
    images=(r"image_urls_x_y_z",),
    several_images=True,
    attribute_lists=(
        "Feature(Name:Value:Position)",
        "Feature (Name:Value:Position)",
        "Feature(Name:Value:Position:Customized)",
        "Feature (Name:Value:Position:Customized)",
    ),
    # Its importer takes names of categories, or paths with slashes.
    levels="/",
    several_categories=",",
    roots=("Home", "Accueil", "Inicio", "Startseite", "Hauptkategorie"),
)

BIGCOMMERCE = Profile(
    name="bigcommerce",
    title="BigCommerce",
    anchors=(
        ("Item Type", "Item"),
        ("Product Name", "Name"),
        (
            *("Product Image File - 1", "Product Image URL - 1"),
            *("Internal Image URL (Export)", "Image URL (Import)"),
        ),
    ),
    grouping="order",
    key=("Product ID", "Product Code/SKU", "ID", "SKU", "Product Name", "Name"),
    kind=("Item Type", "Item"),
    own_kinds=("product",),
    variant_kinds=("sku", "variant"),
    text=("Product Name", "Name"),
    labels={"category": ("Category", "Categories Names", "Categories"), "type": ("Product Type",)},
    price=("Price",),
    status=("Product Visible?", "Product Visible", "Is Visible"),
    statuses={"y": "active", "true": "active", "n": "hidden", "false": "hidden"},
    images=(r"product_image_url_\d+", r"internal_image_url_export", r"variant_image_url"),
    images_else=(r"product_image_file_\d+", r"image_url_import"),
    position=("Image Sort Order",),
    # "[S]Size=M,[RB]Color=Red", and "Type=Rectangles|Name=Size|Value=M".
    options_within=("Options", "Product Name"),
    option_pattern=r"(?:\][^=,|\]]+|Value)=([^,|;]+)",
    levels="/",
    several_categories=";",
)

AMAZON = Profile(
    name="amazon",
    title="Amazon",
    anchors=(("item_sku", "sku"), ("item_name",), ("main_image_url",)),
    grouping="variants",
    key=("parent_sku", "item_sku", "sku"),
    kind=("parent_child", "parentage"),
    own_kinds=("parent",),
    text=("item_name",),
    labels={
        "category": ("item_type_name", "item_type", "item_type_keyword", "feed_product_type"),
        "type": ("feed_product_type",),
    },
    every_row=True,
    price=("standard_price",),
    # A swatch shows a color, no product.
    images=(r"main_image_url", r"other_image_url_?\d+"),
    options=(r"color_name", r"size_name", r"style_name"),
    attributes={
        "color_name": "color_name",
        "color_map": "color_map",
        "size_name": "size_name",
        "material_type": "material_type",
        "pattern_name": "pattern_name",
        "style_name": "style_name",
        "department_name": "department_name",
    },
)

PLATFORMS: Mapping[str, Profile] = {
    one.name: one
    for one in (SHOPIFY, META, GOOGLE, WOOCOMMERCE, MAGENTO, PRESTASHOP, BIGCOMMERCE, AMAZON)
}
"""The platforms by name, in the order in which a file is compared with them."""
