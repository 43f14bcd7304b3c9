"""Classes of few images: kept in training only, dropped, merged, or refused."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.rare_classes import (
    RARE_LABEL,
    SettledClasses,
    apply_rare_labels,
    settle_rare_classes,
    split_notes,
)
from shopsight.catalog.split import scarce_labels, split_catalog
from shopsight.catalog.split_report import DuplicateGroup
from shopsight.errors import CatalogError, ConfigError, SplitError
from shopsight.read_options import ReadOptions


def catalog_of(labels: list[Any], **columns: list[Any]) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    table = pl.DataFrame({"image": images, "label": labels, **columns}, strict=False)
    return Catalog(table, "shop")


LABELS = ["hat"] * 30 + ["shoe"] * 20 + ["cap"] * 8 + ["tie"] * 2 + ["belt"]


def settled(
    catalog: Catalog, *, folds: int = 0, copies: DuplicateGroup | None = None, **options: Any
) -> SettledClasses:
    return settle_rare_classes(
        catalog,
        ReadOptions(**options),
        duplicate_group=np.arange(len(catalog)) if copies is None else copies,
        scarce=partial(scarce_labels, val=0.1, test=0.1, folds=folds, seed=0),
    )


def test_by_default_the_split_decides_and_nothing_changes() -> None:
    catalog = catalog_of(LABELS)
    found = settled(catalog)
    assert found.catalog is catalog
    assert (found.train_only, found.merged, found.dropped, found.notes) == ((), (), (), ())
    assert settled(catalog, rare_below=9).train_only == ("belt", "cap", "tie")


@pytest.mark.parametrize(
    ("options", "dropped", "images"),
    [
        ({}, ("belt", "tie"), 3),
        ({"rare_below": 2}, ("belt", "tie"), 3),
        ({"rare_below": 8}, ("belt", "tie"), 3),
        ({"rare_below": 9}, ("belt", "cap", "tie"), 11),
        ({"folds": 9}, ("belt", "cap", "tie"), 11),
    ],
)
def test_dropped_classes(options: Any, dropped: tuple[str, ...], images: int) -> None:
    catalog = catalog_of(LABELS)
    found = settled(catalog, on_rare="drop", **options)
    assert found.dropped == dropped
    assert len(found.catalog) == len(LABELS) - images
    assert found.catalog.table.equals(catalog.table[found.rows.tolist()])
    assert found.notes == (
        f"rare: left out {len(dropped)} of 5 classes, {images} images, e.g. belt (1 image)",
    )


def test_merged_classes() -> None:
    found = settled(catalog_of(LABELS), on_rare="merge")
    assert found.merged == ("belt", "tie")
    assert found.catalog.labels == (RARE_LABEL, "cap", "hat", "shoe")
    assert found.catalog.table["label"].to_list() == LABELS[:58] + [RARE_LABEL] * 3
    assert found.notes == (
        "rare: merged 2 of 5 classes, 3 images, into (rare), e.g. belt (1 image)",
    )
    # What is still fewer than the user wants trains only.
    assert settled(catalog_of(LABELS), on_rare="merge", rare_below=9).train_only == ()
    few = catalog_of([*LABELS[:58], "tie", "tie"])
    assert settled(few, on_rare="merge", rare_below=5).train_only == (RARE_LABEL,)


def test_classes_whose_images_are_copies_or_of_one_group_are_rare() -> None:
    catalog = catalog_of(LABELS, group=[None] * 50 + ["one"] * 8 + [None] * 3)
    assert settled(catalog, on_rare="drop").dropped == ("belt", "cap", "tie")
    copies = np.arange(61)
    copies[50:57] = 50
    assert settled(catalog_of(LABELS), on_rare="drop", copies=copies).dropped == (
        "belt",
        "cap",
        "tie",
    )


def test_refused_classes_come_with_flags_to_copy() -> None:
    with pytest.raises(SplitError) as caught:
        settled(catalog_of(LABELS), on_rare="error")
    assert caught.value.what == "2 of 5 classes cannot be in every part of the split"
    assert caught.value.details == ("'belt': 1 image", "'tie': 2 images")
    assert "--drop belt --drop tie" in str(caught.value.fix)
    with pytest.raises(SplitError, match="have fewer than 9 images, or cannot"):
        settled(catalog_of(LABELS), on_rare="error", rare_below=9)
    every = settled(catalog_of(["hat", "shoe"] * 5), on_rare="error")
    assert len(every.catalog) == 10


def test_a_label_of_that_name_is_an_error() -> None:
    with pytest.raises(CatalogError, match=r"there is a label '\(rare\)' already"):
        settled(catalog_of([*LABELS, RARE_LABEL]), on_rare="merge")
    assert settled(catalog_of([*LABELS, RARE_LABEL]), on_rare="keep").notes == ()


def test_limits_that_are_none() -> None:
    with pytest.raises(CatalogError, match="0 is no number of images"):
        settled(catalog_of(LABELS), rare_below=0)
    with pytest.raises(ConfigError, match="'remove' is not a choice"):
        ReadOptions(on_rare="remove")  # type: ignore[arg-type]


def test_all_classes_are_rare() -> None:
    with pytest.raises(SplitError, match="all 2 classes are rare: nothing is left"):
        settled(catalog_of(["hat", "shoe"]), on_rare="drop")
    assert settled(
        catalog_of(["hat", "shoe"] * 3), on_rare="merge", rare_below=9
    ).catalog.labels == (RARE_LABEL,)


def test_a_given_split_makes_no_class_rare_but_a_limit_does() -> None:
    catalog = catalog_of(LABELS, split=["train", "val", "test"] * 20 + ["train"])
    assert settled(catalog, on_rare="drop").dropped == ()
    assert settled(catalog, on_rare="drop", rare_below=3).dropped == ("belt", "tie")
    # Validation is taken out of the train rows: a class of which there is one cannot be in both.
    no_val = catalog_of(LABELS, split=["train", "test"] * 30 + ["train"])
    assert settled(no_val, on_rare="drop").dropped == ("belt", "tie")
    folded = catalog_of(LABELS, fold=[0, 1] * 30 + [0])
    assert settled(folded, folds=2, on_rare="drop").dropped == ()


def test_several_labels_per_image() -> None:
    labels = [["red", "hat"]] * 20 + [["red"]] * 20 + [["blue", "shoe"]] * 20 + [["tie", "red"]]
    found = settled(catalog_of([*labels, ["tie"]]), on_rare="drop")
    assert found.dropped == ("tie",)
    assert found.catalog.table["label"].to_list() == [*labels[:60], ["red"]]
    merged = settled(catalog_of([*labels, ["tie", "belt"]]), on_rare="merge")
    assert merged.catalog.table["label"].to_list()[-2:] == [[RARE_LABEL, "red"], [RARE_LABEL]]


def test_only_classes_that_are_rare_themselves_are_dropped() -> None:
    # Two of the three groups of "cap" also hold the only images of "tie".
    labels = ["hat", "shoe"] * 10 + ["cap", "tie", "cap", "tie", "cap"]
    group = [None] * 20 + ["a", "a", "b", "b", "c"]
    catalog = catalog_of(labels, group=group)
    assert settled(catalog, on_rare="drop").dropped == ("tie",)
    merged = settled(catalog, on_rare="merge")
    assert merged.merged == ("tie",)
    # Kept, "tie" holds "cap" in training with it.
    assert set(split_catalog(catalog, val=0.1, test=0.1, seed=0)[1].train_only) == {"cap", "tie"}


def test_an_image_with_several_labels_loses_the_rare_one() -> None:
    several = [["hat"], ["shoe"]] * 10 + [["tie", "cap"], ["tie"], ["cap"], ["cap"]]
    found = settled(catalog_of(several), on_rare="drop")
    assert found.dropped == ("tie",)
    assert found.catalog.table["label"].to_list()[-3:] == [["cap"]] * 3
    assert found.rows.tolist() == [*range(21), 22, 23]


def test_a_given_split_says_what_it_keeps() -> None:
    catalog = catalog_of(LABELS, split=["train", "val", "test"] * 20 + ["train"])
    only = settled(catalog, rare_below=9).train_only
    done, report = split_catalog(catalog, val=0.1, test=0.1, seed=0, train_only=only)
    assert done.table.equals(catalog.table)
    assert split_notes(report, made=False) == ()
    assert split_notes(report, made=False, train_only=only) == (
        "rare: 2 classes of fewer images than --rare-below stay in the parts that DATA gives them, "
        "e.g. cap",
    )


@pytest.mark.parametrize(
    ("merged", "dropped", "labels", "said"),
    [
        ((), (), LABELS, ()),
        (
            ("tie", "belt", "unseen"),
            (),
            LABELS[:58] + [RARE_LABEL] * 3,
            ("as in training, 3 images of 2 classes are labeled (rare): belt, tie",),
        ),
        (
            (),
            ("cap",),
            LABELS[:50] + LABELS[58:],
            ("as in training, left out 8 images of 1 rare class: cap",),
        ),
    ],
)
def test_other_data_gets_the_labels_of_the_training(
    merged: Collection[str], dropped: Collection[str], labels: list[str], said: tuple[str, ...]
) -> None:
    catalog, notes = apply_rare_labels(catalog_of(LABELS), merged=merged, dropped=dropped)
    assert catalog.table["label"].to_list() == labels
    assert notes == said


PATHS = (
    ["Apparel > Hats"] * 30
    + ["Apparel > Shoes > Boots"] * 20
    + ["Apparel > Shoes > Clogs"] * 4
    + ["Apparel > Shoes > Pumps"] * 5
    + ["Jewelry > Rings > Gold"] * 2
    + ["Jewelry > Rings"]
    + ["Jewelry"] * 10
    + ["Toys"]
)


def test_rare_paths_are_folded_into_the_path_above() -> None:
    catalog = catalog_of(PATHS)
    found = settled(catalog, on_rare="parent", rare_below=8)
    # Clogs and pumps make nine shoes, which stay; two rings and one more go on to jewelry.
    assert dict(found.folded) == {
        "Apparel > Shoes > Clogs": "Apparel > Shoes",
        "Apparel > Shoes > Pumps": "Apparel > Shoes",
        "Jewelry > Rings": "Jewelry",
        "Jewelry > Rings > Gold": "Jewelry",
    }
    counts = dict(found.catalog.table["label"].value_counts().iter_rows())
    assert counts == {
        "Apparel > Hats": 30,
        "Apparel > Shoes": 9,
        "Apparel > Shoes > Boots": 20,
        "Jewelry": 13,
        "Toys": 1,
    }
    assert len(found.catalog) == len(PATHS)
    # Nothing is above the top: what is rare there trains only.
    assert found.train_only == ("Toys",)
    assert found.notes == (
        "rare: folded 4 of 8 classes, 12 images, into 2 paths above, "
        "e.g. Jewelry > Rings (1 image) -> Jewelry",
    )


def test_without_a_limit_only_what_cannot_be_split_is_folded() -> None:
    found = settled(catalog_of(PATHS), on_rare="parent")
    assert dict(found.folded) == {"Jewelry > Rings > Gold": "Jewelry > Rings"}
    assert found.catalog.labels.count("Jewelry > Rings") == 1
    every = settled(catalog_of(["A > B"] * 9 + ["A > C"] * 9), on_rare="parent")
    assert (every.folded, every.notes) == ({}, ())


def test_labels_without_a_path_cannot_be_folded() -> None:
    with pytest.raises(CatalogError, match="no label is one") as caught:
        settled(catalog_of(LABELS), on_rare="parent")
    assert '--path-separator "/"' in str(caught.value.fix)
    with pytest.raises(SplitError) as refused:
        settled(catalog_of(PATHS), on_rare="error")
    assert "--on-rare parent   (folds them into the paths above them)" in str(refused.value.fix)


def test_folded_labels_of_several_an_image() -> None:
    labels = [["A > B", "C"], ["A > D", "C"]] * 10 + [["A > X", "A"]]
    found = settled(catalog_of(labels), on_rare="parent")
    assert dict(found.folded) == {"A > X": "A"}
    assert found.catalog.table["label"].to_list()[-1] == ["A"]


def test_other_data_gets_the_paths_that_a_model_knows() -> None:
    catalog = catalog_of(["A > B", "A > X", "A > X", "C"])
    found, notes = apply_rare_labels(catalog, merged=(), dropped=(), folded={"A > X": "A"})
    assert found.table["label"].to_list() == ["A > B", "A", "A", "C"]
    assert notes == ("as in training, 2 images of 1 class are labeled by a path above: A > X -> A",)
