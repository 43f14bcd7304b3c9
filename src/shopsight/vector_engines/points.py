"""What every engine does with points before it stores them, and with hits before it gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
from jaxtyping import Float32

from shopsight.errors import EmbeddingError, SearchError
from shopsight.unit_vectors import have_direction
from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorName
from shopsight.vector_engines.filters import Filter, Schema, columns_of

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


def named_vectors(points: Points) -> list[dict[VectorName, list[float]]]:
    """The vectors of each point by name, without those that it lacks: rows of zeros."""
    lists = {name: as_lists(vectors) for name, vectors in points.vectors.items()}
    given = {name: np.any(vectors, axis=1) for name, vectors in points.vectors.items()}
    return [
        {name: rows[row] for name, rows in lists.items() if given[name][row]}
        for row in range(len(points.ids))
    ]


def as_lists(vectors: np.ndarray) -> list[list[float]]:
    """Plain lists, which bindings take faster than arrays."""
    rows: list[list[float]] = vectors.tolist()
    return rows
