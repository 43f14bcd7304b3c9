"""Shopify's `/products.json`: its products in the rows and columns of Shopify's CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from shopsight.errors import TableError
from shopsight.io.json_files import parse_json
from shopsight.tables.numbered_rows import ROW

COLUMNS = (
    *("Handle", "Title", "Type", "Tags", "Status", "Variant SKU", "Variant Price"),
    *("Option1 Value", "Option2 Value", "Option3 Value"),
    *("Image Src", "Image Position", "Variant Image"),
)
_LOOKED_AT_BYTES = 65_536


def is_json(data: bytes) -> bool:
    """Whether bytes begin as an object or a list of JSON does."""
    return data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}


def has_products(data: bytes) -> bool:
    """Whether the first bytes of JSON are those of Shopify's products."""
    head = data[:_LOOKED_AT_BYTES]
    return is_json(data) and all(
        f'"{key}"'.encode() in head for key in ("products", "variants", "images")
    )


def read_products(data: bytes, where: str) -> pl.DataFrame:
    """Read the products of one page.

    Args:
        data: the whole file: `{"products": [...]}`.
        where: the file, for errors.

    Returns:
        The columns of Shopify's CSV, and `row`: the number of the product in the file, from 1.

    Raises:
        TableError: it is no JSON, or holds no such products.
    """
    try:
        found = parse_json(data.decode("utf-8-sig"))
    except (ValueError, UnicodeDecodeError) as error:
        raise TableError(
            f"not JSON: {error}", where=where, fix="copy or download it again"
        ) from error
    products = found.get("products") if isinstance(found, dict) else None
    if not isinstance(products, list):
        raise TableError(
            "JSON without a list of products",
            where=where,
            details=["read is what Shopify gives at /products.json"],
            fix="export the products as CSV",
        )
    rows = []
    for number, product in enumerate(products, start=1):
        if not isinstance(product, dict):
            raise TableError(f"product {number:,} is no object", where=where)
        rows += [{ROW: number, **row} for row in _rows(product)]
    return pl.DataFrame(rows, schema={ROW: pl.Int64, **dict.fromkeys(COLUMNS, pl.String)})


def _rows(product: dict[str, Any]) -> Iterator[dict[str, str | None]]:
    """The product's own row, one for each further image and variant."""
    handle = _text(product.get("handle")) or _text(product.get("id"))
    images, variants = _objects(product.get("images")), _objects(product.get("variants"))
    tags = product.get("tags")
    own = {
        "Title": _text(product.get("title")),
        "Type": _text(product.get("product_type")),
        "Tags": ",".join(map(str, tags)) if isinstance(tags, list) else _text(tags),
        "Status": _text(product.get("status")),
    }
    for place in range(max(1, len(images), len(variants))):
        row = {"Handle": handle} | (own if place == 0 else {})
        if place < len(images):
            row["Image Src"] = _text(images[place].get("src"))
            row["Image Position"] = _text(images[place].get("position"))
        if place < len(variants):
            row |= _variant(variants[place])
        yield row


def _variant(variant: dict[str, Any]) -> dict[str, str | None]:
    image = variant.get("featured_image")
    return {
        "Variant SKU": _text(variant.get("sku")),
        "Variant Price": _text(variant.get("price")),
        "Variant Image": _text(image.get("src")) if isinstance(image, dict) else None,
        **{f"Option{number} Value": _text(variant.get(f"option{number}")) for number in (1, 2, 3)},
    }


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    """A text or number as text; null for what is neither, and for nothing."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value) or None if is_plain else None
