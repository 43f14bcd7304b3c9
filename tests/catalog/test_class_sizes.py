"""Classes of similar size, by samples and by repeats."""

from __future__ import annotations

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.class_sizes import beyond_most, of_small_classes, with_repeats


def catalog(**sizes: int) -> Catalog:
    """So many images of each class, all in training."""
    names = [f"{label}{one}" for label, size in sizes.items() for one in range(size)]
    labels = [label for label, size in sizes.items() for _ in range(size)]
    return Catalog(pl.DataFrame({"image": names, "id": names, "label": labels}), "sizes")


def kept(made: Catalog, most: int, *, seed: int = 0) -> set[str]:
    gone = beyond_most(made, most, seed=seed)
    return set(made.table["id"].filter(pl.Series(~gone)).to_list())


def test_a_sample_has_the_wanted_size_and_depends_on_its_own_images_alone() -> None:
    alone = kept(catalog(a=50), 20)
    among_others = kept(catalog(b=500, a=50), 20)
    assert len(alone) == 20
    assert alone == {name for name in among_others if name.startswith("a")}
    assert kept(catalog(a=50), 20, seed=1) != alone
    assert kept(catalog(a=3), 20) == {"a0", "a1", "a2"}


def test_a_sample_is_a_fair_draw() -> None:
    counts = np.zeros(10)
    for seed in range(400):
        counts += ~beyond_most(catalog(a=10), 4, seed=seed)
    # Each of ten images is drawn 160 times of 400, with a deviation of 9.8.
    assert np.abs(counts - 160).max() < 5 * 9.8


def test_val_and_test_are_not_sampled_and_not_repeated() -> None:
    made = catalog(a=6)
    split = pl.Series("split", ["train"] * 2 + ["val"] * 2 + ["test"] * 2)
    made = made.with_table(made.table.with_columns(split))
    assert beyond_most(made, 1, seed=0).tolist()[2:] == [False] * 4
    filled = with_repeats(made, 5, seed=0)
    assert filled.table["split"].to_list()[6:] == ["train"] * 3
    tested_only = made.with_table(made.table.with_columns(split=pl.lit("test")))
    assert len(with_repeats(tested_only, 5, seed=0)) == 6


def test_small_classes_are_those_of_fewer_images_in_all_parts() -> None:
    assert of_small_classes(catalog(a=1, b=2, c=3), 2).tolist() == [True] + [False] * 5


def test_repeats_are_even_and_have_ids_of_their_own() -> None:
    filled = with_repeats(catalog(a=3, b=8, c=7, d=1), 7, seed=0)
    assert filled.table["label"].value_counts().sort("label")["count"].to_list() == [7, 8, 7, 7]
    assert filled.table["id"].n_unique() == len(filled)
    times = filled.table.filter(pl.col("label") == "a")["image"].value_counts()["count"]
    assert sorted(times) == [2, 2, 3]
    of_one = filled.table.filter(pl.col("label") == "d")
    assert of_one["repeat"].to_list() == list(range(7))
    assert of_one["id"].to_list()[:2] == ["d0", "d0#repeat1"]
