"""What is wrong with addresses of images, and which of them ask for a smaller copy."""

from __future__ import annotations

import pytest

from shopsight.image_rules.addresses import address_fault, shrunk_by


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://shop.example/a.jpg", None),
        ("https://shop.example/a%20b%2C.jpg?v=1&x=2", None),
        ("https://shop.example/a b.jpg", "a blank"),
        ("https://shop.example/a\tb.jpg", "a blank"),
        ("https://shop.example/a,b.jpg", "a comma"),
        ("https://shop.example/schön.jpg", "'ö', not ASCII"),
    ],
)
def test_fault(address: str, fault: str | None) -> None:
    assert address_fault(address) == fault


@pytest.mark.parametrize(
    ("address", "by"),
    [
        ("https://cdn.shopify.com/s/files/1/2/products/shirt_200x.jpg?v=17", "_200x"),
        ("https://cdn.shopify.com/s/files/1/2/products/shirt_50x70.jpg", "_50x70"),
        ("https://cdn.shopify.com/s/files/1/2/products/shirt_200x200_crop_center@2x.png",
         "_200x200_crop_center@2x"),
        ("https://cdn.shopify.com/s/files/1/2/products/shirt_x300.jpg", "_x300"),
        ("https://cdn.shopify.com/s/files/1/2/products/shirt_grande.jpg", "_grande"),
        ("https://shop.example/cdn/shop/files/shirt_small.webp", "_small"),
        ("https://shop.example/cdn/shop/files/shirt.webp?v=1&width=400", "width=400"),
        ("https://shop.example/shirt.jpg?w=400&h=300", "w=400"),
        ("https://shop.example/wp-content/uploads/shirt-300x200.jpg", "-300x200"),
        ("https://res.example/image/upload/c_fill,w_200,h_200/shirt.jpg", "c_fill,w_200,h_200"),
        ("https://thumbs.example/fit-in/200x200/shirt.jpg", "fit-in/200x200"),
        ("https://shop.example/media/catalog/product/cache/" + 32 * "a" + "/s/h/shirt.jpg",
         "cache/" + 32 * "a"),
        # What only looks like it.
        ("https://cdn.shopify.com/s/files/1/2/products/shirt.jpg?v=1700000000", None),
        ("https://shop.example/poster-50x70.jpg", None),
        ("https://shop.example/poster_50x70.jpg", None),
        ("https://shop.example/bag_small.jpg", None),
        ("https://shop.example/shoe.jpg?size=42", None),
        ("https://shop.example/shoe.jpg?width=wide", None),
        ("https://[broken/shirt_200x.jpg", None),
    ],
)  # fmt: skip
def test_shrunk(address: str, by: str | None) -> None:
    assert shrunk_by(address) == by
