from __future__ import annotations

import pytest
from hypothesis import given

from shopsight.errors import SearchError
from shopsight.vector_engines.filters import And, Compare, Filter, In, IsNull, Not, Or, Schema
from shopsight.vector_engines.where import DEEPEST, parse_where, where_text
from tests.vector_engines.any_filter import any_filter

SCHEMA: Schema = {
    "price": "number",
    "stock": "integer",
    "label": "text",
    "sale": "boolean",
    "colors": "texts",
    "Größe (cm)": "number",
    "or": "text",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price < 50", Compare("price", "<", 50.0)),
        ("price<=-1.5e2", Compare("price", "<=", -150.0)),
        ("stock = 3", Compare("stock", "==", 3)),
        ("stock <> 3.0", Compare("stock", "!=", 3)),
        ("label == 'it''s'", Compare("label", "==", "it's")),
        ('label == "Hüte"', Compare("label", "==", "Hüte")),
        ("label == ''", Compare("label", "==", "")),
        ("sale == TRUE", Compare("sale", "==", True)),
        ("price == null", IsNull("price")),
        ("price != null", Not(IsNull("price"))),
        ("label in ('a', 'b', 'a')", In("label", ("a", "b"))),
        ("stock not in (1, 2)", Not(In("stock", (1, 2)))),
        ("`Größe (cm)` >= 40", Compare("Größe (cm)", ">=", 40.0)),
        ("`or` == 'x'", Compare("or", "==", "x")),
        ("colors != 'red'", Compare("colors", "!=", "red")),
        (
            "price < 1 and stock > 2 or not sale == true",
            Or(
                (
                    And((Compare("price", "<", 1.0), Compare("stock", ">", 2))),
                    Not(Compare("sale", "==", True)),
                )
            ),
        ),
        (
            "price < 1 and (stock > 2 or label == 'x')",
            And(
                (
                    Compare("price", "<", 1.0),
                    Or((Compare("stock", ">", 2), Compare("label", "==", "x"))),
                )
            ),
        ),
    ],
)
def test_filters_are_read(text: str, expected: Filter) -> None:
    assert parse_where(text, SCHEMA) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("prize < 50", "keeps no column 'prize'"),
        ("price < 'x'", "price is compared with a number"),
        ("price < ", "here is nothing"),
        ("label < 'x'", "label is text, which has no order"),
        ("sale == 'true'", "sale is compared with true or false"),
        ("stock == 1.5", "stock holds whole numbers"),
        ("stock == 1000000000000000", "more than 15 digits"),
        ("price < 1e301", "too large"),
        ("price < null", "null is only compared by == and !="),
        ("price 5", "a comparison is missing"),
        ("price < 5 label == 'x'", "one too many"),
        ("price < 5 and", "a column is missing"),
        ("(price < 5", r"a '\)' is missing"),
        ("label in 'x'", r"a '\(' is missing"),
        ("label in ()", "here is '\\)'"),
        ("label == 'x", "a quote that does not end"),
        ("label == 'x' ; drop", "';' means nothing"),
        ("5 < price", "a column is missing"),
        ("(" * (DEEPEST + 1) + "price < 5", "nested more than"),
        ("not " * (DEEPEST + 1) + "price < 5", "nested more than"),
        ("x" * 20_000, "20,000 characters"),
        ("price < 5__import__('os')", "means nothing|one too many|here is"),
    ],
)
def test_what_is_no_filter_is_refused_and_says_where(text: str, said: str) -> None:
    with pytest.raises(SearchError, match=said) as caught:
        parse_where(text, SCHEMA)
    assert "--where" in str(caught.value)


def test_a_missing_column_names_the_near_one() -> None:
    with pytest.raises(SearchError) as caught:
        parse_where("prices < 50", SCHEMA)
    assert "price   (did you mean this one?)" in str(caught.value)
    assert "price (number)" in str(caught.value)


@given(any_filter(SCHEMA))
def test_a_filter_that_is_written_is_read_again(tree: Filter) -> None:
    assert parse_where(where_text(tree), SCHEMA) == tree
