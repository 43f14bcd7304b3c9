"""Check an index: that its items are found, that its vectors are those of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight import progress
from shopsight.search.index import Index
from shopsight.text import count_text, counted, percent_text
from shopsight.vector_engines.engine import Hit
from shopsight.vector_engines.filters import Compare, Filter

EMBEDDED_ANEW = 200
QUERIES = 200
TOP = 10
LEAST_COSINE = 0.99
"""Of an image that is embedded anew with its vector: bf16 and float16 stay above."""
LEAST_RECALL = 0.95
SELECTIVITIES = (0.1, 0.01, 0.001)
ITEMS_AT_ONCE = 1000


@dataclass(frozen=True)
class Check:
    """One check of an index.

    Attributes:
        name: what is checked.
        ok: whether it holds; None where it could not be checked.
        said: what was found.
        details: the first things that are wrong.
    """

    name: str
    ok: bool | None
    said: str
    details: tuple[str, ...] = ()


def verify(index: Index, *, seed: int = 0) -> list[Check]:
    """Check an index against its files and its images.

    Args:
        index: that is open.
        seed: of the images and queries that are drawn.
    """
    rng = np.random.default_rng(seed)
    return [
        _counts(index),
        _found_by_own_vector(index),
        _embedded_anew(index, rng),
        *_recall(index, rng),
    ]


def _counts(index: Index) -> Check:
    stored, items = index.generation.engine.count(), len(index)
    return Check(
        "counts", stored == items, f"{items:,} items in the files, {stored:,} in the engine"
    )


def _found_by_own_vector(index: Index) -> Check:
    """Each item is the nearest to its own vector, or as near as the nearest."""
    items = index.items([])
    lost: list[str] = []
    with progress.task("Looking for each item", items.height, "items") as advance:
        for start in range(0, items.height, ITEMS_AT_ONCE):
            ids = items["id"][start : start + ITEMS_AT_ONCE].to_list()
            vectors = index.vectors(ids)
            for item, vector, hits in zip(ids, vectors, index.query(vectors, limit=1), strict=True):
                if not _is_found(index, item, vector, hits):
                    lost.append(item)
            advance(len(ids))
    said = f"{items.height - len(lost):,} of {items.height:,} items are found by their vectors"
    return Check("own vectors", not lost, said, tuple(lost[:5]))


def _is_found(
    index: Index, item: str, vector: Float32[np.ndarray, "d"], hits: Sequence[Hit]
) -> bool:
    if hits and hits[0].id == item:
        return True
    # Of equal images any may be the first: then this one has a score as good.
    best = hits[0].score if hits else -1.0
    more = index.query(vector[None], limit=100)[0]
    own = next((hit.score for hit in more if hit.id == item), None)
    return own is not None and own >= best - 1e-3


def _embedded_anew(index: Index, rng: np.random.Generator) -> Check:
    items = index.items()
    rows = np.sort(rng.permutation(items.height)[:EMBEDDED_ANEW])
    some = items[rows]
    found = list(index.embedder().embed(index.named_images(some)))
    stored = index.vectors(some["id"].to_list())
    wrong, unread = [], []
    for item, one, vector in zip(some["id"].to_list(), found, stored, strict=True):
        if one.vector is None:
            unread.append(f"{item}: {one.error}")
        elif float(one.vector @ vector) < LEAST_COSINE:
            wrong.append(f"{item}: cosine {float(one.vector @ vector):.3f} to its stored vector")
    read = len(rows) - len(unread)
    said = f"{read - len(wrong)} of {counted(read, 'image')} have the vectors that are stored"
    if unread:
        said += f", {counted(len(unread), 'image')} not readable"
    ok = None if not read else not wrong
    return Check("images", ok, said, tuple([*wrong, *unread][:5]))


def _recall(index: Index, rng: np.random.Generator) -> list[Check]:
    """The graph against exact search, without and with filters."""
    items = index.items()
    rows = np.sort(rng.permutation(items.height)[:QUERIES])
    queries = index.vectors(items[rows]["id"].to_list())
    checks = [_recall_with(index, queries, None, "recall@10")]
    for fraction in SELECTIVITIES:
        where = _filter_for(items, index, fraction)
        if where is not None:
            chosen, passing = where
            name = f"recall@10, a filter that {percent_text(passing)} pass"
            checks.append(_recall_with(index, queries, chosen, name))
    return checks


def _recall_with(
    index: Index, queries: Float32[np.ndarray, "q d"], where: Filter | None, name: str
) -> Check:
    found = index.query(queries, limit=TOP, where=where)
    exact = index.query(queries, limit=TOP, where=where, exact=True)
    shares = [
        sum(hit.score >= wanted[-1].score - 1e-4 for hit in hits) / len(wanted)
        for hits, wanted in zip(found, exact, strict=True)
        if wanted
    ]
    recall = float(np.mean(shares)) if shares else 1.0
    said = f"{recall:.3f} of what exact search finds, {count_text(len(queries))} queries"
    return Check(name, recall >= LEAST_RECALL, said)


def _filter_for(items: pl.DataFrame, index: Index, fraction: float) -> tuple[Filter, float] | None:
    """A filter that about this fraction of the items pass, on a column that has such a value."""
    best: tuple[float, Filter, float] | None = None
    for column, kind in index.schema.items():
        if kind not in ("text", "integer", "number", "boolean") or column not in items.columns:
            continue
        counts = items[column].drop_nulls().value_counts()
        for value, count in counts.sort("count", descending=True).head(2000).iter_rows():
            passing = count / items.height
            distance = abs(np.log(passing / fraction))
            if distance < np.log(2) and (best is None or distance < best[0]):
                best = float(distance), Compare(column, "==", value), passing
    return None if best is None else (best[1], best[2])
