"""Filters of a search as a small tree, which every engine understands alike.

`shopsight.vector_engines.where` reads one from text; each engine compiles it into its own terms;
`shopsight.vector_engines.numpy_engine` is the reference for what it means.

**Two values, not three.** A comparison with a cell that is missing is false, whatever the
comparison, `!=` too; `not` turns it around. So `not (price < 50)` keeps items without a price and
`price >= 50` does not. `column == null` asks for missing cells. NaN counts as missing.

**Lists.** A column of lists compares true where any of its values does, so `colors != 'red'` is
true of an item that is red and blue; `not (colors == 'red')` is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Scalar = str | int | float | bool
Operator = Literal["==", "!=", "<", "<=", ">", ">="]
ColumnKind = Literal["text", "integer", "number", "boolean", "texts"]
"""Kind of a kept column's cells; "texts" are lists of text."""
Schema = Mapping[str, ColumnKind]


@dataclass(frozen=True)
class Compare:
    """`column op value`; the value has the column's kind."""

    column: str
    op: Operator
    value: Scalar


@dataclass(frozen=True)
class In:
    """`column in (values)`."""

    column: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class IsNull:
    """The cell is missing; of a list also an empty one."""

    column: str


@dataclass(frozen=True)
class HasId:
    """The item is one of these. No text says this: it is how photos of a query are left out."""

    ids: frozenset[str]


@dataclass(frozen=True)
class And:
    """All of the parts; true without any."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """One of the parts at least; false without any."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The part is false."""

    part: Filter


Filter = Compare | In | IsNull | HasId | And | Or | Not


def both(first: Filter | None, second: Filter | None) -> Filter | None:
    """Two filters at once; None lets everything pass."""
    if first is None or second is None:
        return first if second is None else second
    return And((first, second))


def columns_of(one: Filter) -> Iterator[str]:
    """The columns that a filter looks at, each as often as it does."""
    match one:
        case Compare() | In() | IsNull():
            yield one.column
        case And() | Or():
            for part in one.parts:
                yield from columns_of(part)
        case Not():
            yield from columns_of(one.part)
        case HasId():
            pass
