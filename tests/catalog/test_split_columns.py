"""The given split of a table: by names and values of columns, or by flags."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from shopsight.catalog.split_columns import SplitColumns, find_split


def split(taken: tuple[str, ...] = (), **columns: list[Any]) -> SplitColumns:
    return find_split(pl.DataFrame(columns), taken)


def parts(**columns: list[Any]) -> list[str | None] | None:
    values = split(**columns).values
    return None if values is None else values.to_list()


@pytest.mark.parametrize(
    "column", ["split", "Set", "dataset", "data set", "evaluation_status", "whatever"]
)
def test_values_that_mean_parts(column: str) -> None:
    assert parts(**{column: ["TRAIN", "valid", None]}) == ["train", "val", None]
    assert split(**{column: ["train", "test"]}).columns == (column,)


def test_one_part_is_enough_where_the_name_says_so() -> None:
    assert parts(split=["train", "train"]) == ["train", "train"]
    assert parts(toy=["train", "train"]) is None


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"is_valid": ["True", "False", ""]}, ["val", "train", None]),
        ({"is_valid": [True, False, None]}, ["val", "train", None]),
        ({"is_train": [1, 1, 1, 0]}, ["train", "train", "train", "test"]),
        ({"isTest": [0, 1, 0]}, ["train", "test", "train"]),
        ({"is_train": ["1", "0", "yes"]}, ["train", "test", "train"]),
        ({"is_val": [1, 0, 0], "is_test": [0, 1, 0]}, ["val", "test", "train"]),
        ({"is_train": [1, 0, 0], "is_val": [0, 1, 0]}, ["train", "val", "test"]),
    ],
)
def test_flags(columns: dict[str, list[Any]], wanted: list[str | None]) -> None:
    assert parts(**columns) == wanted
    assert "true is" in split(**columns).note


def test_flags_that_are_no_split_are_said() -> None:
    good = split(is_valid=[1, 1, 1, 0])
    assert good == SplitColumns(note="not used as a split: 'is_valid', true in most rows")
    both = split(is_train=[1, 1, 0, 0], is_test=[0, 1, 1, 0])
    assert both.values is None
    assert both.note.endswith("'is_train', 'is_test', as rows are in several parts")


def test_several_columns_of_parts() -> None:
    found = split(first=["train", "test"], second=["test", "train"])
    assert found.columns == ("first",)
    assert found.note == "split from column 'first': test, train (so could second: not used)"


def test_what_is_no_split() -> None:
    assert split(split=["0", "1"]).note == ("column 'split' is not used as a split: it holds 0, 1")
    assert split(is_valid=["True", "True"]).note.endswith("'is_valid', which holds True")
    assert split(is_train=["Y", "N"]).note == "not used as a split: 'is_train', which holds N, Y"
    assert split(("set",), set=["train", "test"]) == SplitColumns()
    assert split(color=["red", "test"]) == SplitColumns()
