"""What embedders have in common: unit vectors of an engine's embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from shopsight.errors import EmbeddingError, ImageError
from shopsight.inference.engine import Engine, EnginePrecision
from shopsight.inference.image_runner import ImageRunner, OnError
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.predictor import Embedding
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from shopsight.unit_vectors import have_direction, unit_vectors


class ImageEmbedder:
    """Images become unit vectors by an engine.

    Args:
        name: what opens it again.
        engine: computes embeddings.
        preprocess: how an image becomes its input.
    """

    def __init__(self, name: str, engine: Engine, preprocess: Preprocess) -> None:
        self._name = name
        self._engine = engine
        self._preprocess = preprocess
        self._runner = ImageRunner(engine, preprocess)

    @property
    def name(self) -> str:
        """What opens it again: the name that the user gave, of a preset its backbone's."""
        return self._name

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        return self._preprocess

    @property
    def precision(self) -> EnginePrecision:
        """Number format of its multiplications."""
        return self._engine.precision

    @property
    def engine_name(self) -> str:
        """For example "torch on cpu, bf16"."""
        return self._engine.name

    def embed(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        """Unit vectors of images, in order; an image without a direction is an error of its own."""
        batches = self._runner.batches(
            images, read=read, batch_size=batch_size, on_error=on_error, threads=threads
        )
        for batch, (found, _) in batches:
            usable = have_direction(found)
            vectors = iter(unit_vectors(found[usable]))
            has_direction = iter(usable.tolist())
            for image in batch:
                if image.error is not None:
                    yield Embedding(image.source, None, error=str(image.error))
                elif next(has_direction):
                    yield Embedding(image.source, next(vectors))
                else:
                    yield _without_direction(image.source, on_error)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Refuse: there is no text encoder.

        Raises:
            EmbeddingError: always.
        """
        raise EmbeddingError(
            f"{self._name} has no text encoder",
            fix='pip install "shopsight[words]"   (words without a text encoder)\n'
            "MODEL open_clip:PE-Core-B-16/meta   (has one)",
        )


def _without_direction(source: str, on_error: OnError) -> Embedding:
    error = ImageError("no embedding", "its embedding is not finite, or zero", where=source)
    if on_error == "raise":
        raise error
    return Embedding(source, None, error=str(error))
