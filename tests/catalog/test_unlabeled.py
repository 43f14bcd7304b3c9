from __future__ import annotations

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.unlabeled import only_labeled
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions


def catalog_of(*labels: object) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return Catalog(pl.DataFrame({"image": images, "label": list(labels)}, strict=False), "shop")


def test_images_without_a_label_are_left_out_and_counted(said: list[str]) -> None:
    labeled = only_labeled(catalog_of("hat", None, "shoe", None))
    assert labeled.catalog.table["label"].to_list() == ["hat", "shoe"]
    assert labeled.rows.tolist() == [0, 2]
    assert labeled.left_out == ("1.jpg", "3.jpg")
    assert said == ["left out 2 of 4 images without a label, e.g. 1.jpg"]


def test_an_empty_list_is_an_answer(said: list[str]) -> None:
    labeled = only_labeled(catalog_of(["hat"], [], None))
    assert labeled.rows.tolist() == [0, 1]
    assert labeled.catalog.targets(["hat"]).toarray().tolist() == [[1], [0]]
    assert len(said) == 1


def test_they_can_be_refused() -> None:
    with pytest.raises(CatalogError, match="1 of 2 images without a label") as caught:
        only_labeled(catalog_of("hat", None), ReadOptions(on_unlabeled="error"))
    assert "--on-unlabeled skip" in str(caught.value)
    assert "1.jpg" in str(caught.value)


@pytest.mark.parametrize("labels", [("hat", "shoe"), (None, None)])
def test_there_may_be_nothing_to_leave_out(labels: tuple[object, ...], said: list[str]) -> None:
    catalog = Catalog(
        pl.DataFrame({"image": ["a", "b"], "label": labels}, schema_overrides={"label": pl.String}),
        "shop",
    )
    assert only_labeled(catalog).catalog is catalog
    assert said == []
