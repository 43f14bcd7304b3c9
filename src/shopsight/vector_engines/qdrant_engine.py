"""A Qdrant server or cluster by its address: the engine of an index that many processes search.

It has the same filters, scores and storage as the engine in process, so an index answers alike on
both. One collection is one generation of one index; its points lie in as many shards, and as many
copies of each, as the settings say. Every write waits until the server has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from shopsight.errors import SearchError
from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorName
from shopsight.vector_engines.filters import Filter
from shopsight.vector_engines.payloads import Payloads, payload_keys
from shopsight.vector_engines.points import (
    as_lists,
    check_filter,
    check_points,
    check_queries,
    named_vectors,
    point_id,
    with_ties,
)
from shopsight.vector_engines.qdrant_filters import ServerConditions, compiled
from shopsight.vector_engines.qdrant_server import TIMEOUT_S, QdrantServer

UPSERTED_AT_ONCE = 500
QUERIED_AT_ONCE = 100


def create_qdrant(
    url: str, collection: str, settings: EngineSettings, *, timeout_s: int = TIMEOUT_S
) -> QdrantEngine:
    """Make a collection on a server, in the place of one of the same name.

    Args:
        url: of the server, as http://host:6333.
        collection: its name.
        settings: what it is made with.
        timeout_s: how long an answer of the server may take.

    Raises:
        SearchError: the server cannot be reached, is too slow, or refuses.
        ExtraMissingError: the extra `search` is not installed.
    """
    server = QdrantServer(url, timeout_s=timeout_s)
    make_collection(server, collection, settings)
    return QdrantEngine(server, collection, settings)


def make_collection(server: QdrantServer, collection: str, settings: EngineSettings) -> None:
    """Make a collection and the indexes of its columns, in the place of one of the same name.

    Raises:
        SearchError: the server cannot be reached, is too slow, or refuses.
    """
    server.call(lambda client: client.delete_collection(collection))
    made = _config(server.models, settings)
    server.call(lambda client: client.create_collection(collection, **made))
    for name, key in payload_keys(settings.schema).items():
        # Before the first point: see the engine in process.
        indexed = {"integer": "integer", "number": "float"}.get(settings.schema[name], "keyword")
        server.call(partial(_index_column, collection, key, indexed))


def _index_column(collection: str, key: str, kind: str, client: Any) -> None:
    client.create_payload_index(collection, key, field_schema=kind, wait=True)


def open_qdrant(
    url: str, collection: str, settings: EngineSettings, *, timeout_s: int = TIMEOUT_S
) -> QdrantEngine:
    """Open a collection that is on a server. The arguments are those of `create_qdrant`.

    Raises:
        SearchError: the server cannot be reached, has no such collection, or one whose vectors are
            of other widths.
        ExtraMissingError: the extra `search` is not installed.
    """
    server = QdrantServer(url, timeout_s=timeout_s)
    if not server.call(lambda client: client.collection_exists(collection)):
        raise SearchError(
            f"the server has no collection {collection!r}",
            where=server.url,
            fix="shopsight index compact INDEX   (writes the collection anew)",
        )
    found = server.call(lambda client: client.get_collection(collection)).config.params.vectors
    widths = {
        name: params.size for name, params in (found if isinstance(found, dict) else {}).items()
    }
    if widths != dict(settings.dims):
        raise SearchError(
            f"the collection {collection!r} has vectors of other widths",
            where=server.url,
            details=[f"on the server {widths}", f"in the index {dict(settings.dims)}"],
            fix="shopsight index compact INDEX   (writes the collection anew)",
        )
    return QdrantEngine(server, collection, settings)


def drop_qdrant(url: str, collection: str, *, timeout_s: int = TIMEOUT_S) -> None:
    """Remove a collection from a server; one that is not there is no error.

    Raises:
        SearchError: the server cannot be reached, is too slow, or refuses.
        ExtraMissingError: the extra `search` is not installed.
    """
    server = QdrantServer(url, timeout_s=timeout_s)
    server.call(lambda client: client.delete_collection(collection))
    server.close()


def _config(models: Any, settings: EngineSettings) -> dict[str, Any]:
    types = models.Datatype
    stored = {"f32": types.FLOAT32}.get(settings.storage, types.FLOAT16)
    if settings.storage == "turbo8":
        stored = types.TURBO8
    quantization = None
    if settings.storage == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99)
        quantization = models.ScalarQuantization(scalar=scalar)
    vectors = {
        name: models.VectorParams(size=dim, distance=models.Distance.DOT, datatype=stored)
        for name, dim in settings.dims.items()
    }
    # In kilobytes of fp32 vectors, as the server counts.
    threshold = max(1, settings.exact_below * max(settings.dims.values()) * 4 // 1024)
    return {
        "vectors_config": vectors,
        "hnsw_config": models.HnswConfigDiff(m=settings.m, ef_construct=settings.ef_construct),
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=threshold),
        "quantization_config": quantization,
        "shard_number": settings.shards,
        "replication_factor": settings.replicas,
    }


class QdrantEngine:
    """A collection on a server. See `create_qdrant` and `open_qdrant`.

    Args:
        server: that has it.
        collection: its name.
        settings: what it was made with.
    """

    def __init__(self, server: QdrantServer, collection: str, settings: EngineSettings) -> None:
        self._server = server
        self._models = server.models
        self._collection = collection
        self._settings = settings
        self._payloads = Payloads(settings.schema)
        self._conditions = ServerConditions(server.models)

    @property
    def name(self) -> str:
        """For messages and reports."""
        return f"Qdrant at {self._server.url}"

    @property
    def settings(self) -> EngineSettings:
        """What it was made with."""
        return self._settings

    def upsert(self, points: Points) -> None:
        """Put points in, in the place of those with the same ids."""
        check_points(points, self._settings)
        cells = self._payloads.of(points.ids, points.columns)
        ready = [
            self._models.PointStruct(id=point_id(item), vector=vectors, payload=payload)
            for item, vectors, payload in zip(points.ids, named_vectors(points), cells, strict=True)
        ]
        for start in range(0, len(ready), UPSERTED_AT_ONCE):
            some = ready[start : start + UPSERTED_AT_ONCE]
            self._server.call(partial(self._put, some))

    def _put(self, points: Sequence[Any], client: Any) -> None:
        client.upsert(self._collection, points, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out."""
        if ids:
            chosen = self._models.PointIdsList(points=[point_id(item) for item in ids])
            self._server.call(lambda client: client.delete(self._collection, chosen, wait=True))

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
        if limit < 1:
            return [[] for _ in vectors]
        condition = self._filter(where)
        params = self._params(exact, max(ef or self._settings.ef, limit))
        queries = as_lists(vectors.astype(np.float32))

        def fetch(rows: Sequence[int], asked: int) -> list[list[Hit]]:
            requests = [
                self._models.QueryRequest(
                    query=queries[row],
                    using=vector,
                    filter=condition,
                    params=params,
                    limit=asked,
                    with_payload=True,
                )
                for row in rows
            ]
            answers = self._server.call(
                lambda client: client.query_batch_points(self._collection, requests)
            )
            return [[self._payloads.hit(found) for found in answer.points] for answer in answers]

        return with_ties(fetch, len(queries), limit, at_once=QUERIED_AT_ONCE)

    def _filter(self, where: Filter | None) -> Any:
        if where is None:
            return None
        return self._models.Filter(must=[compiled(where, self._settings.schema, self._conditions)])

    def _params(self, exact: bool, ef: int) -> Any:
        rescored = None
        if self._settings.storage == "int8":
            rescored = self._models.QuantizationSearchParams(
                ignore=exact, rescore=True, oversampling=self._settings.oversampling
            )
        return self._models.SearchParams(hnsw_ef=ef, exact=exact, quantization=rescored)

    def scroll(self, *, batch: int = 1000) -> Iterator[Points]:
        """All points, vectors as stored."""
        offset = None
        while True:
            records, offset = self._server.call(partial(self._page, offset, batch))
            if records:
                yield self._payloads.points(records, self._settings.dims)
            if offset is None:
                return

    def _page(self, offset: Any, limit: int, client: Any) -> tuple[list[Any], Any]:
        found: tuple[list[Any], Any] = client.scroll(
            self._collection, offset=offset, limit=limit, with_payload=True, with_vectors=True
        )
        return found

    def count(self, where: Filter | None = None) -> int:
        """Number of points."""
        check_filter(where, self._settings.schema)
        chosen = self._filter(where)
        found = self._server.call(
            lambda client: client.count(self._collection, count_filter=chosen, exact=True)
        )
        return int(found.count)

    def unindexed(self) -> int:
        """Points that the server has not put into its graph yet."""
        found = self._server.call(lambda client: client.get_collection(self._collection))
        points, indexed = found.points_count or 0, found.indexed_vectors_count or 0
        return max(0, points - indexed)

    def flush(self) -> None:
        """Nothing to wait for: every write waited for the server's word."""

    def optimize(self) -> None:
        """Nothing to ask for: the server builds its graph by itself."""

    def close(self) -> None:
        """Close the connection."""
        self._server.close()
