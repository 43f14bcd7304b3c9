"""The nearest rows by cosine, of which those of the query's own family do not count."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

BLOCK_NUMBERS = 1 << 24
"""Scores that are in memory at once, some more than a row of them: 64 MB."""
NOBODY = -1


def nearest_of_other_families(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    *,
    query_family: Int64[np.ndarray, "q"],
    gallery_family: Int64[np.ndarray, "g"],
    k: int,
) -> Int64[np.ndarray, "q k"]:
    """The k most similar rows of the gallery that are of another family than the query.

    Args:
        queries: unit vectors.
        gallery: unit vectors.
        query_family: equal for rows that do not count for one another.
        gallery_family: in the same numbers.
        k: how many.

    Returns:
        Positions in the gallery, the most similar first; `NOBODY` where there are fewer.
    """
    found = np.full((len(queries), k), NOBODY, np.int64)
    taken = min(k, len(gallery))
    if not taken:
        return found
    rows = max(1, BLOCK_NUMBERS // len(gallery))
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        scores = queries[block] @ gallery.T
        scores[query_family[block, None] == gallery_family[None]] = -np.inf
        best = np.argpartition(-scores, taken - 1, axis=1)[:, :taken]
        similar = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-similar, axis=1, kind="stable")
        best, similar = (np.take_along_axis(one, order, axis=1) for one in (best, similar))
        found[block, :taken] = np.where(np.isfinite(similar), best, NOBODY)
    return found
