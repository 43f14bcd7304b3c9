"""What cells of labels mean, in every spelling that programs and people give them."""

from __future__ import annotations

import doctest
import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from shopsight.errors import CatalogError
from shopsight.labels import label_lists, label_separator
from shopsight.labels.label_columns import Labels, is_flags, read_labels
from shopsight.read_options import ReadOptions
from shopsight.tables import cell_text
from shopsight.tables.cell_text import as_text


def read(cells: Any, name: str = "label", **options: Any) -> Labels:
    table = pl.DataFrame({name: pl.Series(cells, strict=False)})
    return read_labels(table, [name], ReadOptions(**options), "shop.csv")


def values(cells: Any, name: str = "label", **options: Any) -> list[Any]:
    return read(cells, name, **options).values.to_list()


@pytest.mark.parametrize("module", [cell_text, label_lists, label_separator])
def test_the_examples_of_the_parsers(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


LISTS = (["disc", "red"], ["box"], ["box", "long sleeve, red"], [], ["women's"])


@pytest.mark.parametrize(
    "spell",
    [str, json.dumps, lambda one: str(tuple(one)), lambda one: f"array({one}, dtype=object)"],
    ids=["list", "json", "tuple", "array"],
)
def test_lists_as_programs_write_them(spell: Any) -> None:
    assert values([spell(one) for one in LISTS]) == list(LISTS)


def test_lists_as_numpy_prints_them() -> None:
    cells = [str(np.array(one, dtype=object)) for one in LISTS]
    assert cells[0] == "['disc' 'red']"
    assert values(cells) == list(LISTS)
    assert values([str([np.str_(label) for label in one]) for one in LISTS]) == list(LISTS)
    ids = [np.array([0, 3]), np.array([12, 3]), np.array([], int)]
    assert values([str(one) for one in ids]) == [["0", "3"], ["12", "3"], []]
    assert values([str(one.astype(float)) for one in ids]) == [["0", "3"], ["12", "3"], []]


def test_sets_have_no_order_but_that_of_the_cell() -> None:
    assert values(["{'disc', 'red'}", "set()", "frozenset({'box'})", "{disc,red}"]) == [
        ["disc", "red"],
        [],
        ["box"],
        ["disc", "red"],
    ]


def test_bare_brackets() -> None:
    found = read(["[disc, red]", "[box, blue]", "[long sleeve, red]"])
    assert found.values.to_list() == [["disc", "red"], ["box", "blue"], ["long sleeve", "red"]]
    assert "such as [disc, red]" in found.notes[0]
    assert values(["[disc red]", "[box]"], label_separator=" ") == [["disc", "red"], ["box"]]
    with pytest.raises(CatalogError, match="without a comma between them"):
        read(["[disc red]", "[box]"])


def test_a_list_of_one_label_each_is_one_label() -> None:
    found = read(["['disc']", "['box']", None])
    assert found.values.to_list() == ["disc", "box", None]
    assert found.notes[0].startswith("one label per image: cells are written as lists")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["['a', 'b']", "a"], "some cells of labels are lists"),
        (["[0 1 ... 8 9]", "[3 4]"], "cut when they were written"),
        (["[[0, 1], [2]]", "[[1], [2]]"], "cannot be read as labels"),
        (['{"color": "red"}', '{"color": "blue"}'], "JSON objects"),
        (['[{"id": 1, "name": "red"}]', "[]"], "JSON objects"),
        (["[0.1, 0.9]", "[0.8, 0.2]"], "numbers with decimals"),
        (["['a, b]", "['c']"], "cannot be read as labels"),
    ],
)
def test_cells_that_are_refused(cells: list[str], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read(cells)


def test_values_as_libraries_write_them() -> None:
    assert values(["tensor(3)", "tensor(0)", None]) == ["3", "0", None]
    assert values(["np.str_('a')", "np.str_('b')"]) == ["a", "b"]
    assert values(["tensor([0, 3])", "tensor([1])"]) == [["0", "3"], ["1"]]
    with pytest.raises(CatalogError, match="printed Series"):
        read(["0    disc\n1    red\nName: x, dtype: object", "0    box\nName: x, dtype: object"])


def test_line_ends_quotes_and_semicolons_between_labels() -> None:
    assert values(["a\nlong b", "a"]) == [["a", "long b"], ["a"]]
    assert values(['"a","b"', '"b"', '"a"']) == [["a", "b"], ["b"], ["a"]]
    assert values(["[disc; red]", "[box; blue]"]) == [["disc", "red"], ["box", "blue"]]


def test_names_in_parentheses_are_names() -> None:
    assert values(["(other)", "(none)"]) == ["(other)", "(none)"]
    assert values(["[sale]", "shirt"]) == ["[sale]", "shirt"]


@pytest.mark.parametrize(
    "cells",
    [
        ["[1, 0, 0]", "[0, 1, 0]", "[0, 0, 1]"],
        ["[1 0 0]", "[0 1 0]", "[0 0 1]"],
        ["[1. 0. 0.]", "[0. 1. 0.]", "[0. 0. 1.]"],
        ["[True, False, False]", "[False, True, False]", "[False, False, True]"],
        ["1 0 0", "0 1 0", "0 0 1"],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ],
)
def test_one_hot_vectors_give_the_place_of_the_one(cells: Any) -> None:
    found = read(cells)
    assert found.values.to_list() == ["0", "1", "2"]
    assert "label 0 is the first place" in found.notes[0]


def test_vectors_with_several_ones() -> None:
    assert values(["[1, 0, 1]", "[0, 0, 0]"]) == [["0", "2"], []]
    assert values(["[0, 1]", "[1, 0]"]) == ["1", "0"]


def test_vectors_without_a_one_may_mean_two_things() -> None:
    cells = ["[1, 0]", "[0, 1]", "[0, 0]"]
    with pytest.raises(CatalogError, match="1 row of 3 have no 1, and none has two") as caught:
        read(cells)
    assert "--empty-label missing" in str(caught.value)
    assert values(cells, empty_label="missing") == ["0", "1", None]
    assert values(cells, empty_label="none") == [["0"], ["1"], []]


def test_tags_between_blanks_and_commas() -> None:
    cells = [f"{shape} {color}" for shape in ("disc", "box", "bars") for color in ("red", "blue")]
    found = read(cells, "tags")
    assert found.values.to_list()[1] == ["disc", "blue"]
    assert "such as 'disc red' (--label-separator '' keeps them whole)" in found.notes[0]
    commas = [cell.replace(" ", ", ") for cell in cells]
    assert values(commas, "tags")[1] == ["disc", "blue"]
    assert values(["3 16", "16", "3"], "Target") == [["3", "16"], ["16"], ["3"]]


def test_where_commas_may_belong_to_names_both_flags_are_named() -> None:
    cells = [f"{kind}, {who}" for kind in ("Shirts", "Hats", "Bags") for who in ("men", "women")]
    with pytest.raises(CatalogError, match="several labels or one") as caught:
        read(cells, "category")
    assert '--label-separator ","' in str(caught.value)
    assert '--label-separator ""' in str(caught.value)
    assert values(cells, "category", label_separator="") == cells
    assert values(cells, "category", label_separator=",")[0] == ["Shirts", "men"]


def test_names_of_several_words_stay_whole() -> None:
    cells = ["running shoes", "tennis shoes", "running shorts", "tennis shorts", "ball"]
    assert values(cells, "category") == cells
    found = read(["black shoes", "white shoes", "black hats", "white hats", "red hats", "hats"])
    assert found.values[0] == "black shoes"
    few = read(["chair", "car person", "horse person", "car"], "labels")
    assert few.values[1] == "car person"
    assert "labels such as 'car person' are kept whole" in few.notes[0]


def test_missing_values() -> None:
    found = read(["a", "", " ", "\u00a0", None, "nan", "N/A", "NULL", "<NA>", "a"])
    assert found.values.to_list() == ["a", *[None] * 8, "a"]
    assert found.notes[0].startswith("4 cells such as 'nan' taken as missing")
    assert found.notes[1] == "8 rows without a label"
    assert values(["a", "nan"], label_separator="") == ["a", "nan"]


def test_what_spreadsheets_write() -> None:
    assert values(["#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "a"]) == [None] * 4 + ["a"]
    found = read(['="050"', '="051"', "7"])
    assert found.values.to_list() == ["050", "051", "7"]
    assert found.notes == ("labels such as '=\"050\"' are read without their formula: 050",)


def test_words_that_may_be_classes_are_said() -> None:
    found = read(["scratch", "None", "None"])
    assert found.values.to_list() == ["scratch", "None", "None"]
    assert found.notes[0].startswith("2 cells 'None': taken as a class of that name")
    assert values(["3", "None", "NA"]) == ["3", None, None]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([0.0, 1.0, float("nan"), None], ["0", "1", None, None]),
        (["0.0", "1.0", ""], ["0", "1", None]),
        (["050", "7"], ["050", "7"]),
        ([2**63 + 1, 5], ["9223372036854775809", "5"]),
        ([0.5, 1.0], ["0.5", "1.0"]),
        ([Decimal("3.00"), Decimal("4.00")], ["3", "4"]),
        ([True, False], ["true", "false"]),
        ([date(2024, 1, 2)], ["2024-01-02"]),
        ([datetime(2024, 1, 2), datetime(2024, 1, 3)], ["2024-01-02", "2024-01-03"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
        (pl.Series([b"a", b"b"]), ["a", "b"]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_values_of_every_type_as_text(cells: Any, expected: list[str | None]) -> None:
    column = cells if isinstance(cells, pl.Series) else pl.Series("label", cells, strict=False)
    assert as_text(column).to_list() == expected


def test_structs_and_bytes_are_no_labels() -> None:
    for column in (pl.Series([{"a": 1}]), pl.Series([b"\xff\xd8"])):
        with pytest.raises(CatalogError, match="not plain values"):
            as_text(column)


def test_empty_cells_where_no_label_applies() -> None:
    assert values(["a|b", "", "a", "b"], empty_label="none") == [["a", "b"], [], ["a"], ["b"]]
    found = read(["a", None, "b"], empty_label="none")
    assert found.values.to_list() == [["a"], [], ["b"]]
    assert found.notes[-1] == "1 row without a label: no label applies to these images"
    assert values(["['a', 'b']", "[]", "['a']"], empty_label="missing") == [["a", "b"], None, ["a"]]


def flags(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=False)


def of_flags(table: pl.DataFrame, **options: Any) -> list[Any]:
    return read_labels(table, table.columns, ReadOptions(**options), "t.csv").values.to_list()


def test_a_column_for_each_label() -> None:
    assert of_flags(flags(a=[1, 0], b=[1, 1])) == [["a", "b"], ["b"]]
    assert of_flags(flags(a=["1.0", "0"], none=["0.0", "1"])) == ["a", "none"]
    assert of_flags(flags(a=[True, False, False], b=["False", "True", "TRUE"])) == ["a", "b", "b"]


def test_gaps_in_columns_of_flags() -> None:
    table = flags(a=["1", "", "", "1"], b=["1", "1", "", "0"])
    assert of_flags(table) == [["a", "b"], None, None, ["a"]]
    assert of_flags(table, empty_label="none") == [["a", "b"], ["b"], [], ["a"]]


def test_columns_of_something_else_are_no_flags() -> None:
    with pytest.raises(CatalogError, match="column 'b' holds '-1'"):
        of_flags(flags(a=["1", "0"], b=["-1", "0"]))


def test_signs_stand_for_flags_where_there_is_no_zero() -> None:
    assert of_flags(flags(a=[1, -1, -1], b=["1", "-1", "1"])) == [["a", "b"], [], ["b"]]


def test_flags_with_blanks_around_them_and_signs() -> None:
    """Roboflow writes `a.jpg, 1, 0`, CelebA -1 and 1."""
    table = flags(hat=[" 1", " 0"], shoe=[" 0", " 1"])
    assert all(map(is_flags, table.get_columns()))
    assert of_flags(table) == ["hat", "shoe"]
    signs = flags(hat=["-1", "1"], shoe=["1", "1"], bag=["-1", "-1"])
    assert all(map(is_flags, signs.get_columns()))
    assert of_flags(signs) == [["shoe"], ["hat", "shoe"]]


def test_a_million_cells_are_parsed_once_for_each_spelling() -> None:
    cells = pl.Series(["['a', 'b']", "['b' 'c']", "[]"] * 100_000)
    found = read(cells)
    assert found.values.len() == 300_000
    assert found.values.head(3).to_list() == [["a", "b"], ["b", "c"], []]
