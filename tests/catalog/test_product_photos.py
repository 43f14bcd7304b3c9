"""Which photos show one product: by group, with main photos, copies and rows without a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import are_products, product_photos, several_labels


def catalog_of(groups: Sequence[str | None], **columns: Sequence[object]) -> Catalog:
    images = [f"{number}.jpg" for number in range(len(groups))]
    table = pl.DataFrame({"image": images, "group": groups, **columns})
    return Catalog(table, "shop")


def test_products_are_numbered_by_their_first_rows_and_rows_without_a_group_are_alone() -> None:
    found = product_photos(catalog_of(["b", None, "a", "b", None]))
    assert found is not None
    assert found.of_photo.tolist() == [0, 1, 2, 0, 3]
    assert found.names == ("b", None, "a", None)
    assert found.sizes.tolist() == [2, 1, 1, 1]
    assert found.rows_together().tolist() == [0, 3, 1, 2, 4]
    some = found.take(np.array([3, 2]))
    assert (some.of_photo.tolist(), some.names) == ([0, 1], ("b", "a"))


def test_a_contributor_is_no_product_and_neither_is_nothing() -> None:
    contributor = catalog_of(["7", "7", "8"], sender_id=["7", "7", "8"])
    assert product_photos(contributor) is None
    assert product_photos(Catalog(pl.DataFrame({"image": ["a.jpg"]}), "shop")) is None


def test_position_one_is_the_main_photo_however_it_is_written() -> None:
    found = product_photos(catalog_of(["a"] * 4, position=["2", "1.0", "", "first"]))
    assert found is not None
    assert found.is_first.tolist() == [False, True, False, False]
    numbers = product_photos(catalog_of(["a"] * 3, position=[None, 2, 1]))
    assert numbers is not None
    assert numbers.is_first.tolist() == [False, False, True]


def test_photos_of_one_product_with_different_labels() -> None:
    catalog = catalog_of(["a", "a", "b", "b", "c"], label=["hat", "shoe", "hat", None, "hat"])
    photos = product_photos(catalog)
    assert photos is not None
    assert several_labels(catalog, photos).tolist() == [True, False, False]
    # One of two groups of several photos: still products.
    assert are_products(catalog, photos)


def test_groups_of_many_labels_are_no_products_nor_are_single_photos() -> None:
    visits = catalog_of(["a", "a", "b", "b", "c", "c"], label=["x", "y", "x", "y", "x", "x"])
    photos = product_photos(visits)
    assert photos is not None
    assert not are_products(visits, photos)
    single = catalog_of(["a", "b"], label=["x", "y"])
    alone = product_photos(single)
    assert alone is not None
    assert not are_products(single, alone)
