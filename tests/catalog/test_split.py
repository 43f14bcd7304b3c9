"""Splits and folds: fractions, groups and duplicates that stay together, and what is refused."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.divide_rows import each_class_is_one_group
from shopsight.catalog.split import fold_as_split, fold_catalog, split_catalog
from shopsight.catalog.split_report import check_leakage
from shopsight.errors import SplitError


def catalog_of(labels: list[Any], **columns: list[Any]) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return Catalog(
        pl.DataFrame({"image": images, "label": labels, **columns}, strict=False), "shop"
    )


def counts(catalog: Catalog, column: str = "split") -> dict[tuple[str, str], int]:
    return Counter(catalog.table.select("label", column).iter_rows())


def parts_of(catalog: Catalog, by: str, column: str = "split") -> dict[Any, set[str]]:
    found: dict[Any, set[str]] = {}
    for value, part in catalog.table.select(by, column).iter_rows():
        found.setdefault(value, set()).add(part)
    return found


def test_exact_fractions_of_every_class() -> None:
    done, report = split_catalog(
        catalog_of(["hat"] * 50 + ["shoe"] * 100), val=0.1, test=0.2, seed=0
    )
    assert counts(done) == {
        ("hat", "train"): 35, ("hat", "val"): 5, ("hat", "test"): 10,
        ("shoe", "train"): 70, ("shoe", "val"): 10, ("shoe", "test"): 20,
    }  # fmt: skip
    assert report.ok
    assert report.num_images == {"train": 105, "val": 15, "test": 30}
    assert report.lines()[:2] == [
        "images: train 105, val 15, test 30",
        "classes: all 2 in every part",
    ]
    assert report.to_json()["ok"] is True


def test_fractions_that_do_not_divide_are_right_as_a_whole() -> None:
    # 14 images of each of 100 classes: 1.4 for test each, 140 in all.
    done, report = split_catalog(
        catalog_of([f"c{i % 100:02d}" for i in range(1400)]), val=0.1, test=0.1, seed=0
    )
    assert report.num_images == {"train": 1120, "val": 140, "test": 140}
    assert {count for (_, part), count in counts(done).items() if part == "test"} == {1, 2}


def test_another_seed_gives_another_split_of_the_same_fractions() -> None:
    catalog = catalog_of(["hat", "shoe"] * 50)
    first, again, other = (split_catalog(catalog, val=0.1, test=0.1, seed=s)[0] for s in (0, 0, 1))
    assert first.table.equals(again.table)
    assert not first.table.equals(other.table)
    assert counts(first) == counts(other)


def test_the_order_of_the_rows_does_not_matter() -> None:
    catalog = catalog_of(
        [f"c{i % 5}" for i in range(200)], group=[f"g{i // 3}" for i in range(200)]
    )
    duplicate_group = np.arange(200) // 2 * 2
    order = np.random.default_rng(0).permutation(200)
    first, _ = split_catalog(catalog, val=0.1, test=0.2, seed=3, duplicate_group=duplicate_group)
    second, _ = split_catalog(
        catalog.take(order), val=0.1, test=0.2, seed=3, duplicate_group=duplicate_group[order]
    )
    assert first.table.sort("image").equals(second.table.sort("image"))


def test_a_fraction_of_zero_makes_no_such_part() -> None:
    done, report = split_catalog(catalog_of(["hat"] * 10), val=0.2, test=0.0, seed=0)
    assert report.num_images == {"train": 8, "val": 2}
    assert set(done.table["split"]) == {"train", "val"}


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.9, 0.2)])
def test_fractions_that_leave_nothing(val: float, test: float) -> None:
    with pytest.raises(SplitError, match="no training images"):
        split_catalog(catalog_of(["hat"] * 10), val=val, test=test, seed=0)


def test_groups_stay_together() -> None:
    catalog = catalog_of(["hat", "shoe"] * 60, group=[f"p{i // 4}" for i in range(120)])
    done, report = split_catalog(catalog, val=0.2, test=0.2, seed=0)
    assert all(len(parts) == 1 for parts in parts_of(done, "group").values())
    assert (report.num_groups, report.num_shared_groups) == (30, 0)
    assert report.num_images == {"train": 72, "val": 24, "test": 24}


def test_the_group_can_be_another_column_or_none() -> None:
    catalog = catalog_of(["hat"] * 40, sku=[i // 4 for i in range(40)])
    done, report = split_catalog(catalog, val=0.2, test=0.2, seed=0, group="sku")
    assert all(len(parts) == 1 for parts in parts_of(done, "sku").values())
    assert report.num_groups == 10
    freed, report = split_catalog(
        done.with_table(done.table.drop("split")), val=0.2, test=0.2, seed=0, group="none"
    )
    assert "group" not in freed.table.columns
    assert report.num_groups is None
    with pytest.raises(SplitError, match="did you mean 'sku'"):
        split_catalog(catalog, val=0.1, test=0.1, seed=0, group="skus")


def test_rows_without_a_group_stand_alone() -> None:
    catalog = catalog_of(["hat"] * 20, group=[None] * 18 + ["a", "a"])
    done, report = split_catalog(catalog, val=0.2, test=0.2, seed=0)
    assert report.num_images == {"train": 12, "val": 4, "test": 4}
    assert len(parts_of(done, "group")["a"]) == 1


def test_groups_and_duplicates_tie_together_through_each_other() -> None:
    # 0-1 share a group, 1-2 are duplicates, 2-3 share a group: all four are one unit.
    catalog = catalog_of(["hat"] * 40, group=["a", "a", "b", "b", *(None,) * 36])
    duplicate_group = np.arange(40)
    duplicate_group[2] = 1
    for seed in range(5):
        done, report = split_catalog(
            catalog, val=0.2, test=0.2, seed=seed, duplicate_group=duplicate_group
        )
        assert len(set(done.table["split"][:4])) == 1
        assert (report.num_duplicate_groups, report.num_shared_duplicate_groups) == (1, 0)


def test_rows_of_one_file_stay_together() -> None:
    table = pl.DataFrame({"image": [f"{i // 2}.jpg" for i in range(40)], "label": ["hat"] * 40})
    done, report = split_catalog(Catalog(table, "boxes"), val=0.2, test=0.2, seed=0)
    assert all(len(parts) == 1 for parts in parts_of(done, "image").values())
    assert report.num_shared_files == 0


def test_rare_classes_get_everywhere() -> None:
    done, report = split_catalog(catalog_of(["hat"] * 3 + ["shoe"] * 97), val=0.1, test=0.1, seed=0)
    assert not report.missing_labels
    assert {part for (label, part) in counts(done) if label == "hat"} == {"train", "val", "test"}


def test_a_class_that_cannot_be_everywhere_trains_with_all_of_its_images() -> None:
    labels = ["cap"] * 5 + ["tie"] * 2 + ["hat"] * 30 + ["shoe"] * 30
    catalog = catalog_of(labels, group=["g"] * 5 + [None] * 62)
    done, report = split_catalog(catalog, val=0.1, test=0.1, seed=0)
    assert parts_of(done, "label") == {
        "cap": {"train"},
        "tie": {"train"},
        "hat": {"train", "val", "test"},
        "shoe": {"train", "val", "test"},
    }
    # The others keep their fractions.
    assert {part: counts(done)["hat", part] for part in ("train", "val", "test")} == {
        "train": 24,
        "val": 3,
        "test": 3,
    }
    assert report.train_only == {"tie": 2, "cap": 5}
    assert report.ok
    assert report.lines()[1] == (
        "classes: 4; 2 in training only, not measured: tie (2 images), cap (5 images)"
    )


def test_classes_tied_so_that_no_split_exists() -> None:
    # Each class is in three groups, but where 1 and 2 are apart, a and b send 3 and 4 to the same
    # part, and c has only 5 besides: one of them must only train.
    groups = {"1": "ab", "2": "ab", "3": "ac", "4": "bc", "5": "c"}
    labels = [label for held in groups.values() for label in held]
    column = [group for group, held in groups.items() for _ in held]
    others = ["hat", "shoe"] * 10
    tied = catalog_of([*labels, *others], group=[*column, *(None,) * 20])
    done, report = split_catalog(tied, val=0.3, test=0.3, seed=0)
    assert report.ok
    assert set(report.train_only) <= {"a", "b", "c"}
    assert report.train_only
    for label, parts in parts_of(done, "label").items():
        assert parts == ({"train"} if label in report.train_only else {"train", "val", "test"})


def test_classes_that_are_to_train_only() -> None:
    catalog = catalog_of(["hat", "shoe", "cap"] * 20)
    done, report = split_catalog(catalog, val=0.1, test=0.2, seed=0, train_only=["cap"])
    assert parts_of(done, "label")["cap"] == {"train"}
    assert report.train_only == {"cap": 20}
    folded, report = fold_catalog(catalog, folds=4, seed=0, train_only=["cap"])
    assert parts_of(folded, "label", "fold")["cap"] == {-1}
    assert report.train_only == {"cap": 20}


def test_an_image_that_only_trains_takes_its_other_labels_along() -> None:
    # "red" has three images, but one of them is the only "hat": two are left for three parts, of
    # which training has one already.
    labels = [["hat", "red"], ["red"], ["red"], *([["shirt"], ["tie"]] * 10)]
    done, report = split_catalog(catalog_of(labels), val=0.2, test=0.2, seed=0)
    assert report.train_only == {"hat": 1}
    assert sorted(done.table["split"][:3]) == ["test", "train", "val"]
    assert done.table["split"][0] == "train"


def test_a_class_in_fewer_units_than_folds_is_in_every_training() -> None:
    labels = ["cap"] * 3 + ["tie"] * 6 + ["hat", "shoe"] * 10
    catalog = catalog_of(labels, group=[None] * 3 + ["a", "a", "b", "b", "c", "c"] + [None] * 20)
    done, report = fold_catalog(catalog, folds=4, seed=0)
    assert parts_of(done, "label", "fold") == {
        "cap": {-1},
        "tie": {-1},
        "hat": {0, 1, 2, 3},
        "shoe": {0, 1, 2, 3},
    }
    assert report.num_images == {"-1": 9, "0": 5, "1": 5, "2": 5, "3": 5}
    assert report.lines()[:2] == [
        "images: every training: 9, fold 1: 5, fold 2: 5, fold 3: 5, fold 4: 5",
        "classes: 4; 2 in training only, not measured: cap (3 images), tie (6 images)",
    ]
    for fold in range(4):
        split = fold_as_split(done, fold, val=0.2, seed=0)
        assert parts_of(split, "label")["cap"] == {"train"}
        assert parts_of(split, "label")["hat"] == {"train", "val", "test"}
    # What `shopsight split` wrote is read again as it is.
    again, same = fold_catalog(done, folds=4, seed=9)
    assert again.table.equals(done.table)
    assert same == report


def test_a_fold_whose_others_cannot_validate_a_class() -> None:
    # Two images in two folds: where one is tested, the other one trains.
    done, _ = fold_catalog(catalog_of(["cap"] * 2 + ["hat", "shoe"] * 10), folds=2, seed=0)
    for fold in range(2):
        split = fold_as_split(done, fold, val=0.2, seed=0)
        assert parts_of(split, "label")["cap"] == {"train", "test"}


def test_validation_out_of_a_given_train_part_leaves_rare_classes_whole() -> None:
    labels = ["cap", "cap", *["hat", "shoe"] * 20]
    catalog = catalog_of(labels, split=["train", "test", *["train"] * 30, *["test"] * 10])
    done, report = split_catalog(catalog, val=0.2, test=0.2, seed=0)
    assert done.table["split"][:2].to_list() == ["train", "test"]
    assert report.missing_labels == {"val": ("cap",)}


@pytest.mark.parametrize("rare", [2, 40, 400])
def test_a_long_tail_keeps_the_fractions_of_the_others(rare: int) -> None:
    labels = [f"rare{i // 2}" for i in range(2 * rare)] + [f"c{i % 20}" for i in range(2000)]
    done, report = split_catalog(catalog_of(labels), val=0.1, test=0.2, seed=0)
    assert len(report.train_only) == rare
    assert report.num_images == {"train": 1400 + 2 * rare, "val": 200, "test": 400}
    assert all(counts(done)[f"c{c}", "test"] == 20 for c in range(20))


def test_a_split_that_would_measure_one_class_or_none() -> None:
    for labels in (["hat"] * 50 + ["shoe"] * 2, ["hat"] * 2 + ["shoe"] * 2):
        with pytest.raises(SplitError, match="no score would tell classes apart") as caught:
            split_catalog(catalog_of(labels), val=0.1, test=0.1, seed=0)
        assert "'shoe': 2 images, 2 independent units, needs 3" in caught.value.details
        assert "--on-rare merge" in str(caught.value.fix)
    with pytest.raises(SplitError, match="no score would"):
        fold_catalog(catalog_of(["hat"] * 50 + ["shoe"] * 2), folds=3, seed=0)


def test_several_labels_per_image() -> None:
    rng = np.random.default_rng(0)
    labels = [
        [
            name
            for name, share in (("red", 0.5), ("shirt", 0.3), ("rare", 0.03))
            if rng.random() < share
        ]
        for _ in range(1000)
    ]
    done, report = split_catalog(catalog_of(labels), val=0.1, test=0.1, seed=0)
    assert report.num_images == {"train": 800, "val": 100, "test": 100}
    hot = done.targets(done.labels).toarray()
    for part, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        got = hot[done.rows_of(part)].sum(axis=0)
        assert np.abs(got - share * hot.sum(axis=0)).max() <= 1.0


def test_a_catalog_without_labels() -> None:
    table = pl.DataFrame({"image": [f"{i}.jpg" for i in range(100)]})
    _, report = split_catalog(Catalog(table, "bare"), val=0.1, test=0.1, seed=0)
    assert report.num_images == {"train": 80, "val": 10, "test": 10}
    assert report.num_labels == 0


def test_rows_without_label_are_divided_too() -> None:
    done, _ = split_catalog(catalog_of(["hat"] * 50 + [None] * 50), val=0.1, test=0.1, seed=0)
    assert counts(done)[None, "test"] == 5


def test_a_given_split_is_kept_and_validation_carved_out_of_train() -> None:
    given = ["train"] * 80 + ["test"] * 20
    catalog = catalog_of(["hat", "shoe"] * 50, split=given)
    done, report = split_catalog(catalog, val=0.1, test=0.3, seed=0)
    assert report.num_images == {"train": 72, "val": 8, "test": 20}
    assert done.table["split"][80:].to_list() == ["test"] * 20
    complete, report = split_catalog(done, val=0.3, test=0.3, seed=5)
    assert complete.table.equals(done.table)


def test_a_given_split_that_leaks_is_reported() -> None:
    catalog = catalog_of(
        ["hat"] * 6, split=["train"] * 4 + ["test"] * 2, group=["a", "b", "c", "d", "a", "e"]
    )
    duplicate_group = np.array([0, 1, 2, 3, 4, 1])
    _, report = split_catalog(catalog, val=0.0, test=0.2, seed=0, duplicate_group=duplicate_group)
    assert not report.ok
    assert (report.num_shared_groups, report.num_shared_duplicate_groups) == (1, 1)
    assert "duplicates of 1.jpg in test and train" in report.examples
    assert "  group a in test and train" in report.lines()


def test_a_given_split_with_gaps_is_refused() -> None:
    with pytest.raises(SplitError, match="empty for 1 row"):
        split_catalog(
            catalog_of(["a"] * 3, split=["train", "test", None]), val=0.1, test=0.1, seed=0
        )
    with pytest.raises(SplitError, match="no train rows"):
        split_catalog(catalog_of(["a"] * 2, split=["val", "test"]), val=0.1, test=0.1, seed=0)


def test_folds_cover_everything_once() -> None:
    catalog = catalog_of([f"c{i % 3}" for i in range(90)], group=[f"g{i // 3}" for i in range(90)])
    done, report = fold_catalog(catalog, folds=5, seed=0)
    assert list(report.num_images.values()) == [18] * 5
    assert report.lines()[0] == (
        "images: fold 1: 18, fold 2: 18, fold 3: 18, fold 4: 18, fold 5: 18"
    )
    assert report.ok
    assert all(len(parts) == 1 for parts in parts_of(done, "group", "fold").values())
    assert counts(done, "fold") == {(f"c{c}", fold): 6 for c in range(3) for fold in range(5)}


def test_one_fold_as_test() -> None:
    done, _ = fold_catalog(catalog_of(["hat", "shoe"] * 50), folds=5, seed=0)
    seen = []
    for fold in range(5):
        split = fold_as_split(done, fold, val=0.1, seed=0)
        assert check_leakage(split).num_images == {"train": 72, "val": 8, "test": 20}
        seen += split.rows_of("test").tolist()
    assert sorted(seen) == list(range(100))
    with pytest.raises(SplitError, match="no fold 5"):
        fold_as_split(done, 5, val=0.1, seed=0)


def test_one_fold_as_test_without_validation() -> None:
    done, _ = fold_catalog(catalog_of(["hat"] * 20), folds=2, seed=0)
    assert check_leakage(fold_as_split(done, 0, val=0.0, seed=0)).num_images == {
        "train": 10,
        "test": 10,
    }


def test_given_folds_are_kept_and_a_given_split_set_aside() -> None:
    catalog = catalog_of(["hat"] * 4, fold=[0, 1, 0, 1], split=["train"] * 4)
    done, _ = fold_catalog(catalog, folds=2, seed=0)
    assert done.table["fold"].to_list() == [0, 1, 0, 1]
    assert "split" not in done.table.columns
    with pytest.raises(SplitError, match="2 folds, not 3"):
        fold_catalog(catalog, folds=3, seed=0)
    with pytest.raises(SplitError, match="at least 2"):
        fold_catalog(catalog, folds=1, seed=0)


def test_a_report_needs_a_split() -> None:
    with pytest.raises(SplitError, match="not split"):
        check_leakage(catalog_of(["hat"]))


def test_the_report_names_the_classes_that_a_part_lacks() -> None:
    catalog = catalog_of(["hat", "shoe", "hat"], split=["train", "train", "test"])
    report = check_leakage(catalog)
    assert report.missing_labels == {"test": ("shoe",)}
    assert report.train_only == {"shoe": 1}
    assert report.lines()[1] == ("classes: 2; 1 in training only, not measured: shoe (1 image)")


def pairs_of(rows: int) -> Int64[np.ndarray, "n"]:
    """Rows 0 and 1 are duplicates, 2 and 3, and so on."""
    return np.arange(rows) // 2


@pytest.mark.parametrize("seed", range(4))
def test_validation_taken_out_of_a_given_train_part_tears_no_duplicates_apart(seed: int) -> None:
    catalog = catalog_of(["hat", "shoe"] * 40, split=["train"] * 60 + ["test"] * 20)
    done, report = split_catalog(
        catalog, val=0.2, test=0.3, seed=seed, duplicate_group=pairs_of(80)
    )
    assert report.num_images == {"train": 48, "val": 12, "test": 20}
    assert (report.num_duplicate_groups, report.num_shared_duplicate_groups) == (40, 0)
    assert done.table.schema["split"] == pl.String


def test_the_seed_decides_which_images_of_a_given_train_part_validate() -> None:
    catalog = catalog_of(["hat"] * 40, split=["train"] * 30 + ["test"] * 10)
    first, again, other = (
        split_catalog(catalog, val=0.2, test=0.2, seed=seed)[0].rows_of("val").tolist()
        for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("seed", range(4))
def test_folds_and_the_split_of_a_fold_tear_no_duplicates_apart(seed: int) -> None:
    duplicates = pairs_of(80)
    catalog = catalog_of(["hat", "shoe"] * 40, sku=[row // 4 for row in range(80)])
    done, report = fold_catalog(
        catalog, folds=4, seed=seed, group="sku", duplicate_group=duplicates
    )
    assert report.ok
    assert (report.num_groups, report.num_duplicate_groups) == (20, 40)
    assert all(len(parts) == 1 for parts in parts_of(done, "sku", "fold").values())
    split = fold_as_split(
        done.with_table(done.table.drop("group")),
        1,
        val=0.2,
        seed=seed,
        duplicate_group=duplicates,
    )
    found = check_leakage(split, duplicates)
    assert found.num_images == {"train": 48, "val": 12, "test": 20}
    assert found.num_shared_duplicate_groups == 0


def test_given_folds_are_reported_with_their_leaks() -> None:
    catalog = catalog_of(["hat"] * 4, fold=[0, 1, 0, 1])
    _, report = fold_catalog(catalog, folds=2, seed=0, duplicate_group=np.array([0, 0, 1, 2]))
    assert (report.num_duplicate_groups, report.num_shared_duplicate_groups) == (1, 1)
    assert not report.ok


@pytest.mark.parametrize("fold", [[0, 2, 0, 2], [0, 1, None, 1], [0, 0, 0, 0]])
def test_given_folds_with_gaps_are_refused(fold: list[int | None]) -> None:
    with pytest.raises(SplitError, match="the catalog has") as caught:
        fold_catalog(catalog_of(["hat"] * 4, fold=fold), folds=2, seed=0)
    assert caught.value.where == "shop"


def test_a_given_split_that_folds_replace_is_noted() -> None:
    catalog = catalog_of(["hat"] * 4, split=["train"] * 4)
    assert fold_catalog(catalog, folds=2, seed=0)[0].notes == (
        "the given split is not used: the folds cover all images",
    )
    assert fold_catalog(catalog_of(["hat"] * 4), folds=2, seed=0)[0].notes == ()


def test_the_whole_report_in_lines() -> None:
    table = pl.DataFrame(
        {
            "image": ["a", "b", "c", "c", "d"],
            "label": ["hat", "shoe", "hat", "hat", "cap"],
            "group": ["1", "2", "2", "3", None],
            "split": ["train", "train", "test", "train", "val"],
        }
    )
    report = check_leakage(Catalog(table, "shop"), np.array([0, 1, 2, 2, 4]))
    assert report.lines() == [
        "images: train 3, val 1, test 1",
        "classes: 3; 1 in training only, not measured: shoe (1 image); train lacks cap; "
        "val lacks hat; test lacks cap",
        "groups in more than one part: 1 of 3",
        "duplicate groups in more than one part: 1 of 1",
        "files in more than one part: 1",
        "  duplicates of c in test and train",
        "  group 2 in test and train",
        "  file c in test and train",
    ]
    assert report.num_classes == {"train": 2, "val": 1, "test": 1}
    assert report.num_labels == 3


def test_a_column_to_group_by_that_is_not_there() -> None:
    catalog = catalog_of(["hat"] * 10, sku=range(10))
    with pytest.raises(SplitError) as caught:
        split_catalog(catalog, val=0.1, test=0.1, seed=0, group="vendor")
    assert caught.value.what == "no column 'vendor' to group by"
    assert caught.value.where == "shop"
    assert caught.value.details == ("image", "label", "sku")
    # Turning grouping off is allowed where there is no grouping.
    done, report = split_catalog(catalog, val=0.1, test=0.1, seed=0, group="none")
    assert report.num_groups is None
    assert done.table.columns == ["image", "label", "sku", "split"]


def test_of_tied_classes_only_the_one_in_the_way_trains_alone() -> None:
    tied = catalog_of([*"ab", *"ab", *"ac", *"bc", *"c"], group=[*"11", *"22", *"33", *"44", *"5"])
    done, report = split_catalog(tied, val=0.3, test=0.3, seed=0)
    assert report.train_only == {"c": 3}
    assert parts_of(done, "label") == {
        "a": {"train", "val", "test"},
        "b": {"train", "val", "test"},
        "c": {"train"},
    }


@pytest.mark.parametrize("parts", ["split", "folds"])
def test_classes_that_are_groups_say_what_can_be_done(parts: str) -> None:
    products = catalog_of([*"aaabbbb"], group=[*"1112222"])
    divide = {
        "split": partial(split_catalog, products, val=0.2, test=0.2, seed=0),
        "folds": partial(fold_catalog, products, folds=3, seed=0),
    }[parts]
    with pytest.raises(SplitError, match="each of 2 classes is one group") as caught:
        divide()
    assert caught.value.details == (
        "'a': 3 images of group '1'",
        "'b': 4 images of group '2'",
    )
    first, second, third = str(caught.value.fix).splitlines()
    assert first.startswith("--group none ")
    assert second.startswith("shopsight split DATA --by label --out split.csv ")
    assert third.startswith("--set data.val_classes=0.1 --set data.val=0 --set data.test=0 ")
    # What the fixes name works.
    done, _ = split_catalog(products, val=0.3, test=0.3, seed=0, group="none")
    assert set(done.table["split"]) == {"train", "val", "test"}
    done, report = split_catalog(products, val=0.0, test=0.0, seed=0)
    assert report.num_images == {"train": 7}


@pytest.mark.parametrize(
    ("labels", "groups", "wanted"),
    [
        ("aabb", "1122", True),
        ("aabb", "1111", True),
        ("aabb", "1222", False),
        ("aab", "11-", False),
        ("aabb", None, False),
        # Single images: without groups they could not be divided either.
        ("abcd", "1234", False),
    ],
)
def test_whether_each_class_is_one_group(labels: str, groups: str | None, wanted: bool) -> None:
    columns = {} if groups is None else {"group": [None if g == "-" else g for g in groups]}
    assert each_class_is_one_group(catalog_of([*labels], **columns)) is wanted


def test_few_images_of_many_labels_are_split() -> None:
    # Six images a label: orders of the units that serve all of 4,000 labels are not found.
    codes = np.random.default_rng(1).integers(0, 4000, (8000, 3))
    catalog = catalog_of([sorted({f"label {code:04}" for code in row}) for row in codes.tolist()])
    done, report = split_catalog(catalog, val=0.1, test=0.1, seed=0)
    images = Counter(done.table["label"].explode())
    few = {label for label, count in images.items() if count < 3}
    assert 0 < len(few) < 300
    # Hardly more than those of one or two images.
    assert few <= set(report.train_only)
    assert len(report.train_only) < 1.1 * len(few)
    assert set(report.missing_labels) == {"val", "test"}
    assert report.num_images["train"] > report.num_images["test"] > 0


def test_errors_name_the_catalog_and_the_next_step() -> None:
    tied = catalog_of([*"ac", *"bc", *"ac", *"ab", *"b"], group=[*"11", *"22", *"33", *"44", *"5"])
    with pytest.raises(SplitError) as no_split:
        split_catalog(tied, val=0.3, test=0.3, seed=0)
    assert no_split.value.details == (
        "'a': 3 images, 3 independent units, needs 3",
        "'b': 3 images, 3 independent units, needs 3",
        "'c': 3 images, 3 independent units, needs 3",
    )
    with pytest.raises(SplitError) as rare:
        split_catalog(catalog_of(["hat"] * 2), val=0.3, test=0.3, seed=0)
    with pytest.raises(SplitError) as gaps:
        split_catalog(catalog_of(["a"] * 2, split=["train", None]), val=0.1, test=0.1, seed=0)
    assert gaps.value.details == ("1.jpg",)
    for error in (no_split.value, rare.value, gaps.value):
        assert error.where == "shop"
        assert error.fix is not None
    assert "--label-map" in str(no_split.value.fix)
    assert "the column `split`" in str(gaps.value.fix)
    for attempt in (
        lambda: check_leakage(catalog_of(["hat"])),
        lambda: fold_as_split(catalog_of(["hat"], fold=[0]), 3, val=0.1, seed=0),
    ):
        with pytest.raises(SplitError) as caught:
            attempt()
        assert caught.value.where == "shop"


def test_what_the_errors_say_and_advise() -> None:
    tied = catalog_of([*"ac", *"bc", *"ac", *"ab", *"b"], group=[*"11", *"22", *"33", *"44", *"5"])
    found = []
    for catalog in (
        tied,
        catalog_of(["hat"] * 2),
        catalog_of(["a"] * 2, split=["train", None]),
        catalog_of(["a"] * 2, split=["val", "test"]),
    ):
        with pytest.raises(SplitError) as caught:
            split_catalog(catalog, val=0.3, test=0.3, seed=0)
        found.append((caught.value.what, caught.value.fix))
    more = (
        "add images of them, merge them with --label-map or --on-rare merge, or make fewer parts "
        "(no val part, fewer folds)"
    )
    complete = "complete the column `split`, or remove it: shopsight then makes a split"
    assert found == [
        (
            "3 of 3 classes cannot be in each of train, val, test, so that no score would tell "
            "classes apart",
            f"{more}\n--group none   (images of one group may be in several parts)",
        ),
        (
            "1 of 1 class cannot be in each of train, val, test, so that no score would tell "
            "classes apart",
            more,
        ),
        ("the given split is empty for 1 row", complete),
        ("the given split has no train rows", complete),
    ]
    with pytest.raises(SplitError) as other_folds:
        fold_catalog(catalog_of(["hat"] * 2, fold=[0, 0]), folds=2, seed=0)
    assert other_folds.value.what == "the catalog has 1 fold, not 2"
    assert other_folds.value.fix == "--folds 1, or remove the column `fold`"
    with pytest.raises(SplitError, match="2 folds, not 3"):
        fold_catalog(catalog_of(["hat"] * 4, fold=[0, 2, 0, 2]), folds=3, seed=0)
    with pytest.raises(SplitError) as one_fold:
        fold_catalog(catalog_of(["hat"] * 2), folds=1, seed=0)
    assert one_fold.value.what == "--folds 1: at least 2 are needed"
    assert one_fold.value.fix == "--folds 5"


def test_a_part_without_any_label_lacks_all_classes() -> None:
    catalog = catalog_of(["shoe", "hat", None], split=["train", "train", "test"])
    report = check_leakage(catalog)
    assert report.missing_labels == {"test": ("hat", "shoe")}
    assert report.num_classes == {"train": 2, "test": 0}


def test_a_single_row_without_label_need_not_be_in_every_part() -> None:
    _, report = split_catalog(catalog_of(["hat"] * 29 + [None]), val=0.2, test=0.2, seed=0)
    assert report.num_images == {"train": 18, "val": 6, "test": 6}


shapes = st.tuples(
    st.integers(30, 150),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 999),
)


def tangled(shape: tuple[int, int, int, int, int]) -> tuple[Catalog, Int64[np.ndarray, "n"]]:
    """A catalog of so many rows and classes, tied by groups and duplicate duplicate groups."""
    rows, classes, group_size, spread, seed = shape
    rng = np.random.default_rng(seed)
    labels = [f"c{label}" for label in rng.integers(0, classes, rows)]
    groups = [f"g{group}" for group in rng.integers(0, max(2, rows // group_size), rows)]
    return catalog_of(labels, group=groups), rng.integers(0, rows * spread, rows)


def units_by_hand(groups: list[str], duplicate_group: list[int]) -> list[set[int]]:
    """Slow reference: merge rows that share a group or a duplicate group until nothing changes."""
    units = [{row} for row in range(len(groups))]
    changed = True
    while changed:
        changed = False
        for first in range(len(units)):
            for second in range(first + 1, len(units)):
                tied = any(
                    groups[a] == groups[b] or duplicate_group[a] == duplicate_group[b]
                    for a in units[first] for b in units[second]
                )  # fmt: skip
                if tied:
                    units[first] |= units.pop(second)
                    changed = True
                    break
            if changed:
                break
    return units


@given(shapes, st.integers(0, 3))
def test_properties_of_any_split(shape: tuple[int, int, int, int, int], seed: int) -> None:
    catalog, duplicate_group = tangled(shape)
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
    try:
        done, report = split_catalog(
            catalog, val=0.2, test=0.2, seed=seed, duplicate_group=duplicate_group
        )
    except SplitError:
        # Too few independent units of some class: checked against the slow reference.
        units = units_by_hand(catalog.table["group"].to_list(), duplicate_group.tolist())
        labels = catalog.table["label"].to_list()
        units_of = [sum(any(labels[r] == c for r in u) for u in units) for c in catalog.labels]
        # A unit that holds a class of too few takes the others in it along.
        assert min(units_of) < 3
        return
    assert report.ok
    for label, parts in parts_of(done, "label").items():
        assert parts == ({"train"} if label in report.train_only else set(fractions))
    assert sum(report.num_images.values()) == len(catalog)
    assert done.table.drop("split").equals(catalog.table)
    for by in (done.table["group"], pl.Series(duplicate_group)):
        spread = pl.DataFrame({"by": by, "split": done.table["split"]}).group_by("by")
        assert (spread.agg(pl.col("split").n_unique())["split"] == 1).all()
    if report.train_only:
        return
    # No part is off by more than the largest thing that had to stay together.
    units = units_by_hand(catalog.table["group"].to_list(), duplicate_group.tolist())
    largest = max(len(unit) for unit in units)
    for part, share in fractions.items():
        assert abs(report.num_images[part] - share * len(catalog)) <= largest + 1


@given(st.lists(st.integers(0, 5), min_size=40, max_size=300), st.integers(2, 5), st.integers(0, 9))
def test_properties_of_any_folds(codes: list[int], folds: int, seed: int) -> None:
    catalog = catalog_of([f"c{code}" for code in codes])
    totals = Counter(codes)
    spread = {code for code, total in totals.items() if total >= folds}
    if len(spread) < min(2, len(totals)):
        with pytest.raises(SplitError, match="independent unit"):
            fold_catalog(catalog, folds=folds, seed=seed)
        return
    done, report = fold_catalog(catalog, folds=folds, seed=seed)
    tested = [number for part, number in report.num_images.items() if part != "-1"]
    assert max(tested) - min(tested) <= 1
    by_class = counts(done, "fold")
    for code, total in totals.items():
        if code in spread:
            assert all(abs(by_class[f"c{code}", f] - total / folds) < 2 for f in range(folds))
        else:
            assert by_class[f"c{code}", -1] == total


@pytest.mark.slow
def test_a_million_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 250_000, 1_000_000)
    table = pl.DataFrame(
        {
            "image": [f"photos/{row}.jpg" for row in range(1_000_000)],
            "label": pl.Series(rng.integers(0, 1000, 1_000_000)).cast(pl.String),
            "group": pl.Series(groups).cast(pl.String),
        }
    )
    _, report = split_catalog(Catalog(table, "large"), val=0.1, test=0.1, seed=0)
    assert report.ok
    assert report.num_images == {"train": 800_000, "val": 100_000, "test": 100_000}
