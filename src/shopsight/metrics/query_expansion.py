"""Blend a query with its nearest items: alpha query expansion.

The nearest items of a query show the same product under other light and from other sides. With the
cosines s_i to the first n of them, x_i, the new query is the unit vector along

    q + sum_i max(s_i, 0)^alpha x_i.

The power alpha lets near items count and others hardly: at alpha = 3, one at cosine .9 counts .73
and one at .5 counts .13. alpha = 0 is the plain average.

Source: Radenovic, Tolias & Chum 2019, "Fine-tuning CNN Image Retrieval with No Human Annotation",
section 3.4; the plain average is of Chum et al. 2007, "Total Recall".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from shopsight.errors import MetricError
from shopsight.unit_vectors import unit_vectors

ALPHA = 3.0


def expanded_queries(
    queries: Float32[np.ndarray, "q d"],
    neighbors: Float32[np.ndarray, "q n d"],
    scores: Float[np.ndarray, "q n"],
    *,
    alpha: float = ALPHA,
) -> Float32[np.ndarray, "q d"]:
    """Queries blended with their nearest items.

    Args:
        queries: unit vectors.
        neighbors: unit vectors of the nearest items of each.
        scores: their cosines.
        alpha: see the module.

    Raises:
        MetricError: alpha is negative.
    """
    if alpha < 0:
        raise MetricError(f"alpha of a query expansion is at least 0, not {alpha:g}")
    weights = np.maximum(scores.astype(np.float64), 0.0) ** alpha
    blended = queries + np.einsum("qn,qnd->qd", weights, neighbors.astype(np.float64))
    return unit_vectors(blended)
