"""The reference: exact search in memory, and what a filter means, in a few plain lines.

Other engines are tested against it. It is also what `verify` compares a graph's answers with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorName
from shopsight.vector_engines.filters import (
    And,
    Compare,
    Filter,
    HasId,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Scalar,
)
from shopsight.vector_engines.payloads import POLARS_TYPES, exact_number, stored
from shopsight.vector_engines.points import (
    check_filter,
    check_points,
    check_queries,
)


class NumpyEngine:
    """A collection of points in memory; nothing of it is kept on disk.

    Args:
        settings: storage and graph settings change nothing here.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._rows: dict[str, int] = {}
        self._vectors: dict[VectorName, list[Float32[np.ndarray, "d"]]] = {
            name: [] for name in settings.dims
        }
        self._cells: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """For messages and reports."""
        return "numpy, exact"

    @property
    def settings(self) -> EngineSettings:
        """What it was made with."""
        return self._settings

    def upsert(self, points: Points) -> None:
        """Put points in, in the place of those with the same ids."""
        check_points(points, self._settings)
        cells = points.columns.to_dicts() if points.columns.width else [{}] * len(points.ids)
        for number, item in enumerate(points.ids):
            row = self._rows.setdefault(item, len(self._cells))
            if row == len(self._cells):
                self._cells.append({})
                for name, dim in self._settings.dims.items():
                    self._vectors[name].append(np.zeros(dim, np.float32))
            self._cells[row] = {
                name: stored(cells[number].get(name), kind)
                for name, kind in self._settings.schema.items()
            }
            for name in self._settings.dims:
                given = points.vectors.get(name)
                zeros = np.zeros(self._settings.dims[name], np.float32)
                self._vectors[name][row] = zeros if given is None else given[number].copy()

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out."""
        gone = {self._rows.pop(item) for item in ids if item in self._rows}
        if not gone:
            return
        kept = sorted(self._rows.items(), key=lambda pair: pair[1])
        self._cells = [self._cells[row] for _, row in kept]
        for name in self._vectors:
            self._vectors[name] = [self._vectors[name][row] for _, row in kept]
        self._rows = {item: number for number, (item, _) in enumerate(kept)}

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
        """The nearest points of each query, best first; always exact."""
        check_queries(vectors, self._settings, vector)
        ids = np.array(list(self._rows), dtype=object)
        if not len(ids):
            return [[] for _ in vectors]
        points = np.stack(self._vectors[vector])
        usable = points.any(axis=1) & self._passes(where)
        found = []
        for scores in vectors.astype(np.float32) @ points.T:
            rows = np.flatnonzero(usable)
            order = sorted(rows.tolist(), key=lambda row: (-scores[row], ids[row]))
            found.append([self._hit(ids[row], float(scores[row])) for row in order[:limit]])
        return found

    def _hit(self, item: str, score: float) -> Hit:
        return Hit(item, score, self._shown(self._rows[item]))

    def _shown(self, row: int) -> dict[str, Any]:
        schema = self._settings.schema
        return {
            name: cell == "true" if schema[name] == "boolean" and cell is not None else cell
            for name, cell in self._cells[row].items()
        }

    def scroll(self, *, batch: int = 1000) -> Iterator[Points]:
        """All points."""
        ids = list(self._rows)
        types = {name: POLARS_TYPES[kind] for name, kind in self._settings.schema.items()}
        for start in range(0, len(ids), batch):
            some = range(start, min(start + batch, len(ids)))
            table = pl.DataFrame([self._shown(row) for row in some], schema=types)
            vectors = {
                name: np.stack([rows[row] for row in some]) for name, rows in self._vectors.items()
            }
            yield Points(ids[start : start + batch], vectors, table)

    def count(self, where: Filter | None = None) -> int:
        """Number of points."""
        return int(self._passes(where).sum())

    def unindexed(self) -> int:
        """None: there is no graph to be in."""
        return 0

    def flush(self) -> None:
        """Nothing is kept on disk."""

    def optimize(self) -> None:
        """Nothing to build."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _passes(self, where: Filter | None) -> Bool[np.ndarray, "n"]:
        check_filter(where, self._settings.schema)
        if where is None:
            return np.ones(len(self._cells), bool)
        ids = list(self._rows)
        return np.array(
            [passes(where, item, cells) for item, cells in zip(ids, self._cells, strict=True)], bool
        )


def passes(where: Filter, item: str, cells: dict[str, Any]) -> bool:
    """Whether a filter lets an item pass: what a filter means, see `filters`."""
    match where:
        case Compare(column, op, value):
            return any(_holds(cell, op, _word(value)) for cell in _values(cells.get(column)))
        case In(column, values):
            wanted = {_word(value) for value in values}
            return any(cell in wanted for cell in _values(cells.get(column)))
        case IsNull(column):
            return cells.get(column) is None
        case HasId(ids):
            return item in ids
        case And(parts):
            return all(passes(part, item, cells) for part in parts)
        case Or(parts):
            return any(passes(part, item, cells) for part in parts)
        case Not(part):
            return not passes(part, item, cells)


def _values(cell: Any) -> list[Any]:
    if cell is None:
        return []
    return cell if isinstance(cell, list) else [cell]


def _word(value: Scalar) -> Scalar:
    """A value as the cells that it is compared with are stored."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return exact_number(value) if isinstance(value, float) else value


def _holds(cell: Any, op: Operator, value: Scalar) -> bool:
    match op:
        case "==":
            return bool(cell == value)
        case "!=":
            return bool(cell != value)
        case "<":
            return bool(cell < value)
        case "<=":
            return bool(cell <= value)
        case ">":
            return bool(cell > value)
        case ">=":
            return bool(cell >= value)
