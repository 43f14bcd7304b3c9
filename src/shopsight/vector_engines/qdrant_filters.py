"""Filters in the terms of Qdrant, in process and of a server alike.

Both have the same conditions; `EdgeConditions` and `ServerConditions` say how each builds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from shopsight.vector_engines.filters import (
    And,
    ColumnKind,
    Compare,
    Filter,
    HasId,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Scalar,
    Schema,
)
from shopsight.vector_engines.payloads import exact_number, payload_keys
from shopsight.vector_engines.points import item_uuid


class Conditions(Protocol):
    """How a library of Qdrant's builds conditions."""

    def all_of(self, conditions: list[Any]) -> Any:
        """All hold; true without any."""
        ...

    def any_of(self, conditions: list[Any]) -> Any:
        """One holds at least; there is one at least."""
        ...

    def none_of(self, conditions: list[Any]) -> Any:
        """None holds."""
        ...

    def one_of(self, column: str, values: list[Any]) -> Any:
        """A value of the column is among these words or integers."""
        ...

    def other_than(self, column: str, values: list[Any]) -> Any:
        """A value of the column is not among these words or integers."""
        ...

    def between(self, column: str, **ends: float) -> Any:
        """A number of the column lies between ends named gt, gte, lt, lte."""
        ...

    def missing(self, column: str) -> Any:
        """The column has no value."""
        ...

    def has_id(self, ids: list[Any]) -> Any:
        """The point is one of these UUIDs."""
        ...


RANGE_END = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def compiled(where: Filter, schema: Schema, conditions: Conditions) -> Any:
    """A filter as one condition of Qdrant's.

    Args:
        where: only columns of the schema, with values of their kinds.
        schema: kind of each column.
        conditions: how they are built.
    """
    keys = payload_keys(schema)

    def build(one: Filter) -> Any:
        match one:
            case And(parts):
                return conditions.all_of([build(part) for part in parts])
            case Or(parts):
                built = [build(part) for part in parts]
                # Of nothing, nothing is true.
                return conditions.any_of(built) if built else conditions.has_id([])
            case Not(part):
                return conditions.none_of([build(part)])
            case HasId(ids):
                return conditions.has_id([item_uuid(item) for item in sorted(ids)])
            case IsNull(column):
                return conditions.missing(keys[column])
            case In(column, values):
                return _among(keys[column], schema[column], values, conditions)
            case Compare(column, op, value):
                return _compared(keys[column], schema[column], op, value, conditions)
        raise AssertionError(one)

    return build(where)


def _among(key: str, kind: ColumnKind, values: Sequence[Scalar], conditions: Conditions) -> Any:
    if not values:
        return conditions.has_id([])
    if kind == "number":
        # Floats are compared by ranges alone.
        return conditions.any_of([_equal(key, value, conditions) for value in values])
    return conditions.one_of(key, [_word(value) for value in values])


def _compared(
    key: str, kind: ColumnKind, op: Operator, value: Scalar, conditions: Conditions
) -> Any:
    if op in RANGE_END:
        return conditions.between(key, **{RANGE_END[op]: exact_number(float(value))})
    if kind == "number":
        if op == "==":
            return _equal(key, value, conditions)
        number = exact_number(float(value))
        below, above = conditions.between(key, lt=number), conditions.between(key, gt=number)
        return conditions.any_of([below, above])
    compare = conditions.one_of if op == "==" else conditions.other_than
    return compare(key, [_word(value)])


def _equal(key: str, value: Scalar, conditions: Conditions) -> Any:
    number = exact_number(float(value))
    return conditions.between(key, gte=number, lte=number)


def _word(value: Scalar) -> Scalar:
    return ("true" if value else "false") if isinstance(value, bool) else value


class EdgeConditions:
    """Conditions as Qdrant Edge takes them."""

    def __init__(self, edge: Any) -> None:
        self._edge = edge

    def all_of(self, conditions: list[Any]) -> Any:
        """All hold."""
        return self._edge.Filter(must=conditions)

    def any_of(self, conditions: list[Any]) -> Any:
        """One holds at least."""
        return self._edge.Filter(should=conditions)

    def none_of(self, conditions: list[Any]) -> Any:
        """None holds."""
        return self._edge.Filter(must_not=conditions)

    def one_of(self, column: str, values: list[Any]) -> Any:
        """Among words or integers."""
        return self._edge.FieldCondition(key=column, match=self._edge.MatchAny(values))

    def other_than(self, column: str, values: list[Any]) -> Any:
        """Not among words or integers."""
        return self._edge.FieldCondition(key=column, match=self._edge.MatchExcept(values))

    def between(self, column: str, **ends: float) -> Any:
        """A number between ends."""
        return self._edge.FieldCondition(key=column, range=self._edge.RangeFloat(**ends))

    def missing(self, column: str) -> Any:
        """No value."""
        return self._edge.IsEmptyCondition(column)

    def has_id(self, ids: list[Any]) -> Any:
        """One of these points."""
        return self._edge.HasIdCondition(set(ids))


class ServerConditions:
    """Conditions as a server takes them."""

    def __init__(self, models: Any) -> None:
        self._models = models

    def all_of(self, conditions: list[Any]) -> Any:
        """All hold."""
        return self._models.Filter(must=conditions)

    def any_of(self, conditions: list[Any]) -> Any:
        """One holds at least."""
        return self._models.Filter(should=conditions)

    def none_of(self, conditions: list[Any]) -> Any:
        """None holds."""
        return self._models.Filter(must_not=conditions)

    def one_of(self, column: str, values: list[Any]) -> Any:
        """Among words or integers."""
        return self._models.FieldCondition(key=column, match=self._models.MatchAny(any=values))

    def other_than(self, column: str, values: list[Any]) -> Any:
        """Not among words or integers."""
        match = self._models.MatchExcept(**{"except": values})
        return self._models.FieldCondition(key=column, match=match)

    def between(self, column: str, **ends: float) -> Any:
        """A number between ends."""
        return self._models.FieldCondition(key=column, range=self._models.Range(**ends))

    def missing(self, column: str) -> Any:
        """No value."""
        return self._models.IsEmptyCondition(is_empty=self._models.PayloadField(key=column))

    def has_id(self, ids: list[Any]) -> Any:
        """One of these points."""
        return self._models.HasIdCondition(has_id=[str(one) for one in ids])
