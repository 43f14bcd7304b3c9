from __future__ import annotations

import polars as pl
import pytest

from shopsight.errors import CatalogError
from shopsight.search.kept_columns import kept_table, kind_of


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "nan", "3"], "integer"),
        (["1.5", "NaN", None], "number"),
        (["nan", "NaN"], "text"),
        (["1", "nancy"], "text"),
        (["true", "nan"], "boolean"),
    ],
)
def test_what_a_table_s_writer_left_for_a_missing_number_is_missing(
    cells: list[str | None], kind: str
) -> None:
    assert kind_of(pl.Series("price", cells)) == kind


def test_missing_numbers_are_null() -> None:
    table = pl.DataFrame({"price": ["1.5", "NaN", None, "2"]})
    kept = kept_table(table, {"price": "number"}, where="shop")
    assert kept["price"].to_list() == [1.5, None, None, 2.0]
    with pytest.raises(CatalogError, match="1 cells are none"):
        kept_table(pl.DataFrame({"price": ["cheap"]}), {"price": "number"}, where="shop")
