"""A Qdrant server or cluster by its address: the engine of an index that many processes search.

It has the same filters, scores and storage as the engine in process, so an index answers alike on
both. One collection is one generation of one index. Only the address that the user named is
contacted. A key is read from the environment alone and written nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from jaxtyping import Float32

from shopsight.address_secrets import masked
from shopsight.errors import SearchError, first_line
from shopsight.extras import require
from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorName
from shopsight.vector_engines.filters import Filter
from shopsight.vector_engines.points import (
    ID_KEY,
    as_lists,
    check_filter,
    check_points,
    check_queries,
    columns_from,
    payloads,
    point_id,
    table_of,
    with_ties,
)
from shopsight.vector_engines.qdrant_filters import compiled

KEY_VARIABLE = "SHOPSIGHT_QDRANT_KEY"
TIMEOUT_S = 60
UPSERTED_AT_ONCE = 500
QUERIED_AT_ONCE = 100

Got = TypeVar("Got")


def create_qdrant(url: str, collection: str, settings: EngineSettings) -> QdrantEngine:
    """Make a collection on a server, in the place of one of the same name.

    Raises:
        SearchError: the server cannot be reached, is too slow, or refuses.
        ExtraMissingError: the extra `search` is not installed.
    """
    client = _client(url)
    models = require("qdrant_client.models")
    engine = QdrantEngine(client, models, url, collection, settings)
    engine.call(partial(client.delete_collection, collection))
    engine.call(partial(client.create_collection, collection, **_config(models, settings)))
    for name, kind in settings.schema.items():
        schema = {"integer": "integer", "number": "float"}.get(kind, "keyword")
        engine.call(
            partial(client.create_payload_index, collection, name, field_schema=schema, wait=True)
        )
    return engine


def open_qdrant(url: str, collection: str, settings: EngineSettings) -> QdrantEngine:
    """Open a collection that is on a server.

    Raises:
        SearchError: the server cannot be reached, or has no such collection, or one whose vectors
            are of another width.
        ExtraMissingError: the extra `search` is not installed.
    """
    client = _client(url)
    engine = QdrantEngine(client, require("qdrant_client.models"), url, collection, settings)
    if not engine.call(partial(client.collection_exists, collection)):
        raise SearchError(f"the server has no collection {collection!r}", where=masked(url))
    found = engine.call(partial(client.get_collection, collection)).config.params.vectors
    widths = {name: params.size for name, params in dict(found).items()}
    if widths != dict(settings.dims):
        raise SearchError(
            f"the collection {collection!r} has vectors of other widths",
            where=masked(url),
            details=[f"on the server {widths}", f"in the index {dict(settings.dims)}"],
            fix="shopsight index compact INDEX   (writes the collection anew)",
        )
    return engine


def plain_url(url: str) -> str:
    """An address without a name and password, which are not kept.

    Raises:
        SearchError: it is not of the form http://host:6333, or holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SearchError(
            f"{masked(url)!r} is not an address of a server",
            where="--url",
            fix="--url http://host:6333",
        )
    if parts.username or parts.password or parts.query:
        raise SearchError(
            "an address with a password in it would be written into the index",
            where="--url",
            fix=f"set {KEY_VARIABLE} to the server's key, and leave it out of the address",
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _client(url: str) -> Any:
    library = require("qdrant_client")
    parts = urlsplit(plain_url(url))
    port = parts.port or (443 if parts.scheme == "https" else 6333)
    return library.QdrantClient(
        url=f"{parts.scheme}://{parts.hostname}",
        port=port,
        prefix=parts.path.strip("/") or None,
        api_key=os.environ.get(KEY_VARIABLE),
        timeout=TIMEOUT_S,
        check_compatibility=False,
    )


def _config(models: Any, settings: EngineSettings) -> dict[str, Any]:
    stored = models.Datatype.FLOAT32 if settings.storage == "f32" else models.Datatype.FLOAT16
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
    }


