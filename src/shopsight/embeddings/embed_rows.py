"""Embed the images of a catalog, each distinct one once, in batches of many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.embeddings.contents import first_rows
from shopsight.inference.embedder import Embedder
from shopsight.inference.image_stream import asked_boxes, open_images

IMAGES_AT_ONCE = 2000
"""Distinct images whose vectors are handed on together: at 80 images a second, half a minute."""


@dataclass(frozen=True, eq=False)
class EmbeddedRows:
    """Rows of a catalog with their vectors.

    Attributes:
        rows: n of them; rows of equal images come together.
        vectors: unit vectors, "n d".
        errors: why the image of a row has no vector, by row; those are not among `rows`.
    """

    rows: list[int]
    vectors: Float32[np.ndarray, "n d"]
    errors: dict[int, str]


def embed_rows(
    embedder: Embedder,
    catalog: Catalog,
    keys: pl.Series,
    *,
    batch_size: int | None = None,
    at_once: int = IMAGES_AT_ONCE,
    asked: bool = False,
) -> Iterator[EmbeddedRows]:
    """Embed the images of a catalog.

    Args:
        embedder: the model.
        catalog: whose images.
        keys: `content_keys`; rows with equal ones get the same vector, and rows of which it is
            null are left out.
        batch_size: images that the model sees at once; None is its own choice.
        at_once: distinct images whose vectors are handed on together.
        asked: the rows are queries: their boxes count whatever the model was trained on.

    Yields:
        Every row once, with a vector or an error.
    """
    firsts, rows_of = first_rows(keys)
    names = list(rows_of)
    with progress.task("Embedding", len(firsts)) as advance:
        first = catalog.take(firsts)
        images = asked_boxes(open_images(first)) if asked else first
        vectors = embedder.embed(images, batch_size=batch_size) if firsts else iter(())
        for start in range(0, len(firsts), at_once):
            rows, found, errors = list[int](), list[Float32[np.ndarray, "d"]](), dict[int, str]()
            for name in names[start : start + at_once]:
                one = next(vectors)
                for row in rows_of[name]:
                    if one.vector is None:
                        errors[row] = one.error or "not readable"
                    else:
                        rows.append(row)
                        found.append(one.vector)
                advance(1)
            dim = embedder.space.embedding_dim
            yield EmbeddedRows(rows, np.array(found, np.float32).reshape(-1, dim), errors)
