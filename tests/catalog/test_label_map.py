from __future__ import annotations

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.label_map import drop_labels, map_labels
from shopsight.errors import CatalogError


def catalog_of(*labels: object) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return Catalog(pl.DataFrame({"image": images, "label": list(labels)}, strict=False), "shop")


def labels_of(catalog: Catalog) -> list[object]:
    return catalog.table["label"].to_list()


def test_drop_leaves_out_the_images_and_tells() -> None:
    left = drop_labels(catalog_of("hat", "Skip", None, "shoe", "Skip"), ["Skip"])
    assert labels_of(left) == ["hat", None, "shoe"]
    assert left.notes == ("dropped Skip: 2 images",)


def test_drop_of_one_of_several_labels() -> None:
    left = drop_labels(catalog_of(["a", "b"], ["b"], [], ["a"]), ["b"])
    assert labels_of(left) == [["a"], [], ["a"]]


@pytest.mark.parametrize("asked", ["skip", "Skp", "Skip "])
def test_drop_of_an_absent_label_offers_the_nearest(asked: str) -> None:
    with pytest.raises(CatalogError, match="did you mean 'Skip'"):
        drop_labels(catalog_of("hat", "Skip"), [asked])


def test_many_to_one() -> None:
    mapping = {"T-Shirt": "top", "Longsleeve": "top", "Pants": "trousers", "Boots": "shoe"}
    mapped = map_labels(catalog_of("T-Shirt", "Longsleeve", "Pants", "Hat"), mapping)
    assert labels_of(mapped) == ["top", "top", "trousers", "Hat"]
    assert mapped.notes == (
        "label map: Longsleeve, T-Shirt -> top",
        "label map: renamed Pants -> trousers",
        "label map: not mentioned, kept as they are: Hat",
        "label map: mentioned, but not in the data: Boots",
    )


def test_mapping_onto_an_existing_label_is_a_merge() -> None:
    mapped = map_labels(catalog_of("cap", "hat"), {"cap": "hat"})
    assert labels_of(mapped) == ["hat", "hat"]
    assert mapped.notes[0] == "label map: cap, hat -> hat"


def test_an_empty_target_drops_the_label() -> None:
    mapped = map_labels(catalog_of("hat", "Skip", "Skip too"), {"Skip": "", "Skip too": ""})
    assert labels_of(mapped) == ["hat"]
    assert mapped.notes[0] == "dropped Skip, Skip too: 2 images"
    assert not any("->" in note for note in mapped.notes)


def test_several_labels_merge_within_an_image() -> None:
    mapped = map_labels(
        catalog_of(["cap", "beret", "red"], ["red"], []), {"cap": "hat", "beret": "hat"}
    )
    assert labels_of(mapped) == [["hat", "red"], ["red"], []]


def test_rows_without_label_stay_without() -> None:
    mapped = map_labels(catalog_of("cap", None), {"cap": "hat"})
    assert labels_of(mapped) == ["hat", None]


def test_a_map_that_fits_nothing() -> None:
    with pytest.raises(CatalogError, match="mentions none of the labels"):
        map_labels(catalog_of("hat"), {"Hat": "x"})
