from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.datasets.generated_shop import EXPORT, RARE, RARE_PRODUCTS, generate_shop
from shopsight.datasets.open import open_catalog

ADDRESS = "http://127.0.0.1:8000"


def test_the_export_is_read_as_that_of_a_shop_and_its_truth_is_known(tmp_path: Path) -> None:
    shop = generate_shop(tmp_path / "shop", address=ADDRESS, products_per_kind=5)
    assert shop.export.name == EXPORT
    assert len(shop.truth) == 40
    assert list(shop.truth.values()).count(RARE) == RARE_PRODUCTS
    catalog = open_catalog(str(shop.export))
    table = catalog.table
    assert any("Shopify" in note for note in catalog.notes)
    # One product has no photo.
    assert table["group"].n_unique() == 39
    said = dict(table.unique("group").select("group", "label").iter_rows())
    for handle, label in said.items():
        if handle in shop.missing:
            assert label is None
        else:
            assert (label == shop.truth[handle]) == (handle not in shop.wrong)
    images = table["image"].to_list()
    assert shop.dead in images
    for url in set(images) - {shop.dead}:
        file = url.removeprefix(ADDRESS).partition("?")[0]
        assert (shop.folder / file.lstrip("/")).is_file()
    assert table.filter(pl.col("position") == 1)["group"].is_unique().all()


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    one = generate_shop(tmp_path / "one", address=ADDRESS, products_per_kind=2)
    other = generate_shop(tmp_path / "other", address=ADDRESS, products_per_kind=2)
    assert one.export.read_bytes() == other.export.read_bytes()
    assert one.truth == other.truth
