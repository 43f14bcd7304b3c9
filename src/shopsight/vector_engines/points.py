"""What every engine does with points before it stores them, and with hits before it gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.errors import EmbeddingError, SearchError
from shopsight.unit_vectors import have_direction
from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorName
from shopsight.vector_engines.filters import ColumnKind, Filter, Schema, columns_of

ID_KEY = "_id"
"""Key of the string id in a payload: engines number their points."""
MORE_FOR_TIES = 1
"""Hits that are fetched beyond those wanted: enough to see whether the last has an equal."""
_NAMESPACE = uuid5(NAMESPACE_URL, "shopsight/item")


def point_id(item: str) -> str:
    """The UUID of an item: the same in every index, so that writing it again replaces it."""
    return str(uuid5(_NAMESPACE, item))


def item_uuid(item: str) -> UUID:
    """`point_id` as a value."""
    return uuid5(_NAMESPACE, item)


def check_points(points: Points, settings: EngineSettings) -> None:
    """Refuse what an engine would store without a word and answer wrongly from.

    Raises:
        EmbeddingError: a vector has another width, or no direction.
    """
    assert len(set(points.ids)) == len(points.ids) == points.columns.height
    for name, vectors in points.vectors.items():
        check_vectors(vectors, settings, name)
        usable = have_direction(vectors)
        if name == "text":
            # A row of zeros is an item without a text.
            usable |= ~vectors.any(axis=1)
        if not usable.all():
            bad = [points.ids[row] for row in np.flatnonzero(~usable).tolist()]
            raise EmbeddingError(
                f"{len(bad)} {name} vectors have no direction: they hold NaN, infinity or nothing "
                "but zeros",
                details=bad,
            )


def check_vectors(
    vectors: Float32[np.ndarray, "n d"], settings: EngineSettings, name: VectorName
) -> None:
    """Refuse vectors of another width, or of a name that the collection does not have.

    Raises:
        EmbeddingError: so it is.
    """
    if name not in settings.dims:
        raise EmbeddingError(f"the items of this index have no {name} vectors")
    if vectors.shape[1] != settings.dims[name]:
        raise EmbeddingError(
            f"{name} vectors of {vectors.shape[1]:,} numbers for an index of "
            f"{settings.dims[name]:,}"
        )


def check_queries(
    vectors: Float32[np.ndarray, "q d"], settings: EngineSettings, name: VectorName
) -> None:
    """Refuse queries that an engine would answer with NaN.

    Raises:
        EmbeddingError: another width, or no direction.
    """
    check_vectors(vectors, settings, name)
    if not have_direction(vectors).all():
        raise EmbeddingError("a query has no direction: it holds NaN, infinity or only zeros")


def check_filter(where: Filter | None, schema: Schema) -> None:
    """Refuse a filter on a column that is not kept: engines take it for one without values.

    Raises:
        SearchError: so it is.
    """
    for column in columns_of(where) if where is not None else ():
        if column not in schema:
            raise SearchError(
                f"the index keeps no column {column!r}",
                details=[f"{name}: {kind}" for name, kind in schema.items()],
            )


def payloads(points: Points, schema: Schema) -> list[dict[str, Any]]:
    """The cells of each point as an engine stores them, missing ones left out.

    Booleans are the words "true" and "false": one engine takes a boolean for a number when it
    compares, and finds nothing.
    """
    columns = {
        name: [stored(cell, kind) for cell in points.columns[name].to_list()]
        for name, kind in schema.items()
        if name in points.columns.columns
    }
    return [
        {ID_KEY: item}
        | {name: cells[row] for name, cells in columns.items() if cells[row] is not None}
        for row, item in enumerate(points.ids)
    ]


def stored(cell: Any, kind: ColumnKind) -> Any:
    """A cell as an engine stores it; None where it is missing: null, NaN, an empty list."""
    if cell is None:
        return None
    if kind == "boolean":
        return "true" if cell else "false"
    if kind == "number":
        return exact_number(cell) if math.isfinite(cell) else None
    if kind == "texts":
        return [str(one) for one in cell if one is not None] or None
    return int(cell) if kind == "integer" else str(cell)


def exact_number(value: float) -> float:
    """A number at 15 significant digits, which every engine reads as it was written.

    One engine's JSON reads a number of 16 or 17 digits as its neighbor, so that `price <= 91.66...`
    would not find the price that it names. With 15 digits the digits are an integer below 2^53 and
    the power of ten is exact, so that one rounded product gives the nearest float.
    """
    return float(f"{value:.15g}")


def columns_from(payload: Mapping[str, Any] | None, schema: Schema) -> dict[str, Any]:
    """The kept columns of a payload, missing ones None."""
    found = payload or {}
    return {
        name: found.get(name) == "true" if kind == "boolean" and name in found else found.get(name)
        for name, kind in schema.items()
    }


def table_of(payloads: Iterable[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """The kept columns of payloads as a table."""
    rows = [columns_from(payload, schema) for payload in payloads]
    return pl.DataFrame(rows, schema={name: POLARS_TYPES[kind] for name, kind in schema.items()})


POLARS_TYPES: dict[ColumnKind, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "texts": pl.List(pl.String()),
}


Fetch = Callable[[Sequence[int], int], list[list[Hit]]]
"""Asks for some queries, by their numbers, and so many hits of each."""


def with_ties(fetch: Fetch, queries: int, limit: int, *, at_once: int) -> list[list[Hit]]:
    """The best hits of each query, equal scores in the order of their ids.

    Where the last hit has the score of others that were not fetched, an engine gives whichever it
    met first. So a few more are fetched, and for such queries more again, until the last is worse.

    Args:
        fetch: asks the engine.
        queries: their number.
        limit: most hits of a query.
        at_once: most queries that `fetch` is given.
    """
    found: dict[int, list[Hit]] = {}
    waiting, asked = list(range(queries)), limit + MORE_FOR_TIES
    while waiting:
        for start in range(0, len(waiting), at_once):
            rows = waiting[start : start + at_once]
            for row, hits in zip(rows, fetch(rows, asked), strict=True):
                hits.sort(key=lambda hit: (-hit.score, hit.id))
                is_cut = len(hits) == asked and hits[limit - 1].score == hits[-1].score
                if not is_cut:
                    found[row] = hits[:limit]
        waiting = [row for row in waiting if row not in found]
        asked *= 2
    return [found[row] for row in range(queries)]


def as_lists(vectors: np.ndarray) -> list[list[float]]:
    """Plain lists, which bindings take faster than arrays."""
    rows: list[list[float]] = vectors.tolist()
    return rows
