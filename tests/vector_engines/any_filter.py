"""Random filters over the columns of a schema."""

from __future__ import annotations

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

EQUALITY = st.sampled_from(["==", "!="])
ORDER = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(0, 240).map(lambda n: n / 3))
INTEGERS = st.one_of(st.integers(-(2**53), 2**53), st.integers(0, 240))
WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["Hüte", "Schuhe", "rot", "blau", ""]))
VALUES: dict[ColumnKind, st.SearchStrategy[object]] = {
    "number": NUMBERS,
    "integer": INTEGERS,
    "text": WORDS,
    "texts": WORDS,
    "boolean": st.booleans(),
}


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
