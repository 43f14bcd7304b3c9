"""Unit vectors: the one place where embeddings get the length 1.

Every similarity of shopsight is a dot product of unit vectors, of images and texts alike. A vector
of NaN, of infinity or of length 0 has no direction: an engine would store it without a word and
answer with NaN, so it is refused here.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from shopsight.errors import EmbeddingError

SHORTEST = 1e-12
"""Length below which a vector has no direction."""


def unit_vectors(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Each row divided by its length, computed in fp64.

    Raises:
        EmbeddingError: a row is not finite, or has the length 0.
    """
    usable = have_direction(vectors)
    if not usable.all():
        rows = np.flatnonzero(~usable)
        raise EmbeddingError(
            f"{len(rows)} of {len(vectors)} embeddings have no direction: they hold NaN, infinity "
            "or nothing but zeros",
            details=[f"row {row}" for row in rows.tolist()],
        )
    exact = np.asarray(vectors, np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    return np.asarray(exact / lengths[:, None], np.float32)


def directions(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Each row divided by its length; one without a direction stays near 0 and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, SHORTEST), np.float32)


def unit_mean(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "d"]:
    """The mean of vectors, made unit: the direction of all photos of a product, or of its crops.

    Raises:
        EmbeddingError: they cancel each other, or one is not finite.
    """
    found: Float32[np.ndarray, "d"] = unit_vectors(vectors.mean(axis=0, keepdims=True))[0]
    return found


def have_direction(vectors: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, "n"]:
    """Whether a row is finite and longer than 0."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    return np.asarray(np.isfinite(largest) & (largest > SHORTEST))
