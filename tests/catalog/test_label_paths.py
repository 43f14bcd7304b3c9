"""Labels that are paths are written in one way, whatever separates their names in DATA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.label_paths import unify_paths
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError
from shopsight.labels.label_separator import guess_separator
from shopsight.read_options import ReadOptions
from tests.helpers import touch


def catalog_of(labels: list[Any]) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return Catalog(pl.DataFrame({"image": images, "label": labels}, strict=False), "shop")


def test_paths_that_are_written_well_stay_and_no_word_is_lost() -> None:
    catalog = catalog_of(["A > B", "Bag/Case", "C>D", "> 50", None])
    assert unify_paths(catalog, None) is catalog


def test_blanks_and_empty_names_make_no_label_of_their_own() -> None:
    found = unify_paths(catalog_of(["A > B", "A  >  B", "A > > B", "A > B >", "C"]), None)
    assert found.table["label"].to_list() == ["A > B"] * 4 + ["C"]
    (note,) = found.notes
    assert note == "paths: 3 labels written with ' > ', e.g. 'A  >  B' is read as 'A > B'"


def test_another_separator_is_exact() -> None:
    labels = ["Default/Women", "Default/Women/Tops", "Bag / Case", "hat"]
    found = unify_paths(catalog_of(labels), "/")
    assert found.table["label"].to_list() == [
        "Default > Women",
        "Default > Women > Tops",
        "Bag > Case",
        "hat",
    ]
    spaced = unify_paths(catalog_of(labels), " / ")
    assert spaced.table["label"].to_list()[2:] == ["Bag > Case", "hat"]
    assert spaced.table["label"][0] == "Default/Women"


def test_a_separator_that_no_label_has_is_said() -> None:
    found = unify_paths(catalog_of(["hat", "shoe"]), "|")
    assert found.notes == ("no label has the --path-separator '|', e.g. 'hat'",)
    assert unify_paths(catalog_of([None]), "|").notes == ()
    # A table that shopsight wrote from such labels, read with the same recipe.
    assert unify_paths(catalog_of(["A > B", "hat"]), "/").notes == ()
    with pytest.raises(ConfigError, match="--path-separator: ' ' is no text between names"):
        ReadOptions(path_separator=" ")


def test_an_image_of_several_paths_has_each_once() -> None:
    found = unify_paths(catalog_of([["A/B", "A / B", "C"], []]), "/")
    assert found.table["label"].to_list() == [["A > B", "C"], []]


def test_a_table_and_its_options(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    table = tmp_path / "shop.csv"
    table.write_text(
        "image,category\n1.jpg,Default/Women/Tops\n2.jpg,Default/Women\n3.jpg,Default/Men\n",
        encoding="utf-8",
    )
    read = ReadOptions(path_separator="/", drop=("Default > Men",))
    assert open_catalog(str(table), read).labels == ("Default > Women", "Default > Women > Tops")
    assert open_catalog(str(table)).labels == (
        "Default/Men",
        "Default/Women",
        "Default/Women/Tops",
    )


@pytest.mark.parametrize("name", ["label", "categories", "product_category"])
def test_commas_and_blanks_in_names_of_categories_separate_nothing(name: str) -> None:
    cells = [
        "Food, Beverages & Tobacco > Beverages",
        "Food, Beverages & Tobacco > Food Items > Snacks",
        "Food, Beverages & Tobacco > Food Items",
        "Home & Garden > Kitchen",
    ]
    mark, note = guess_separator(cells, name, "t.csv")
    assert mark is None
    assert "are kept whole (--label-separator ',' splits them)" in note
    plain = ["Home & Garden > Kitchen", "Home & Garden > Bath", "Home & Garden"]
    assert guess_separator(plain, name, "t.csv") == (None, "")
    # What is sure stays sure: paths between bars.
    bars = ["A > B|A > C", "A > B", "A > C"]
    assert guess_separator(bars, name, "t.csv")[0] == "|"
