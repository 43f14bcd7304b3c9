"""What each row of a catalog is for, when an embedding is adapted to it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.errors import TrainingError
from shopsight.training.adapt_parts import (
    NOWHERE,
    TEST_CLASSES,
    TEST_IMAGES,
    TRAIN,
    VAL_CLASSES,
    VAL_IMAGES,
    divide,
)


def catalog_of(labels: list[str], **columns: list[str]) -> Catalog:
    names = [f"{row}.jpg" for row in range(len(labels))]
    table = pl.DataFrame({"image": names, "label": labels, **columns})
    return Catalog(table, "photos", "")


def hashes(count: int) -> pl.Series:
    return pl.Series([f"{row:064x}" for row in range(count)])


def test_whole_classes_and_single_photos_are_held_out() -> None:
    catalog = catalog_of([f"label-{row % 10}" for row in range(400)])
    parts = divide(catalog, hashes(400), seed=0)
    counts = np.bincount(parts.part, minlength=6)
    assert counts[NOWHERE] == 0
    assert counts[TEST_CLASSES] == counts[VAL_CLASSES] == 80
    assert counts[TEST_IMAGES] == 48
    assert counts[VAL_IMAGES] == 29
    trained = set(parts.classes[parts.rows(TRAIN)])
    assert not trained & set(parts.classes[parts.rows(TEST_CLASSES, VAL_CLASSES)])
    assert set(parts.classes[parts.rows(TEST_IMAGES, VAL_IMAGES)]) <= trained
    assert not np.array_equal(parts.part, divide(catalog, hashes(400), seed=1).part)
    assert np.array_equal(parts.part, divide(catalog, hashes(400), seed=0).part)


def test_photos_by_one_contributor_stay_together_where_labels_are_found() -> None:
    senders = [str(row // 5) for row in range(300)]
    catalog = catalog_of(
        [f"label-{row % 3}" for row in range(300)], group=senders, sender_id=senders
    )
    parts = divide(catalog, hashes(300), seed=0)
    assert parts.relevant_by == "label"
    assert not (parts.part == TEST_CLASSES).any()
    for sender in range(60):
        assert len(set(parts.part[5 * sender : 5 * sender + 5])) == 1


def test_the_photos_of_a_product_go_apart_and_vary_together() -> None:
    products = [str(row // 4) for row in range(200)]
    catalog = catalog_of(["shirt"] * 200, group=products)
    parts = divide(catalog, hashes(200), seed=0)
    assert parts.relevant_by == "product"
    assert parts.families.count == 50
    tested = parts.classes[parts.rows(TEST_IMAGES)]
    assert set(tested) <= set(parts.classes[parts.rows(TRAIN, VAL_IMAGES, VAL_CLASSES)])


def test_copies_of_a_photo_are_never_apart() -> None:
    same = pl.Series([f"{row // 2:064x}" for row in range(120)])
    parts = divide(catalog_of([f"{row % 6 // 2}" for row in range(120)]), same, seed=3)
    assert (parts.part[::2] == parts.part[1::2]).all()


def test_a_given_split_is_kept() -> None:
    split = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    labels = [f"label-{row % 4}" for row in range(90)] + ["only-tested"] * 10
    parts = divide(catalog_of(labels, split=split), hashes(100), seed=0)
    assert parts.rows(TRAIN).tolist() == list(range(60))
    assert parts.rows(VAL_IMAGES).tolist() == list(range(60, 80))
    assert parts.rows(TEST_IMAGES).tolist() == list(range(80, 90))
    assert parts.rows(TEST_CLASSES).tolist() == list(range(90, 100))


def test_classes_that_a_split_by_label_holds_out_are_the_held_out_ones() -> None:
    labels = [f"label-{row % 10}" for row in range(100)]
    held = ["true" if label == "label-3" else "false" for label in labels]
    parts = divide(catalog_of(labels, held_out=held), hashes(100), seed=0)
    assert {parts.names[one] for one in parts.classes[parts.rows(TEST_CLASSES)]} == {"label-3"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b", "c"], "no label has several photos"),
        (["a", "a", "a"], "all images have one label"),
    ],
)
def test_nothing_to_learn_from_is_said(labels: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        divide(catalog_of(labels), hashes(len(labels)), seed=0)


def test_copies_are_one_photo() -> None:
    with pytest.raises(TrainingError, match="several photos"):
        divide(catalog_of(["a", "a", "b", "c"]), pl.Series(["1", "1", "2", "3"]), seed=0)


def test_several_labels_and_none_are_refused() -> None:
    table = pl.DataFrame({"image": ["1.jpg", "2.jpg"], "label": [["a", "b"], ["b"]]})
    with pytest.raises(TrainingError, match="several labels"):
        divide(Catalog(table, "photos", ""), hashes(2), seed=0)
    bare = Catalog(pl.DataFrame({"image": ["1.jpg", "2.jpg"]}), "photos", "")
    with pytest.raises(TrainingError, match="neither products nor labels"):
        divide(bare, hashes(2), seed=0)
