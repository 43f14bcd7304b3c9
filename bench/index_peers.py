"""Libraries of nearest neighbors behind one narrow interface, for `bench_index.py`.

Each is given as many of its own means as a query needs and no more: rows in, rows out. Only ours
(`Ours`) goes through what a user of shopsight goes through: string ids, payloads, equal scores in
the order of ids.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from shopsight.vector_engines.engine import EngineSettings, Points, Storage, VectorEngine
from shopsight.vector_engines.filters import Compare
from shopsight.vector_engines.points import item_uuid

Vectors = Float32[np.ndarray, "n d"]
M, EF_CONSTRUCT, THREADS = 16, 128, 2


class Peer(Protocol):
    """A library with an index of vectors; rows are its ids, and `bucket` is its one column.

    A search keeps to the buckets below `below`; buckets are 0 to 999.
    """

    name: str

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None: ...

    def add(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None: ...

    def delete(self, rows: Sequence[int]) -> None: ...

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]: ...

    def save(self, folder: Path) -> None: ...


class Ours:
    """shopsight's engine in process."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._folder, self._storage = folder, storage
        self.name = f"shopsight (Qdrant Edge {version('qdrant-edge-py')}), {storage}"
        self._engine: VectorEngine

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        from shopsight.vector_engines.edge_engine import create_edge

        settings = EngineSettings(
            {"image": vectors.shape[1]},
            {"bucket": "integer"},
            storage=self._storage,
            exact_below=0,
            m=M,
            ef_construct=EF_CONSTRUCT,
        )
        self._engine = create_edge(self._folder, settings)
        for start in range(0, len(vectors), 10_000):
            some = slice(start, start + 10_000)
            rows = range(start, start + len(vectors[some]))
            self._put(rows, vectors[some], buckets[some])
        self._engine.optimize()

    def add(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._put(rows, vectors, buckets)
        self._engine.flush()

    def _put(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        columns = pl.DataFrame({"bucket": buckets})
        self._engine.upsert(Points([str(row) for row in rows], {"image": vectors}, columns))

    def delete(self, rows: Sequence[int]) -> None:
        self._engine.delete([str(row) for row in rows])
        self._engine.flush()

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]:
        where = None if below is None else Compare("bucket", "<", below)
        (hits,) = self._engine.query(vector[None], limit=limit, ef=ef, where=where)
        return [int(hit.id) for hit in hits]

    def save(self, folder: Path) -> None:
        self._engine.close()

    @classmethod
    def opened(cls, folder: Path) -> VectorEngine:
        """The engine of a folder that was saved, as a process that only searches opens it."""
        from shopsight.vector_engines.edge_engine import open_edge

        return open_edge(folder)


class EdgeAlone(Ours):
    """The same collection, asked for rows alone like the other libraries: no cells, no ties."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        super().__init__(folder, storage)
        self.name = f"Qdrant Edge {version('qdrant-edge-py')} alone, {storage}"

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        super().build(vectors, buckets)
        # Also those that are added later.
        self._rows = {item_uuid(str(row)): row for row in range(len(vectors) + 10_000)}

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]:
        import qdrant_edge as edge

        where = None
        if below is not None:
            bucket = edge.FieldCondition(key="bucket", range=edge.RangeFloat(lt=below))
            where = edge.Filter(must=[bucket])
        rescored = None
        if self._storage == "int8":
            rescored = edge.QuantizationSearchParams(
                rescore=True, oversampling=self._engine.settings.oversampling
            )
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector.tolist(), using="image"),
            filter=where,
            params=edge.SearchParams(hnsw_ef=ef, quantization=rescored),
        )
        found = self._engine._shard.query(request)  # type: ignore[attr-defined]
        return [self._rows[point.id] for point in found]


class Hnswlib:
    """Vectors and a graph in memory; a filter is a Python function of each candidate."""

    def __init__(self) -> None:
        import hnswlib

        self._library = hnswlib
        self.name = f"hnswlib {version('hnswlib')}, f32"

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._buckets = np.full(len(vectors) + 10_000, 10_000)
        self._index = self._library.Index("ip", vectors.shape[1])
        self._index.init_index(
            len(vectors) + 10_000, M=M, ef_construction=EF_CONSTRUCT, random_seed=1
        )
        self._index.set_num_threads(THREADS)
        self.add(range(len(vectors)), vectors, buckets)

    def add(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._buckets[rows.start : rows.stop] = buckets
        self._index.add_items(vectors, np.arange(rows.start, rows.stop))

    def delete(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._index.mark_deleted(row)

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]:
        self._index.set_ef(max(ef, limit))
        if below is None:
            return self._index.knn_query(vector, limit, num_threads=1)[0][0].tolist()
        buckets = self._buckets
        try:
            found, _ = self._index.knn_query(
                vector, limit, num_threads=1, filter=lambda row: buckets[row] < below
            )
        except RuntimeError:  # Fewer than `limit` were met.
            return []
        return found[0].tolist()

    def save(self, folder: Path) -> None:
        self._index.save_index(str(folder / "index.bin"))


class Usearch:
    """Vectors and a graph in memory; no filter from Python."""

    def __init__(self, dtype: str) -> None:
        from usearch.index import Index

        self._make, self._dtype = Index, dtype
        self.name = f"usearch {version('usearch')}, {dtype}"

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._index = self._make(
            ndim=vectors.shape[1],
            metric="cos" if self._dtype == "i8" else "ip",
            dtype=self._dtype,
            connectivity=M,
            expansion_add=EF_CONSTRUCT,
        )
        self.add(range(len(vectors)), vectors, buckets)

    def add(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._index.add(np.arange(rows.start, rows.stop), vectors, threads=THREADS)

    def delete(self, rows: Sequence[int]) -> None:
        self._index.remove(np.asarray(rows))

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]:
        if below is not None:
            raise NotImplementedError
        self._index.expansion_search = ef
        return self._index.search(vector, limit, threads=1).keys.tolist()

    def save(self, folder: Path) -> None:
        self._index.save(str(folder / "index.usearch"))


class Faiss:
    """HNSW over flat vectors; deleted rows are left out by a selector, as it cannot remove them."""

    def __init__(self) -> None:
        import faiss

        self._library = faiss
        self.name = f"faiss {faiss.__version__}, HNSW flat, f32"

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._library.omp_set_num_threads(THREADS)
        inner = self._library.METRIC_INNER_PRODUCT
        self._index = self._library.IndexHNSWFlat(vectors.shape[1], M, inner)
        self._index.hnsw.efConstruction = EF_CONSTRUCT
        self._buckets = np.zeros(0, np.int64)
        self._live = np.zeros(0, bool)
        self._selectors = dict[int | None, Any]()
        self.add(range(len(vectors)), vectors, buckets)

    def add(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        self._index.add(vectors)
        self._buckets = np.concatenate([self._buckets, buckets])
        self._live = np.concatenate([self._live, np.ones(len(rows), bool)])
        self._selectors.clear()

    def delete(self, rows: Sequence[int]) -> None:
        self._live[rows] = False
        self._selectors.clear()

    def _selector(self, below: int | None) -> Any:
        if below not in self._selectors:
            usable = self._live & (self._buckets < (1000 if below is None else below))
            bits = np.packbits(usable, bitorder="little")
            # The selector keeps no reference to its bits.
            self._selectors[below] = (self._library.IDSelectorBitmap(bits), bits)
        return self._selectors[below][0]

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]:
        self._library.omp_set_num_threads(1)
        is_free = below is None and bool(self._live.all())
        params = self._library.SearchParametersHNSW(
            efSearch=ef, sel=None if is_free else self._selector(below)
        )
        return self._index.search(vector[None], limit, params=params)[1][0].tolist()

    def save(self, folder: Path) -> None:
        self._library.write_index(self._index, str(folder / "index.faiss"))


class Zvec:
    """Alibaba's engine in process; columns and filters of its own."""

    def __init__(self, folder: Path, quantized: bool) -> None:
        import zvec

        self._library, self._folder, self._quantized = zvec, folder, quantized
        self.name = f"zvec {version('zvec')}, {'int8' if quantized else 'f32'}"

    def build(self, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        library = self._library
        kind = library.QuantizeType
        graph = library.HnswIndexParam(
            library.MetricType.IP,
            m=M * 2,  # Counts the edges of the lowest layer, which others call 2 m.
            ef_construction=EF_CONSTRUCT,
            quantize_type=kind.INT8 if self._quantized else kind.UNDEFINED,
        )
        schema = library.CollectionSchema(
            "bench",
            library.FieldSchema(
                "bucket", library.DataType.INT64, index_param=library.InvertIndexParam()
            ),
            library.VectorSchema(
                "image", library.DataType.VECTOR_FP32, vectors.shape[1], index_param=graph
            ),
        )
        self._collection = library.create_and_open(str(self._folder / "zvec"), schema)
        self.add(range(len(vectors)), vectors, buckets)
        self._collection.optimize()

    def add(self, rows: range, vectors: Vectors, buckets: Int64[np.ndarray, "n"]) -> None:
        for start in range(0, len(rows), 1000):
            docs = [
                self._library.Doc(
                    str(rows[at]), vectors={"image": vectors[at]}, fields={"bucket": int(bucket)}
                )
                for at, bucket in enumerate(buckets[start : start + 1000], start)
            ]
            self._collection.upsert(docs)
        self._collection.flush()

    def delete(self, rows: Sequence[int]) -> None:
        for start in range(0, len(rows), 1000):
            self._collection.delete([str(row) for row in rows[start : start + 1000]])
        self._collection.flush()

    def query(
        self, vector: Float32[np.ndarray, "d"], *, limit: int, ef: int, below: int | None
    ) -> Sequence[int]:
        query = self._library.Query(
            "image",
            vector=vector.tolist(),
            param=self._library.HnswQueryParam(ef=ef, is_using_refiner=self._quantized),
        )
        found = self._collection.query(
            query,
            topk=limit,
            filter=None if below is None else f"bucket < {below}",
            output_fields=[],
        )
        return [int(doc.id) for doc in found]

    def save(self, folder: Path) -> None:
        self._collection.flush()


def open_peer(name: str, folder: Path) -> Peer:
    """A peer by the name that the command line gives it.

    Raises:
        ImportError: its library is not installed.
    """
    match name.split("-"):
        case ["ours", "f32" | "f16" | "int8" | "turbo8" as storage]:
            return Ours(folder, storage)
        case ["edge", "f32" | "f16" | "int8" | "turbo8" as storage]:
            return EdgeAlone(folder, storage)
        case ["hnswlib"]:
            return Hnswlib()
        case ["usearch", "f32" | "f16" | "i8" as dtype]:
            return Usearch(dtype)
        case ["faiss"]:
            return Faiss()
        case ["zvec", "f32" | "int8" as storage]:
            return Zvec(folder, storage == "int8")
    raise ValueError(name)


PEERS = (
    "ours-f32",
    "ours-f16",
    "ours-int8",
    "ours-turbo8",
    "edge-int8",
    "edge-turbo8",
    "hnswlib",
    "usearch-f32",
    "usearch-f16",
    "usearch-i8",
    "faiss",
    "zvec-f32",
    "zvec-int8",
)


def blocks_on_disk(folder: Path) -> int:
    """Bytes that the files of a folder take: a sparse file takes fewer than it is long."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    if os.name == "nt":
        return sum(stat.st_size for stat in stats)
    return sum(stat.st_blocks * 512 for stat in stats)
