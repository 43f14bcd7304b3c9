"""The engines that the contract is tested on, and points to put into them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from jaxtyping import Float32

from shopsight.unit_vectors import unit_vectors
from shopsight.vector_engines.engine import EngineSettings, Points, VectorEngine
from shopsight.vector_engines.filters import Schema
from shopsight.vector_engines.numpy_engine import NumpyEngine
from shopsight.vector_engines.payloads import POLARS_TYPES
from tests.vector_engines.qdrant_stub import qdrant_stub

Make = Callable[[EngineSettings], VectorEngine]
SCHEMA: Schema = {
    "price": "number",
    "stock": "integer",
    "label": "text",
    "sale": "boolean",
    "tags": "texts",
}
SETTINGS = EngineSettings({"image": 16, "text": 8}, SCHEMA, storage="f32", exact_below=100)


def some_points(count: int, *, seed: int = 0, start: int = 0) -> Points:
    """Points with cells of every kind, some of them missing, and a text for two of three."""
    rng = np.random.default_rng(seed)
    numbers = range(start, start + count)
    text = unit(rng, count, 8)
    text[::3] = 0
    columns = {
        "price": [None if n % 7 == 0 else n / 3 for n in numbers],
        "stock": list(numbers),
        "label": [["Schuhe", "Hüte", None, ""][n % 4] for n in numbers],
        "sale": [[True, False, None][n % 3] for n in numbers],
        "tags": [[["rot", "blau"], [], None, ["rot"], ["blau", "grün"]][n % 5] for n in numbers],
    }
    types = {name: POLARS_TYPES[kind] for name, kind in SCHEMA.items()}
    ids = [f"photos/é {n}.jpg" for n in numbers]
    return Points(ids, {"image": unit(rng, count, 16), "text": text}, pl.DataFrame(columns, types))


def unit(rng: np.random.Generator, count: int, dim: int) -> Float32[np.ndarray, "n d"]:
    return unit_vectors(rng.normal(size=(count, dim)))


@contextmanager
def numpy_engines(folder: Path) -> Iterator[Make]:
    """The plain reference."""
    yield NumpyEngine


@contextmanager
def edge_engines(folder: Path) -> Iterator[Make]:
    """Qdrant Edge, each engine in a new folder below `folder`."""
    pytest.importorskip("qdrant_edge")
    from shopsight.vector_engines.edge_engine import create_edge

    def make(settings: EngineSettings) -> VectorEngine:
        place = folder / f"engine-{len(list(folder.iterdir()))}"
        place.mkdir()
        return create_edge(place, settings)

    yield make


@contextmanager
def stub_engines(folder: Path) -> Iterator[Make]:
    """A server's engine against a server of ours that answers the same calls."""
    pytest.importorskip("qdrant_client")
    from shopsight.vector_engines.qdrant_engine import create_qdrant

    with qdrant_stub() as stub:
        numbers = count()
        yield lambda settings: create_qdrant(stub.url, f"test-{next(numbers)}", settings)


@contextmanager
def local_engines(folder: Path) -> Iterator[Make]:
    """A server's engine against the local mode of its client: see `DIFFERS`."""
    pytest.importorskip("qdrant_client")
    from shopsight.vector_engines.qdrant_engine import QdrantEngine, make_collection

    def make(settings: EngineSettings) -> VectorEngine:
        server: Any = LocalServer()
        make_collection(server, "test", settings)
        return QdrantEngine(server, "test", settings)

    yield make


@contextmanager
def server_engines(folder: Path) -> Iterator[Make]:
    """A real server, where `SHOPSIGHT_QDRANT_URL` names one; its collections are removed again."""
    url = os.environ[URL_VARIABLE]
    from shopsight.vector_engines.qdrant_engine import create_qdrant, drop_qdrant

    made = list[str]()

    def make(settings: EngineSettings) -> VectorEngine:
        made.append(f"shopsight-test-{uuid4().hex}")
        return create_qdrant(url, made[-1], settings)

    yield make
    for collection in made:
        drop_qdrant(url, collection)


class LocalServer:
    """`QdrantServer` for the client's local mode, which keeps points in this process."""

    url = "memory"

    def __init__(self) -> None:
        library = pytest.importorskip("qdrant_client")
        self.models = pytest.importorskip("qdrant_client.models")
        self.client = library.QdrantClient(":memory:")

    def call(self, request: Callable[[Any], Any]) -> Any:
        with warnings.catch_warnings():
            # It says that payload indexes and search parameters have no effect.
            warnings.simplefilter("ignore", UserWarning)
            return request(self.client)

    def close(self) -> None:
        self.client.close()


URL_VARIABLE = "SHOPSIGHT_QDRANT_URL"
Open = Callable[[Path], AbstractContextManager[Make]]
ENGINES: dict[str, Open] = {
    "numpy": numpy_engines,
    "edge": edge_engines,
    "stub": stub_engines,
    "local": local_engines,
}
if URL_VARIABLE in os.environ:
    ENGINES["server"] = server_engines
DIFFERS = {
    "local": {
        "test_a_graph_finds_what_exact_search_finds[local]": "it builds no graph: all is exact",
    }
}
"""Tests of the contract that an engine does not pass, and why."""