class QdrantEngine:
    """A collection on a server. See `create_qdrant` and `open_qdrant`.

    Args:
        client: of the library `qdrant-client`.
        models: the library's module of requests.
        url: of the server, for messages.
        collection: its name.
        settings: what it was made with.
    """

    def __init__(
        self, client: Any, models: Any, url: str, collection: str, settings: EngineSettings
    ) -> None:
        self._client = client
        self._models = models
        self._url = url
        self._collection = collection
        self._settings = settings
        self._conditions = _ServerConditions(models)

    @property
    def name(self) -> str:
        """For messages and reports."""
        return f"Qdrant at {masked(self._url)}"

    @property
    def settings(self) -> EngineSettings:
        """What it was made with."""
        return self._settings

    def call(self, request: Callable[[], Got]) -> Got:
        """Do a request.

        Raises:
            SearchError: the server cannot be reached, is too slow, or refuses.
        """
        try:
            return request()
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        except Exception as error:
            library = type(error).__module__.partition(".")[0]
            if library not in ("qdrant_client", "httpx", "httpcore", "grpc", "pydantic"):
                raise
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> SearchError:
        said = masked(first_line(error)) or type(error).__name__
        return SearchError(
            f"the server does not do what it is asked: {said}",
            where=masked(self._url),
            fix="see that a Qdrant server answers there, and run the same command again: nothing "
            f"is lost\nset {KEY_VARIABLE}, if it asks for a key",
        )

    def upsert(self, points: Points) -> None:
        """Put points in, in the place of those with the same ids."""
        check_points(points, self._settings)
        cells = payloads(points, self._settings.schema)
        lists = {name: as_lists(vectors) for name, vectors in points.vectors.items()}
        given = {name: np.any(vectors, axis=1) for name, vectors in points.vectors.items()}
        ready = [
            self._models.PointStruct(
                id=point_id(item),
                vector={name: rows[row] for name, rows in lists.items() if given[name][row]},
                payload=cells[row],
            )
            for row, item in enumerate(points.ids)
        ]
        for start in range(0, len(ready), UPSERTED_AT_ONCE):
            some = ready[start : start + UPSERTED_AT_ONCE]
            self.call(partial(self._client.upsert, self._collection, some, wait=True))

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out."""
        if ids:
            chosen = self._models.PointIdsList(points=[point_id(item) for item in ids])
            self.call(partial(self._client.delete, self._collection, chosen, wait=True))

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
        most = self.count()
        if not most or limit < 1:
            return [[] for _ in vectors]
        condition = self._filter(where)
        params = self._params(exact, max(ef or self._settings.ef, limit))

        def fetch(query: list[float], asked: int) -> list[Hit]:
            request = partial(
                self._client.query_points,
                self._collection,
                query=query,
                using=vector,
                query_filter=condition,
                search_params=params,
                limit=asked,
                with_payload=True,
            )
            return [self._hit(found) for found in self.call(request).points]

        queries = as_lists(vectors.astype(np.float32))
        return [with_ties(partial(fetch, query), limit, most=most) for query in queries]

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

    def _hit(self, found: Any) -> Hit:
        payload = found.payload or {}
        score = min(1.0, float(found.score))
        return Hit(str(payload[ID_KEY]), score, columns_from(payload, self._settings.schema))

    def scroll(self, *, batch: int = 1000) -> Iterator[Points]:
        """All points, vectors as stored."""
        offset = None
        while True:
            request = partial(
                self._client.scroll,
                self._collection,
                offset=offset,
                limit=batch,
                with_payload=True,
                with_vectors=True,
            )
            records, offset = self.call(request)
            if records:
                yield self._points_of(records)
            if offset is None:
                return

    def _points_of(self, records: Sequence[Any]) -> Points:
        found = [record.payload or {} for record in records]
        vectors: dict[VectorName, Float32[np.ndarray, "n d"]] = {}
        for name, dim in self._settings.dims.items():
            zeros = [0.0] * dim
            rows = [(record.vector or {}).get(name, zeros) for record in records]
            vectors[name] = np.array(rows, np.float32)
        ids = [str(payload[ID_KEY]) for payload in found]
        return Points(ids, vectors, table_of(found, self._settings.schema))

    def count(self, where: Filter | None = None) -> int:
        """Number of points."""
        check_filter(where, self._settings.schema)
        request = partial(
            self._client.count, self._collection, count_filter=self._filter(where), exact=True
        )
        return int(self.call(request).count)

    def unindexed(self) -> int:
        """Points that the server has not put into its graph yet."""
        found = self.call(partial(self._client.get_collection, self._collection))
        points, indexed = found.points_count or 0, found.indexed_vectors_count or 0
        return max(0, points - indexed)

    def flush(self) -> None:
        """Nothing to wait for: every write waited for the server's word."""

    def optimize(self) -> None:
        """Nothing to ask for: the server builds its graph by itself."""

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class _ServerConditions:
    """Conditions as a server takes them."""

    def __init__(self, models: Any) -> None:
        self._models = models

    def all_of(self, conditions: list[Any]) -> Any:
        return self._models.Filter(must=conditions)

    def any_of(self, conditions: list[Any]) -> Any:
        return self._models.Filter(should=conditions)

    def none_of(self, conditions: list[Any]) -> Any:
        return self._models.Filter(must_not=conditions)

    def one_of(self, column: str, values: list[Any]) -> Any:
        return self._models.FieldCondition(key=column, match=self._models.MatchAny(any=values))

    def other_than(self, column: str, values: list[Any]) -> Any:
        match = self._models.MatchExcept(**{"except": values})
        return self._models.FieldCondition(key=column, match=match)

    def between(self, column: str, **ends: float) -> Any:
        return self._models.FieldCondition(key=column, range=self._models.Range(**ends))

    def missing(self, column: str) -> Any:
        return self._models.IsEmptyCondition(is_empty=self._models.PayloadField(key=column))

    def has_id(self, ids: list[Any]) -> Any:
        return self._models.HasIdCondition(has_id=[str(one) for one in ids])
