"""Runs that know different groups of the same images: joined in any order, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest

from shopsight.errors import CompareError
from shopsight.evaluation.alignment import align_predictions
from shopsight.evaluation.paired_scores import paired_scores
from shopsight.evaluation.predictions import Predictions

Groups = Sequence[str | None] | None


def predictions_of(
    groups: Groups = None, copies: Sequence[int] | None = None, *, count: int = 0, seed: int = 0
) -> Predictions:
    count = count or len(groups or copies or ())
    correct = np.random.default_rng(seed).random(count) < 0.8
    table = pl.DataFrame(
        {
            "row": range(count),
            "image": [f"{index:03}.jpg" for index in range(count)],
            "label": ["hat"] * count,
            "correct": correct,
        }
    )
    if groups is not None:
        table = table.with_columns(pl.Series("group", groups, dtype=pl.String))
    if copies is not None:
        table = table.with_columns(pl.Series("duplicate_group", copies))
    return Predictions(table, ("hat",), False, "test", "shop")


def families_of(*runs: Predictions) -> list[int]:
    """The families of all, which each of them must have alike."""
    names = [f"run {number}" for number in range(len(runs))]
    found = [part.families().of_image.tolist() for part in align_predictions(runs, names)]
    assert all(one == found[0] for one in found)
    return found[0]


def test_groups_come_from_any_run_in_any_order() -> None:
    plain, grouped = predictions_of(count=4), predictions_of(["a", "a", None, "b"])
    assert families_of(plain, grouped) == families_of(grouped, plain) == [0, 0, 1, 2]


def test_groups_that_are_named_differently_are_equal() -> None:
    assert families_of(predictions_of(["a", "a", "b"]), predictions_of(["y", "y", "x"])) == [
        0,
        0,
        1,
    ]


def test_what_one_run_does_not_know_the_other_adds() -> None:
    first = predictions_of(["a", "a", None, None])
    second = predictions_of([None, "b", "b", None])
    assert families_of(first, second) == [0, 0, 0, 1]


def test_duplicate_groups_are_joined() -> None:
    first, second = predictions_of(copies=[7, 7, 3, 4]), predictions_of(copies=[1, 2, 2, 5])
    assert families_of(first, second, predictions_of(count=4)) == [0, 0, 0, 1]
    grouped = predictions_of(["a", "b", "c", "c"])
    assert families_of(grouped, predictions_of(copies=[1, 2, 1, 3])) == [0, 1, 0, 0]


@pytest.mark.parametrize("turned", [False, True])
def test_coarser_groups_are_refused_with_the_images(turned: bool) -> None:
    coarse = predictions_of(["shoe", "shoe", "hat", "hat"])
    fine = predictions_of(["red", "blue", "cap", "cap"])
    runs, names = [coarse, fine, predictions_of(count=4)], ["coarse", "fine", "plain"]
    order = [2, 1, 0] if turned else [0, 1, 2]
    with pytest.raises(CompareError, match="fine groups the images differently from coarse") as e:
        align_predictions([runs[at] for at in order], [names[at] for at in order])
    assert "000.jpg and 001.jpg: two groups in fine, one in coarse" in str(e.value)
    assert "1 pair of images" in str(e.value)
    assert "--group" in str(e.value)


def test_a_conflict_through_a_third_run_is_found() -> None:
    links = [
        predictions_of(["a", "a", None]),
        predictions_of([None, "b", "b"]),
        predictions_of(["c", None, "d"]),
    ]
    for order in permutations(range(3)):
        with pytest.raises(CompareError, match=r"000.jpg and 002.jpg: two groups in run 2") as e:
            align_predictions([links[at] for at in order], [f"run {at}" for at in order])
        assert "joined through other images" in str(e.value)


def test_the_order_of_the_runs_changes_no_number() -> None:
    groups = [f"product {index // 5}" for index in range(200)]
    copies = [index if index % 7 else index // 70 for index in range(200)]
    runs = {
        "plain": predictions_of(count=200, seed=1),
        "grouped": predictions_of(groups, seed=2),
        "copied": predictions_of(copies=copies, count=200, seed=3),
        "equal": predictions_of(count=200, seed=1),
    }
    turned = runs["copied"].table.reverse().with_columns(pl.Series("row", range(200)))
    runs["copied"] = replace(runs["copied"], table=turned)
    found = []
    for order in permutations(runs):
        paired = paired_scores(align_predictions([runs[name] for name in order], order), order)
        found.append(
            {
                name: (score, difference)
                for name, score, difference in zip(
                    order, paired.scores, paired.differences, strict=True
                )
            }
        )
        assert paired.grouped
    assert all(one == found[0] for one in found)
