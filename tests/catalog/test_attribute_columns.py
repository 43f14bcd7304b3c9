from __future__ import annotations

import polars as pl
import pytest

from shopsight.catalog.attribute_columns import (
    attribute_column,
    check_attributes,
    find_attributes,
    known_values,
)
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError


def column(*cells: object) -> pl.DataFrame:
    return pl.DataFrame({"color": list(cells)}, strict=False)


def test_cells_are_values_and_missing_ones_are_null() -> None:
    found = attribute_column(column("red", " ", None, "NaN", "N/A", " blue "), "color")
    assert found.cells.to_list() == [["red"], None, None, None, None, ["blue"]]
    assert not found.several
    assert found.values == ("blue", "red")
    assert found.joined_note == ""


def test_several_values_in_a_cell_each_once() -> None:
    found = attribute_column(column("red; blue", "blue;red ;red", "red", "; "), "color")
    assert found.several
    assert found.cells.to_list() == [["red", "blue"], ["blue", "red"], ["red"], None]
    lists = pl.DataFrame({"color": [["red", "blue"], [], None]})
    assert attribute_column(lists, "color").cells.to_list() == [["red", "blue"], None, None]


def test_the_most_frequent_spelling_stands_for_those_that_differ_by_case() -> None:
    found = attribute_column(
        column("red", "RED", "red", "Grun", "Gru\u0308n", "Gr\u00fcn"), "color"
    )
    assert [one[0] for one in found.cells.to_list()] == [
        *("red", "red", "red", "Grun", "Gr\u00fcn", "Gr\u00fcn")
    ]
    assert found.joined == {"red": ("RED",)}
    assert found.joined_note == "attribute color: read 'RED' as 'red'"
    several = attribute_column(column("Red; red", "red"), "color")
    assert several.cells.to_list() == [["red"], ["red"]]


def test_numbers_and_flags_are_values_too() -> None:
    assert attribute_column(column(38.0, 39.0, None), "color").values == ("38", "39")
    assert attribute_column(column(True, False), "color").values == ("false", "true")


def test_known_values_are_spelled_as_the_head_has_them() -> None:
    found = attribute_column(column("RED", "blue", "pink", None), "color")
    cells, unknown = known_values(found, ("Blue", "red"))
    assert cells.to_list() == [["red"], ["Blue"], None, None]
    assert unknown == 1


def shop(rows: int) -> Catalog:
    index = range(rows)
    return Catalog(
        pl.DataFrame(
            {
                "image": [f"{i}.jpg" for i in index],
                "label": [("shirt", "dress")[i % 2] for i in index],
                "group": [f"p{i // 2}" for i in index],
                "kind": [("S", "D")[i % 2] for i in index],
                "color": [("red", "blue", None)[i % 3] for i in index],
                "rare": ["yes" if i == 0 else None for i in index],
                "title": [f"product {i}" for i in index],
                "stock": [i % 4 for i in index],
                "size": [str(38 + i % 4) for i in index],
                "same": ["cotton"] * rows,
                "text": [("a", "b")[i % 2 ^ 1] for i in index],
            }
        ),
        "shop",
    )


def test_columns_of_a_few_words_are_found() -> None:
    # 120 titles are too many values; one cell in 120 is filled in too rarely.
    assert find_attributes(shop(120)) == ("color",)
    assert find_attributes(shop(50)) == ("color", "title")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["colour"], "no column 'colour'; did you mean 'color'?"),
        (["zzz"], "no column 'zzz'"),
        (["group"], "the column 'group' is no attribute: it is the catalog's own group"),
        (["color", "color"], "the attribute 'color' is named twice"),
    ],
)
def test_names_that_are_no_attributes(names: list[str], what: str) -> None:
    with pytest.raises(CatalogError) as caught:
        check_attributes(shop(40), names)
    assert what in str(caught.value)
