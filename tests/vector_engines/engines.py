"""The engines that the contract is tested on, and points to put into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from jaxtyping import Float32

from shopsight.unit_vectors import unit_vectors
from shopsight.vector_engines.engine import EngineSettings, Points, VectorEngine
from shopsight.vector_engines.filters import Schema
from shopsight.vector_engines.numpy_engine import NumpyEngine
from shopsight.vector_engines.points import POLARS_TYPES

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


def edge_in(folder: Path) -> Make:
    """Make engines of Qdrant Edge in new folders below `folder`."""
    pytest.importorskip("qdrant_edge")
    from shopsight.vector_engines.edge_engine import create_edge

    def make(settings: EngineSettings) -> VectorEngine:
        place = folder / f"engine-{len(list(folder.iterdir()))}"
        place.mkdir()
        return create_edge(place, settings)

    return make


def numpy_in(folder: Path) -> Make:
    return NumpyEngine


ENGINES: dict[str, Callable[[Path], Make]] = {"numpy": numpy_in, "edge": edge_in}
