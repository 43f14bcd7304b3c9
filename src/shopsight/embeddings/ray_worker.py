"""What a Ray worker does: it opens the model once, and turns blocks of names into vectors.

A block is a table: `number` (the image's place in the order of the call), `image` (a full path or a
URL), and the box in it where there is one. Its answer is `number`, `vector` (float32, as bytes) and
`error`. Bytes, because Ray would make its own type of tensors from lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from shopsight.bundle.embedding_space import EmbeddingSpace
from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.errors import EmbeddingError
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.open_embedder import open_embedder
from shopsight.io.access import Access
from shopsight.preprocess import Resize

if TYPE_CHECKING:
    import pyarrow as pa

NUMBER = "number"


@dataclass(frozen=True)
class Work:
    """What all workers of a job are told.

    Attributes:
        model: opens the embedder, on any machine of the cluster.
        space: that it must have there.
        resize: of a backbone, the framing that was asked for.
        device: of the worker.
        precision: one for all workers.
        access: what may be read for the images.
        threads: that decode, and that torch computes with on the CPU.
        batch_size: images that the model sees at once; None is its own choice.
    """

    model: str
    space: EmbeddingSpace
    resize: Resize | None
    device: str
    precision: PrecisionChoice
    access: Access
    threads: int
    batch_size: int | None


class ImageWorker:
    """The actor's class.

    Args:
        work: what to do.

    Raises:
        EmbeddingError: the model is another one on this machine.
    """

    def __init__(self, work: Work) -> None:
        import torch

        torch.set_num_threads(work.threads)
        self._work = work
        self._embedder = open_embedder(
            work.model,
            device=work.device,
            precision=work.precision,
            resize=work.resize,
            boxes=work.space.preprocess.boxes,
        )
        here = self._embedder.space
        if here != work.space:
            raise EmbeddingError(
                "a worker has another model by this name: "
                + "; ".join(work.space.differences(here)),
                where=work.model,
            )

    def __call__(self, block: pa.Table) -> pa.Table:
        """Embed the images of a block."""
        table = pl.DataFrame(pl.from_arrow(block))
        catalog = Catalog(table.drop(NUMBER), "a block of images", access=self._work.access)
        found = list(
            self._embedder.embed(
                catalog, batch_size=self._work.batch_size, threads=self._work.threads
            )
        )
        vectors = [None if one.vector is None else one.vector.tobytes() for one in found]
        answer = pl.DataFrame(
            [
                table[NUMBER],
                pl.Series("vector", vectors, pl.Binary),
                pl.Series("error", [one.error for one in found], pl.String),
            ]
        )
        return as_arrow(answer)


def names_of(catalog: Catalog) -> pl.DataFrame:
    """The images of a catalog as a worker reads them, wherever it runs."""
    boxes = [name for name in BOX_COLUMNS if name in catalog.table.columns]
    table = catalog.table.select(pl.Series("image", catalog.refs(), pl.String), *boxes)
    return table.with_row_index(NUMBER)


def as_arrow(table: pl.DataFrame) -> pa.Table:
    """A table in types that Ray knows."""
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())
