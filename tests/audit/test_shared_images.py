"""What parts of a merged catalog share, from duplicate groups alone."""

from __future__ import annotations

import numpy as np
import polars as pl

from shopsight.audit.shared_images import MOST_CLASSES, SharedImages, find_shared_images
from shopsight.catalog.catalog import Catalog

PARTS = ("a", "b", "c")


def found(rows: list[tuple[str, str, str | None, int]]) -> SharedImages:
    """Of rows of part, label, split and duplicate group."""
    parts, labels, splits, groups = zip(*rows, strict=True)
    names = [f"{number}.jpg" for number in range(len(rows))]
    table = pl.DataFrame(
        {
            "image": names,
            "id": names,
            "merged_from": parts,
            "merged_label": labels,
            "label": [f"{part}/{label}" for part, label in zip(parts, labels, strict=True)],
            "split": pl.Series(splits, dtype=pl.String),
        }
    )
    return find_shared_images(Catalog(table, "merged"), np.array(groups), PARTS)


def gone(shared: SharedImages, count: int) -> list[int]:
    return np.flatnonzero(shared.not_settled(count)).tolist()


def test_an_image_stays_where_it_is_tested_else_in_the_first_part() -> None:
    rows: list[tuple[str, str, str | None, int]] = [
        ("a", "x", "train", 0), ("b", "x", "test", 0), ("c", "x", "val", 0),
        ("a", "x", "train", 1), ("b", "x", "train", 1),
        ("b", "x", None, 2), ("c", "x", "val", 2),
    ]  # fmt: skip
    shared = found(rows)
    assert gone(shared, 7) == [0, 2, 4, 5]
    assert (shared.num_images, shared.num_leaks, shared.num_conflicts) == (3, 2, 3)


def test_what_one_part_has_twice_is_its_own() -> None:
    shared = found([("a", "x", "train", 0), ("a", "y", "test", 0), ("b", "x", "train", 1)])
    assert shared.num_images == 0
    assert gone(shared, 3) == []
    # Beside another part's copy, its own two stay together.
    shared = found([("a", "x", "train", 0), ("a", "x", "test", 0), ("b", "x", "train", 0)])
    assert gone(shared, 3) == [2]


def test_classes_that_share_images_or_a_name() -> None:
    rows: list[tuple[str, str, str | None, int]] = [
        *[("a", "Shoes", None, group) for group in range(3)],
        *[("b", "Sneakers", None, group) for group in range(3)],
        ("b", "shoes", None, 9), ("c", "Sneakers", None, 10),
    ]  # fmt: skip
    classes = found(rows).classes
    assert classes.row(0, named=True) == {
        "label": "b/Sneakers", "to": "a/Shoes", "shared_images": 3, "images": 3,
        "images_of_to": 3, "same_name": False,
    }  # fmt: skip
    others = set(classes.filter("same_name").select("label", "to").iter_rows())
    assert others == {("b/shoes", "a/Shoes"), ("c/Sneakers", "b/Sneakers")}


def test_a_label_map_leads_to_the_earliest_part() -> None:
    rows: list[tuple[str, str, str | None, int]] = [
        ("a", "x", None, 0), ("b", "y", None, 0), ("b", "y", None, 1), ("c", "z", None, 1),
    ]  # fmt: skip
    ends = dict(found(rows).label_map().select("label", "to").iter_rows())
    assert ends == {"b/y": "a/x", "c/z": "a/x"}


def test_an_image_that_many_classes_have_says_nothing_of_them() -> None:
    many = [("a", str(one), None, 0) for one in range(MOST_CLASSES)]
    shared = found([*many, ("b", "other", None, 0)])
    assert shared.num_conflicts == 1
    assert shared.classes.is_empty()
