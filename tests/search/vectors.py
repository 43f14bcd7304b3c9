"""An embedder of seeded vectors, and generations of random items, for tests of what lasts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.errors import EmbeddingError
from shopsight.inference.embedder import ClassDirections
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.image_runner import OnError
from shopsight.inference.image_stream import ImageInputs, open_images
from shopsight.inference.predictor import Embedding
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from shopsight.search.change_log import ITEM_COLUMNS, Items
from shopsight.search.generation import GenerationInfo, write_info
from shopsight.search.index_folder import IndexFolder
from shopsight.unit_vectors import unit_vectors

DIM = 16


def space(name: str = "a") -> EmbeddingSpace:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return EmbeddingSpace(
        backbone=f"timm:{name}", backbone_sha256=digest, preprocess=Preprocess(), embedding_dim=DIM
    )


class SeededEmbedder:
    """Each file's vector is drawn from the hash of its bytes: fast, and equal for equal files."""

    def __init__(self, name: str = "a", *, boxes: bool = False) -> None:
        self.name = name
        self.space = space(name)
        self.embeds_into: tuple[EmbedsInto, ...] = ()
        self.logit_scale: float | None = None
        self.preprocess = Preprocess(boxes=boxes)
        self.precision: EnginePrecision = "32"
        self.engine_name = "seeded"
        self.seen: list[str] = []

    def embed(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        for one in open_images(images, read):
            self.seen.append(one.source)
            try:
                data = Path(str(one.image)).read_bytes()
            except OSError as error:
                yield Embedding(one.source, None, error=str(error))
                continue
            yield Embedding(one.source, drawn(self.name.encode() + data))

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        raise EmbeddingError("no text encoder")

    def class_directions(self) -> ClassDirections | None:
        return None


def drawn(seed: bytes) -> Float32[np.ndarray, "d"]:
    """A unit vector that the bytes decide."""
    rng = np.random.default_rng(list(hashlib.sha256(seed).digest()[:8]))
    vector: Float32[np.ndarray, "d"] = unit_vectors(rng.normal(size=(1, DIM)))[0]
    return vector


def random_items(numbers: Sequence[int], *, version: int = 0, secret: str = "") -> Items:
    """Items with vectors and cells that their number and version decide."""
    ids = [f"item-{number:05d}" for number in numbers]
    table = pl.DataFrame(
        {
            "id": ids,
            "product": [f"P-{number // 3}" for number in numbers],
            "source": ["/photos"] * len(ids),
            "image": [f"{one}.jpg" for one in ids],
            "sha256": [f"{number:032x}{version:032x}" for number in numbers],
            "row_hash": ["0"] * len(ids),
            **{name: [None] * len(ids) for name in ("box_x", "box_y", "box_w", "box_h")},
            "version": [version] * len(ids),
            "note": [f"{secret}{number}" for number in numbers],
        },
        schema=ITEM_COLUMNS | {"version": pl.Int64(), "note": pl.String()},
    )
    vectors = np.stack([drawn(f"{number} {version}".encode()) for number in numbers])
    return Items(table, vectors)


def empty_index(folder: Path, *, exact_below: int = 50_000) -> IndexFolder:
    """An index without items, as random items need it."""
    index = IndexFolder(folder)
    index.create(url=None)
    info = GenerationInfo(
        model="a",
        space=space(),
        schema={"version": "integer", "note": "text"},
        exact_below=exact_below,
    )
    index.place(1).mkdir(parents=True)
    write_info(index.place(1), info)
    index.set_current(1)
    return index


def assert_holds(index_path: Path, expected: dict[int, int]) -> None:
    """The index finds exactly these items, each by the vector of its version."""
    from shopsight.search.index import open_index

    with open_index(index_path) as index:
        found = dict(index.items(["version"]).iter_rows())
        assert found == {f"item-{number:05d}": version for number, version in expected.items()}
        stored = [item for points in index.generation.engine.scroll() for item in points.ids]
        assert sorted(stored) == sorted(found)
        assert index.generation.engine.count() == len(expected)
        if not expected:
            return
        numbers = list(expected)
        vectors = np.stack([drawn(f"{n} {expected[n]}".encode()) for n in numbers])
        for number, hits in zip(numbers, index.query(vectors, limit=1), strict=True):
            assert hits[0].id == f"item-{number:05d}"
            assert hits[0].columns["version"] == expected[number]
            assert hits[0].score > 0.999
