"""The search itself: from directions to ranked products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from shopsight.metrics.query_expansion import expanded_queries
from shopsight.metrics.rerank import reranked
from shopsight.search.grouping import Result, enough_hits, grouped
from shopsight.search.index import Index
from shopsight.search.query_vectors import Aim
from shopsight.search.rank_fusion import fused
from shopsight.search.word_route import WordRoute
from shopsight.vector_engines.engine import Hit, VectorName
from shopsight.vector_engines.filters import Filter, HasId, Not, both

CANDIDATES = 100
"""Hits that re-ranking puts in order; those behind them keep theirs."""


@dataclass(frozen=True)
class SearchOptions:
    """How a search answers.

    Attributes:
        top: results of a query.
        by_product: a result is a product, not an image.
        where: only items that it lets pass.
        expand: nearest items that the query is blended with; 0 leaves it as it is.
        rerank: k1 and k2 (`shopsight.metrics.rerank`) by which the first candidates are ordered;
            None leaves their order.
        min_score: results below it are none.
    """

    top: int = 10
    by_product: bool = True
    where: Filter | None = None
    expand: int = 0
    rerank: tuple[int, int] | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class Found:
    """The results of a query.

    Attributes:
        results: best first.
        best_score: of the nearest, whatever the least score; None where there is none.
    """

    results: tuple[Result, ...]
    best_score: float | None


def find(
    aims: Sequence[Aim], index: Index, options: SearchOptions, *, words: WordRoute
) -> list[Found]:
    """The results of each query; none of an aim with an error."""
    rankings: list[list[list[Result]]] = [[] for _ in aims]
    routes: tuple[tuple[VectorName, Callable[[Aim], Float32[np.ndarray, "d"] | None]], ...] = (
        ("image", lambda aim: aim.image),
        ("text", lambda aim: aim.text),
    )
    for name, direction in routes:
        given = {number: direction(aim) for number, aim in enumerate(aims)}
        found = {number: vector for number, vector in given.items() if vector is not None}
        if not found:
            continue
        numbers = list(found)
        chosen = [aims[number] for number in numbers]
        vectors = np.stack(list(found.values()))
        hits = _hits(vectors, chosen, index, options, name, words)
        for number, some in zip(numbers, hits, strict=True):
            rankings[number].append(grouped(some, by_product=options.by_product))
    return [_found(lists, options) for lists in rankings]


def _found(rankings: Sequence[Sequence[Result]], options: SearchOptions) -> Found:
    results = rankings[0] if len(rankings) == 1 else fused(rankings)
    floor = -np.inf if options.min_score is None else options.min_score
    best = max((one.score for one in results[: options.top]), default=None)
    return Found(tuple(one for one in results[: options.top] if one.score >= floor), best)


def _hits(
    vectors: Float32[np.ndarray, "q d"],
    aims: Sequence[Aim],
    index: Index,
    options: SearchOptions,
    name: VectorName,
    words: WordRoute,
) -> list[list[Hit]]:
    """Hits of each query that hold enough products."""
    if options.expand and name == "image":
        vectors = _expanded(vectors, aims, index, options, words)
    top = max(options.top, CANDIDATES) if options.rerank else options.top
    hits = _nearest(vectors, aims, index, options, name, words, top=top)
    if options.rerank is None or name != "image":
        return hits
    k1, k2 = options.rerank
    return [
        _reranked(vector, some, index, k1, k2) for vector, some in zip(vectors, hits, strict=True)
    ]


def _nearest(
    vectors: Float32[np.ndarray, "q d"],
    aims: Sequence[Aim],
    index: Index,
    options: SearchOptions,
    name: VectorName,
    words: WordRoute,
    *,
    top: int,
) -> list[list[Hit]]:
    """Hits by cosine. Queries that leave items out are asked alone, all others together."""

    def fetch_of(numbers: Sequence[int], where: Filter | None) -> Callable[[int], list[list[Hit]]]:
        asked = vectors[list(numbers)]
        if name == "image" and aims[numbers[0]].by_words:
            return lambda limit: words.nearest(asked, index, limit=limit, where=where)
        return lambda limit: index.query(asked, limit=limit, where=where, vector=name)

    found: list[list[Hit]] = [[] for _ in aims]
    for numbers, left_out in _alike(aims):
        where = both(options.where, Not(HasId(left_out)) if left_out else None)
        hits = enough_hits(
            fetch_of(numbers, where), top=top, most=len(index), by_product=options.by_product
        )
        for number, some in zip(numbers, hits, strict=True):
            found[number] = some
    return found


def _alike(aims: Sequence[Aim]) -> list[tuple[list[int], frozenset[str]]]:
    """Numbers of aims that one call to the engine can answer, and what they leave out."""
    kinds: dict[tuple[bool, frozenset[str]], list[int]] = {}
    for number, aim in enumerate(aims):
        kinds.setdefault((aim.by_words, aim.left_out), []).append(number)
    return [(numbers, left_out) for (_, left_out), numbers in kinds.items()]


def _expanded(
    vectors: Float32[np.ndarray, "q d"],
    aims: Sequence[Aim],
    index: Index,
    options: SearchOptions,
    words: WordRoute,
) -> Float32[np.ndarray, "q d"]:
    nearest = _nearest(
        vectors, aims, index, replace(options, by_product=False), "image", words, top=options.expand
    )
    blended = vectors.copy()
    for number, hits in enumerate(nearest):
        if not hits or aims[number].by_words:
            continue
        neighbors = index.vectors([hit.id for hit in hits[: options.expand]])
        scores = np.array([hit.score for hit in hits[: options.expand]], np.float32)
        blended[number] = expanded_queries(vectors[number][None], neighbors[None], scores[None])[0]
    return blended


def _reranked(
    query: Float32[np.ndarray, "d"], hits: Sequence[Hit], index: Index, k1: int, k2: int
) -> list[Hit]:
    candidates, rest = hits[:CANDIDATES], hits[CANDIDATES:]
    if len(candidates) < 2:
        return list(hits)
    vectors = index.vectors([hit.id for hit in candidates])
    order = reranked(query, vectors, k1=k1, k2=k2)
    return [*(candidates[position] for position in order.tolist()), *rest]
