from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.errors import CatalogError
from tests.helpers import ProductPhotos


def test_scoring_leaves_out_images_without_a_label(
    tiny_run: Path, product_photos: ProductPhotos, said: list[str]
) -> None:
    catalog = api.open_catalog(product_photos.folder)
    bare = pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise(pl.col("label"))
    catalog = catalog.with_table(catalog.table.with_columns(label=bare))
    found = api.evaluate(tiny_run, catalog)
    assert found.seen is not None
    assert found.seen.images == 59
    assert any("left out 1 of 60 images without a label" in line for line in said)
    with pytest.raises(CatalogError, match="1 of 60 images without a label"):
        api.evaluate(tiny_run, catalog, read=api.ReadOptions(on_unlabeled="error"))
