"""zvec behind the interface of our engines, to run our contract suite on it.

    python bench/zvec_engine.py      (needs: pip install zvec)

It is the embedded rival of Qdrant Edge that is looked at again at each release; docs/benchmarks.md
has its speed. What of the contract it cannot do is listed in `ZVEC_DIFFERS`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from jaxtyping import Float32

from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorEngine, VectorName
from shopsight.vector_engines.filters import (
    And,
    ColumnKind,
    Compare,
    Filter,
    HasId,
    In,
    IsNull,
    Not,
    Or,
    Scalar,
)
from shopsight.vector_engines.payloads import POLARS_TYPES, payload_keys, stored
from shopsight.vector_engines.points import check_filter, check_points, check_queries, with_ties

WRITTEN_AT_ONCE = 1000
MOST_HITS = 1000
NO_OTHER_VALUE = "whether a list has another value than one cannot be asked"
ZVEC_DIFFERS = {
    "test_any_filter_means_the_same[zvec]": NO_OTHER_VALUE,
    "test_filters_mean_the_same[zvec-another in a list]": NO_OTHER_VALUE,
}


class ZvecEngine:
    """A collection of zvec in a folder."""

    def __init__(self, folder: Path, settings: EngineSettings) -> None:
        import zvec

        self._zvec = zvec
        self._settings = settings
        self._keys = {name: f"c{key}" for name, key in payload_keys(settings.schema).items()}
        types = zvec.DataType
        kinds: dict[ColumnKind, Any] = {
            "text": types.STRING,
            "integer": types.INT64,
            "number": types.DOUBLE,
            "boolean": types.BOOL,
            "texts": types.ARRAY_STRING,
        }
        fields = [
            zvec.FieldSchema(
                key,
                kinds[settings.schema[name]],
                nullable=True,
                index_param=zvec.InvertIndexParam(),
            )
            for name, key in self._keys.items()
        ]
        # A filter cannot ask for ids, and every point has every vector.
        fields += [
            zvec.FieldSchema("item", types.STRING, index_param=zvec.InvertIndexParam()),
            zvec.FieldSchema("has_text", types.BOOL, index_param=zvec.InvertIndexParam()),
        ]
        graph = zvec.HnswIndexParam(
            zvec.MetricType.IP, m=2 * settings.m, ef_construction=settings.ef_construct
        )
        vectors = [
            zvec.VectorSchema(name, types.VECTOR_FP32, dim, index_param=graph)
            for name, dim in settings.dims.items()
        ]
        schema = zvec.CollectionSchema("items", fields, vectors)
        self._collection = zvec.create_and_open(str(folder), schema)

    @property
    def name(self) -> str:
        return "zvec"

    @property
    def settings(self) -> EngineSettings:
        return self._settings

    def upsert(self, points: Points) -> None:
        check_points(points, self._settings)
        table = points.columns.to_dicts() or [{}] * len(points.ids)
        docs = []
        for row, item in enumerate(points.ids):
            vectors = {
                name: points.vectors[name][row].tolist() if name in points.vectors else [0.0] * dim
                for name, dim in self._settings.dims.items()
            }
            fields = {
                key: _cell(table[row].get(name), self._settings.schema[name])
                for name, key in self._keys.items()
            }
            fields |= {"item": item, "has_text": any(vectors.get("text", []))}
            docs.append(self._zvec.Doc(item, vectors=vectors, fields=fields))
        for start in range(0, len(docs), WRITTEN_AT_ONCE):
            for status in self._collection.upsert(docs[start : start + WRITTEN_AT_ONCE]):
                assert status.ok(), status.message()

    def delete(self, ids: Sequence[str]) -> None:
        if ids:
            self._collection.delete(list(ids))

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
        check_queries(vectors, self._settings, vector)
        check_filter(where, self._settings.schema)
        if limit < 1 or not self.count():
            return [[] for _ in vectors]
        condition = None if where is None else self._sql(where, negated=False)
        if vector == "text":
            condition = "has_text = true" + ("" if condition is None else f" and ({condition})")
        param = self._zvec.HnswQueryParam(ef=ef or self._settings.ef, is_linear=exact)

        def fetch(rows: Sequence[int], asked: int) -> list[list[Hit]]:
            return [
                [
                    Hit(doc.id, min(1.0, doc.score), self._columns(doc.fields or {}))
                    for doc in self._collection.query(
                        self._zvec.Query(vector, vector=vectors[row].tolist(), param=param),
                        topk=min(asked, MOST_HITS),
                        filter=condition,
                    )
                ]
                for row in rows
            ]

        return with_ties(fetch, len(vectors), limit, at_once=1)

    def _columns(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: fields.get(key) for name, key in self._keys.items()}

    def scroll(self, *, batch: int = 1000) -> Iterator[Points]:
        docs = list(self._collection.iter_docs())
        types = {name: POLARS_TYPES[kind] for name, kind in self._settings.schema.items()}
        for start in range(0, len(docs), batch):
            some = docs[start : start + batch]
            vectors = {
                name: np.array([doc.vectors[name] for doc in some], np.float32)
                for name in self._settings.dims
            }
            table = pl.DataFrame([self._columns(doc.fields or {}) for doc in some], schema=types)
            yield Points([doc.id for doc in some], vectors, table)

    def count(self, where: Filter | None = None) -> int:
        check_filter(where, self._settings.schema)
        if where is None:
            return int(self._collection.stats.doc_count)
        # It counts no filter: every point that passes is a hit of a search for anything.
        anything = [1.0] + [0.0] * (self._settings.dims["image"] - 1)
        param = self._zvec.HnswQueryParam(is_linear=True)
        found = self._collection.query(
            self._zvec.Query("image", vector=anything, param=param),
            topk=MOST_HITS,
            filter=self._sql(where, negated=False),
            output_fields=[],
        )
        return len(found)

    def unindexed(self) -> int:
        return 0

    def flush(self) -> None:
        self._collection.flush()

    def optimize(self) -> None:
        self._collection.optimize()

    def close(self) -> None:
        self._collection.close()

    def _sql(self, where: Filter, *, negated: bool) -> str:
        """A filter in zvec's language, which has no `not`: it is carried to the comparisons."""
        match where:
            case Not(part):
                return self._sql(part, negated=not negated)
            case And(parts) | Or(parts):
                if not parts:
                    return ALL if isinstance(where, And) != negated else NONE
                word = "and" if isinstance(where, And) != negated else "or"
                return f" {word} ".join(f"({self._sql(one, negated=negated)})" for one in parts)
            case IsNull(column):
                return self._null(column, negated)
            case HasId(ids):
                if not ids:
                    return ALL if negated else NONE
                among = ", ".join(_literal(item) for item in sorted(ids))
                return f"item {'not in' if negated else 'in'} ({among})"
            case In() | Compare():
                said = self._compared(where, negated)
                return f"({said}) or {self._null(where.column, False)}" if negated else said

    def _null(self, column: str, negated: bool) -> str:
        key = self._keys[column]
        return f"{key} is not null" if negated else f"{key} is null"

    def _compared(self, where: In | Compare, negated: bool) -> str:
        key, kind = self._keys[where.column], self._settings.schema[where.column]
        values = where.values if isinstance(where, In) else (where.value,)
        op = "==" if isinstance(where, In) else where.op
        if not values:
            return ALL if negated else NONE
        if kind == "texts":
            among = ", ".join(map(_literal, values))
            is_in = (op == "==") != negated
            return f"{key} {'contain_any' if is_in else 'not contain_any'} ({among})"
        words = {"==": ("=", "!="), "!=": ("!=", "="), "<": ("<", ">="), ">=": (">=", "<")}
        words |= {">": (">", "<="), "<=": ("<=", ">")}
        joined = " and " if negated else " or "
        cells = [stored(value, kind) if kind == "number" else value for value in values]
        return joined.join(f"{key} {words[op][negated]} {_literal(cell)}" for cell in cells)


ALL, NONE = "item is not null", "item is null"


def _cell(cell: Any, kind: ColumnKind) -> Any:
    return cell if kind == "boolean" else stored(cell, kind)


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return repr(value)


@contextmanager
def zvec_engines(folder: Path) -> Iterator[Any]:
    def make(settings: EngineSettings) -> VectorEngine:
        return ZvecEngine(folder / f"engine-{len(list(folder.iterdir()))}", settings)

    yield make


def main() -> None:
    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root))
    from tests.vector_engines.engines import DIFFERS, ENGINES

    ENGINES["zvec"], DIFFERS["zvec"] = zvec_engines, ZVEC_DIFFERS
    suite = root / "tests" / "vector_engines" / "test_contract.py"
    # What is imported here already is not rewritten by pytest, which it would count as an error.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    sys.exit(
        pytest.main([str(suite), "-k", "zvec", "-q", "--tb=line", f"--rootdir={root}", *quiet])
    )


if __name__ == "__main__":
    main()
