"""Whether the parts of a split are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split import split_catalog
from shopsight.catalog.split_report import check_leakage
from shopsight.catalog.split_shares import compare_shares, size_kinds
from shopsight.metrics.families import Families


def test_the_deviation_is_that_of_random_deals() -> None:
    """300 families of one to three images, dealt at random: the deviation is a standard one."""
    rng = np.random.default_rng(0)
    families = Families.by(np.repeat(np.arange(300), 1 + np.arange(300) % 3))
    kind = (np.arange(300) % 2)[families.of_image]
    deviations, beyond = [], 0
    for _ in range(400):
        part = (rng.random(300) < 0.2).astype(np.int64)[families.of_image]
        rows = np.arange(families.num_images)
        found = compare_shares(["train", "test"], part, families, ["a", "b"], rows, kind)
        assert found is not None
        assert found.compared == 4
        deviations.append(found.deviations)
        beyond += found.beyond_chance > 0
    # With two parts and two kinds all four cells are equally far.
    assert np.mean(np.square(deviations)) == pytest.approx(1, rel=0.15)
    assert beyond / 400 < 0.06


def test_a_split_by_size_is_beyond_chance() -> None:
    families = Families.by(np.repeat(np.arange(200), 1 + 2 * (np.arange(200) % 2)))
    names, kind = size_kinds(families)
    part = (families.sizes == 1).astype(np.int64)[families.of_image]
    rows = np.arange(families.num_images)
    found = compare_shares(["train", "test"], part, families, names, rows, kind)
    assert found is not None
    assert found.beyond_chance == 4
    assert (found.part, found.share) in {
        ("train", 0.0),
        ("test", 0.0),
        ("train", 1.0),
        ("test", 1.0),
    }
    assert "beyond chance" in found.line("sizes of families")


def test_too_few_families_are_not_compared() -> None:
    families = Families.alone(12)
    part, kind = np.arange(12) // 6, np.arange(12) % 3
    rows = np.arange(12)
    assert compare_shares(["train", "test"], part, families, ["a", "b", "c"], rows, kind) is None


def test_sizes_have_names() -> None:
    families = Families.by(np.repeat(np.arange(3), [1, 3, 20]))
    names, kind = size_kinds(families)
    assert [names[index] for index in kind[[0, 1, 4]]] == [
        "lone images",
        "families of 2 to 3 images",
        "families of 16 images and more",
    ]


def test_the_report_of_a_split_says_so() -> None:
    rows = [
        {"image": f"{number}.jpg", "label": "ab"[number % 2], "group": f"g{number // 3}"}
        for number in range(600)
    ]
    catalog = Catalog(pl.DataFrame(rows), name="shop", root=".")
    split, report = split_catalog(catalog, val=0.1, test=0.2, seed=0)
    lines = report.lines()
    assert any(line.startswith("classes in each part: shares within chance") for line in lines)
    assert report.to_json()["class_shares"]["beyond_chance"] == 0
    # Somebody's own: all of one class are tested.
    own = split.table.with_columns(
        pl.when(pl.col("label") == "a")
        .then(pl.lit("test"))
        .otherwise(pl.lit("train"))
        .alias("split")
    )
    found = check_leakage(replace(split, table=own))
    assert found.class_shares is not None
    assert found.class_shares.beyond_chance == 4
