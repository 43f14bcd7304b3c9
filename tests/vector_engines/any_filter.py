"""Random filters over the columns of a schema, and random cells of its columns."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
from hypothesis import strategies as st

from shopsight.vector_engines.filters import (
    And,
    ColumnKind,
    Compare,
    Filter,
    In,
    IsNull,
    Not,
    Or,
    Schema,
)
from shopsight.vector_engines.payloads import POLARS_TYPES
from shopsight.vector_engines.where import LARGEST_INTEGER

EQUALITY = st.sampled_from(["==", "!="])
ORDER = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(0, 240).map(lambda n: n / 3))
INTEGERS = st.one_of(st.integers(-LARGEST_INTEGER, LARGEST_INTEGER), st.integers(0, 240))
WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["Hüte", "Schuhe", "rot", "blau", ""]))
VALUES: dict[ColumnKind, st.SearchStrategy[object]] = {
    "number": NUMBERS,
    "integer": INTEGERS,
    "text": WORDS,
    "texts": WORDS,
    "boolean": st.booleans(),
}
CELLS: dict[ColumnKind, st.SearchStrategy[Any]] = {
    # Few values, so that filters meet some; beyond them what engines read wrongly.
    "number": st.one_of(
        st.integers(0, 9).map(lambda n: n / 3),
        st.floats(1e-7, 1e14),
        st.floats(-1e14, -1e-7),
        st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
    ),
    "integer": st.one_of(
        st.integers(0, 9),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from([2**53, 2**53 + 1, LARGEST_INTEGER, LARGEST_INTEGER + 1]),
    ),
    "text": WORDS,
    "texts": st.lists(st.one_of(st.none(), WORDS), max_size=3),
    "boolean": st.booleans(),
}


def any_columns(schema: Schema, rows: int) -> st.SearchStrategy[pl.DataFrame]:
    """Tables of a schema's columns with cells of all kinds, missing ones too."""
    types = {name: POLARS_TYPES[kind] for name, kind in schema.items()}
    columns = {
        name: st.lists(st.one_of(st.none(), CELLS[kind]), min_size=rows, max_size=rows)
        for name, kind in schema.items()
    }
    return st.fixed_dictionaries(columns).map(lambda cells: pl.DataFrame(cells, schema=types))


def any_filter(schema: Schema) -> st.SearchStrategy[Filter]:
    """Filters that can be written: no part without members, no ids."""
    leaves = [leaf for column, kind in schema.items() for leaf in _leaves(column, kind)]
    return st.recursive(
        st.one_of(leaves),
        lambda parts: st.one_of(
            st.builds(Not, parts),
            st.builds(And, st.lists(parts, min_size=2, max_size=3).map(tuple)),
            st.builds(Or, st.lists(parts, min_size=2, max_size=3).map(tuple)),
        ),
        max_leaves=8,
    )


def _leaves(column: str, kind: ColumnKind) -> list[st.SearchStrategy[Filter]]:
    values = VALUES[kind]
    name, operators = st.just(column), ORDER if kind in ("number", "integer") else EQUALITY
    several = st.lists(values, min_size=1, max_size=3, unique=True).map(tuple)
    return [
        st.builds(Compare, name, operators, values),
        st.builds(In, name, several),
        st.builds(IsNull, name),
    ]
