"""Qdrant Edge: the engine of an index on this machine, in process.

What its binding does without a word, and what is done about it here:

- Every call holds the interpreter's lock, the building of the graph for minutes: graphs are built
  in a process of their own (`shopsight.search.builder`).
- After a fork every call hangs: nothing here is used from a forked process.
- A shard has one opener, and without its log nothing guards that: the index has a lock.
- A killed `optimize` leaves folders in `temp_segments/` for good: they are removed before a shard
  is opened.
- Its write-ahead log is off: the index has a log of its own that is written first, and what a
  shard's log keeps of deleted items would have to be forgotten too. What was not flushed is
  replayed.
- It stores NaN and zeros and compares booleans as numbers: `shopsight.vector_engines.points`.

Source: the measurements that docs/vector-engines.md lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from jaxtyping import Float32

from shopsight.errors import SearchError, first_line
from shopsight.extras import require
from shopsight.files import make_folder, write_json
from shopsight.held_files import remove_folder
from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorName
from shopsight.vector_engines.filters import Filter
from shopsight.vector_engines.payloads import Payloads, payload_keys
from shopsight.vector_engines.points import (
    as_lists,
    check_filter,
    check_points,
    check_queries,
    item_uuid,
    named_vectors,
    with_ties,
)
from shopsight.vector_engines.qdrant_filters import EdgeConditions, compiled

SHARD, SETTINGS_FILE = "shard", "engine.json"
UPSERTED_AT_ONCE = 1000
QUERIED_AT_ONCE = 64
SMALLEST_GRAPH_KB = 1
"""Of vectors: `optimize` is only called where a graph is wanted."""


def create_edge(folder: Path, settings: EngineSettings) -> EdgeEngine:
    """Make a collection in a folder that has none.

    Raises:
        ExtraMissingError: the extra `search` is not installed.
    """
    edge = require("qdrant_edge")
    make_folder(folder / SHARD)
    write_json(folder / SETTINGS_FILE, asdict(settings))
    shard = edge.EdgeShard.create(str(folder / SHARD), _config(edge, settings))
    _index_columns(edge, shard, settings)
    return EdgeEngine(edge, shard, settings)


def open_edge(folder: Path) -> EdgeEngine:
    """Open the collection of a folder.

    Raises:
        SearchError: it is not there, or is damaged.
        ExtraMissingError: the extra `search` is not installed.
    """
    edge = require("qdrant_edge")
    try:
        stored = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        settings = EngineSettings(**stored)
        _remove_unfinished(folder / SHARD)
        shard = edge.EdgeShard.load(str(folder / SHARD), _config(edge, settings))
    except Exception as error:
        raise SearchError(
            f"the engine's files cannot be opened: {first_line(error)}", where=str(folder)
        ) from error
    return EdgeEngine(edge, shard, settings)


def _index_columns(edge: Any, shard: Any, settings: EngineSettings) -> None:
    """Index the kept columns, while the shard is empty.

    Without it every filtered search reads the payloads of all points: 2 ms for 8,000. And the graph
    gets edges among the points of a value only where the column was indexed before: without them
    those that a filter lets pass fall apart into parts that no search gets across.
    """
    kinds = edge.PayloadSchemaType
    for name, key in payload_keys(settings.schema).items():
        kind = settings.schema[name]
        indexed = {"integer": kinds.Integer, "number": kinds.Float}.get(kind, kinds.Keyword)
        shard.update(edge.UpdateOperation.create_field_index(key, indexed))


def _remove_unfinished(shard: Path) -> None:
    """What a killed `optimize` left."""
    for place in shard.rglob("temp_segments"):
        for left in place.iterdir():
            remove_folder(left)


def _config(edge: Any, settings: EngineSettings) -> Any:
    types = edge.VectorStorageDatatype
    stored = {"f32": types.Float32, "turbo8": types.Turbo8}.get(settings.storage, types.Float16)
    quantization = None
    if settings.storage == "int8":
        quantization = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99)
    vectors = {
        name: edge.EdgeVectorParams(
            dim, edge.Distance.Dot, datatype=stored, quantization_config=quantization
        )
        for name, dim in settings.dims.items()
    }
    return edge.EdgeConfig(
        vectors=vectors,
        hnsw_config=edge.HnswIndexConfig(settings.m, settings.ef_construct, 1000),
        optimizers=edge.EdgeOptimizersConfig(
            default_segment_number=1, indexing_threshold=SMALLEST_GRAPH_KB
        ),
        # Payloads on the disk take longer than the search itself (.09 ms of .16 for 18 hits).
        payload_memory=edge.Memory.Cached,
        # One query is one thread's work, batches too: handing it to another takes .01 ms.
        max_search_threads=1,
        wal_enabled=False,
    )


class EdgeEngine:
    """A shard of Qdrant Edge. See `create_edge` and `open_edge`.

    Args:
        edge: the library.
        shard: that is open.
        settings: what it was made with.
    """

    def __init__(self, edge: Any, shard: Any, settings: EngineSettings) -> None:
        self._edge = edge
        self._shard = shard
        self._settings = settings
        self._payloads = Payloads(settings.schema)
        self._conditions = EdgeConditions(edge)

    @property
    def name(self) -> str:
        """For messages and reports."""
        return f"Qdrant Edge {version('qdrant-edge-py')}"

    @property
    def settings(self) -> EngineSettings:
        """What it was made with."""
        return self._settings

    def upsert(self, points: Points) -> None:
        """Put points in, in the place of those with the same ids."""
        check_points(points, self._settings)
        cells = self._payloads.of(points.ids, points.columns)
        ready = [
            self._edge.Point(item_uuid(item), vectors, payload)
            for item, vectors, payload in zip(points.ids, named_vectors(points), cells, strict=True)
        ]
        for start in range(0, len(ready), UPSERTED_AT_ONCE):
            some = ready[start : start + UPSERTED_AT_ONCE]
            self._shard.update(self._edge.UpdateOperation.upsert_points(some))

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out."""
        if ids:
            gone = [item_uuid(item) for item in ids]
            self._shard.update(self._edge.UpdateOperation.delete_points(gone))

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
        """The nearest points of each query, best first; equal scores by id."""
        check_queries(vectors, self._settings, vector)
        check_filter(where, self._settings.schema)
        # Many more than a process can have hits are an error of memory in the engine.
        limit = min(limit, self._points())
        if limit < 1:
            return [[] for _ in vectors]
        condition = None
        if where is not None:
            built = compiled(where, self._settings.schema, self._conditions)
            condition = self._edge.Filter(must=[built])
        params = self._params(exact, ef or self._settings.ef, limit)

        queries = as_lists(vectors.astype(np.float32))

        def fetch(rows: Sequence[int], asked: int) -> list[list[Hit]]:
            requests = [
                self._edge.QueryRequest(
                    limit=asked,
                    query=self._edge.Query.Nearest(queries[row], using=vector),
                    with_payload=True,
                    filter=condition,
                    params=params,
                )
                for row in rows
            ]
            answers = self._shard.query_batch(self._edge.QueryBatchRequest(requests))
            return [[self._payloads.hit(found) for found in answer] for answer in answers]

        return with_ties(fetch, len(queries), limit, at_once=QUERIED_AT_ONCE)

    def _params(self, exact: bool, ef: int, limit: int) -> Any:
        rescored = None
        if self._settings.storage == "int8":
            rescored = self._edge.QuantizationSearchParams(
                ignore=exact, rescore=True, oversampling=self._settings.oversampling
            )
        return self._edge.SearchParams(hnsw_ef=max(ef, limit), exact=exact, quantization=rescored)

    def scroll(self, *, batch: int = 1000) -> Iterator[Points]:
        """All points, vectors as stored."""
        offset: UUID | None = None
        while True:
            request = self._edge.ScrollRequest(
                offset=offset, limit=batch, with_payload=True, with_vector=True
            )
            records: list[Any]
            records, offset = self._shard.scroll(request)
            if records:
                yield self._payloads.points(records, self._settings.dims)
            if offset is None:
                return

    def count(self, where: Filter | None = None) -> int:
        """Number of points."""
        check_filter(where, self._settings.schema)
        if where is None:
            return self._points()
        built = compiled(where, self._settings.schema, self._conditions)
        request = self._edge.CountRequest(exact=True, filter=self._edge.Filter(must=[built]))
        return int(self._shard.count(request))

    def _points(self) -> int:
        """All points: the engine keeps their number; counting them takes 35 ms for a million."""
        return int(self._shard.info().points_count)

    def unindexed(self) -> int:
        """Vectors that are compared one by one; those of both names count."""
        stored = 0
        for name in self._settings.dims:
            has = self._edge.Filter(must=[self._edge.HasVectorCondition(name)])
            stored += int(self._shard.count(self._edge.CountRequest(exact=True, filter=has)))
        return max(0, stored - int(self._shard.info().indexed_vectors_count))

    def flush(self) -> None:
        """Return when everything is on the disk."""
        self._shard.flush()

    def optimize(self) -> None:
        """Build the graph above `exact_below` points, and drop what was deleted."""
        if self._points() > self._settings.exact_below:
            self._shard.optimize()
        self._shard.flush()

    def close(self) -> None:
        """Let go of the files."""
        self._shard.close()
