"""What turns images and texts into vectors of one embedding space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.image_runner import OnError
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.predictor import Embedding
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions


@dataclass(frozen=True, eq=False)
class ClassDirections:
    """Directions of known classes among image embeddings: rows of a classifier.

    Attributes:
        names: of the classes; synonyms of one are parted by commas.
        directions: a row of the classifier each, as it is, not of unit length.
        source: whose classes they are, e.g. "ImageNet-1k, 1,000 classes".
    """

    names: tuple[str, ...]
    directions: Float32[np.ndarray, "c d"]
    source: str


@runtime_checkable
class Embedder(Protocol):
    """An image encoder, and a text encoder where there is one."""

    @property
    def name(self) -> str:
        """What opens it again: a run, a bundle, a backbone."""
        ...

    @property
    def space(self) -> EmbeddingSpace:
        """The space of its vectors."""
        ...

    @property
    def embeds_into(self) -> tuple[EmbedsInto, ...]:
        """Other spaces that its vectors may be compared with."""
        ...

    @property
    def logit_scale(self) -> float | None:
        """What makes cosines of images and texts logits; None without a text encoder."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        ...

    @property
    def precision(self) -> EnginePrecision:
        """Number format of its multiplications."""
        ...

    @property
    def engine_name(self) -> str:
        """For example "torch on cpu, bf16"."""
        ...

    def embed(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        """Unit vectors of images, one `Embedding` each, in order; see `Predictor.embed`."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of texts.

        Raises:
            EmbeddingError: there is no text encoder.
        """
        ...

    def class_directions(self) -> ClassDirections | None:
        """What its classifier knows, for a search by words without a text encoder."""
        ...
