"""What shopsight asks of a vector engine: as little as all of them can do.

An engine holds points: a string id, one or two named unit vectors, and the kept columns. It is
derived from files of ours (`shopsight.search`) and can be made anew from them at any time, so an
engine that loses data costs minutes and no product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.vector_engines.filters import Filter, Schema

Storage = Literal["f32", "f16", "int8", "turbo8"]
"""How an engine keeps vectors: in "int8" beside the "f16" that the best are scored again by; in
"turbo8" in 8 bits alone, a third of the memory, scores right to about .001."""
VectorName = Literal["image", "text"]

EXACT_BELOW = 50_000
"""Points up to which every search is exact: it takes milliseconds, and an index minutes."""

DEFAULT_EF = 128
"""Candidates of a search in the graph."""


@dataclass(frozen=True)
class EngineSettings:
    """What a collection of points is made with.

    Attributes:
        dims: numbers in each named vector.
        schema: kind of each kept column.
        storage: how the engine keeps vectors; the files of truth keep their own.
        exact_below: points up to which no graph is built.
        m: edges of a node in the graph.
        ef_construct: candidates while the graph is built.
        ef: candidates of a search; what recall and time hang on.
        oversampling: with "int8", candidates for each wanted hit that are scored again exactly.
        shards: of a collection on a server, parts that its nodes share; None is the server's own.
        replicas: of a collection on a server, copies of each part; None is the server's own.
    """

    dims: Mapping[VectorName, int]
    schema: Schema = field(default_factory=dict)
    storage: Storage = "f16"
    exact_below: int = EXACT_BELOW
    m: int = 16
    ef_construct: int = 128
    ef: int = DEFAULT_EF
    oversampling: float = 2.0
    shards: int | None = None
    replicas: int | None = None


@dataclass(frozen=True, eq=False)
class Points:
    """Items on their way into an engine or out of it, n of them.

    Attributes:
        ids: of the items, each once.
        vectors: by name; unit vectors. A row of zeros in "text" is an item without a text, which
            the engine stores without that vector.
        columns: the kept columns, n rows; nulls are missing cells.
    """

    ids: Sequence[str]
    vectors: Mapping[VectorName, Float32[np.ndarray, "n d"]]
    columns: pl.DataFrame


@dataclass(frozen=True)
class Hit:
    """One item that a search found.

    Attributes:
        id: of the item.
        score: cosine similarity; equal scores are in the order of their ids.
        columns: its kept columns.
    """

    id: str
    score: float
    columns: Mapping[str, Any] = field(default_factory=dict)


class VectorEngine(Protocol):
    """A collection of points. Opened and made by the functions of each engine's module.

    No call changes its arguments. One process holds an engine; no call is made after a fork.
    """

    @property
    def name(self) -> str:
        """For messages and reports, e.g. "Qdrant Edge 0.9.0"."""
        ...

    @property
    def settings(self) -> EngineSettings:
        """What it was made with."""
        ...

    def upsert(self, points: Points) -> None:
        """Put points in, in the place of those with the same ids.

        Raises:
            EmbeddingError: a vector is not finite or has another width.
        """
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out; ids that are not there change nothing."""
        ...

    def query(
        self,
        vectors: Float32[np.ndarray, "q d"],
        *,
        limit: int,
        where: Filter | None = None,
        vector: VectorName = "image",
        exact: bool = False,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        """The nearest points of each query, best first; equal scores by id.

        Args:
            vectors: unit vectors.
            limit: most hits of a query.
            where: only points that it lets pass.
            vector: which of a point's vectors is compared; points without it are not found.
            exact: compare with every point.
            ef: in place of the settings'.
        """
        ...

    def scroll(self, *, batch: int = 1000) -> Iterator[Points]:
        """All points, in any order, vectors as stored (f16 and int8 are not what was put in)."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Number of points."""
        ...

    def unindexed(self) -> int:
        """Points that are not in the graph yet, and are compared one by one."""
        ...

    def flush(self) -> None:
        """Return when everything is on the disk (fsync)."""
        ...

    def optimize(self) -> None:
        """Build the graph above `exact_below` points, and drop what was deleted.

        Blocks; of an embedded engine all other threads too.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
