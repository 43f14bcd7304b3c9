"""k-reciprocal re-ranking of a query's candidates.

A wrong candidate may be near the query by chance; it is seldom near what is near the query. So
candidates are compared with the query by the neighbors that they share.

Let S hold the query and its n candidates, d the squared distance 2 - 2 cos between any two, and
N(i, k) the k nearest of i in S, i itself among them.

1. R(i, k) = {j in N(i, k): i in N(j, k)}, the k-reciprocal neighbors.
2. R*(i) = R(i, k1), together with each R(j, k1 / 2) of a j in R(i, k1) of which two thirds lie in
   R(i, k1).
3. V(i, j) = exp(-d(i, j)) for j in R*(i), else 0, divided by its sum over j.
4. V(i) becomes the mean of V(j) over j in N(i, k2): what near images agree on.
5. The Jaccard distance of query q and candidate g is
   1 - sum_j min(V(q, j), V(g, j)) / sum_j max(V(q, j), V(g, j)),
   and the new distance is (1 - weight) times it plus weight times d(q, g).

Each query is answered from its own candidates alone. The published code compares all queries with
all of the gallery at once, which takes memory that grows with the square of both and lets queries
that happen to be asked together change each other's answers.

It needs several photos of a product among the candidates: with one of each there is nothing to
share, and the order gets worse. And k1 is to be about their number: what lies beyond is of other
products, and agrees on nothing. The published 20 and 6 are of data with some 20 images of each
person; `neighbors_for` has others for fewer (docs/benchmarks.md has what was measured).

Source: Zhong et al. 2017, "Re-ranking Person Re-identification with k-reciprocal Encoding".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from shopsight.errors import MetricError

K1, K2, WEIGHT = 20, 6, 0.3
FEWEST_PHOTOS = 3
"""Photos of a product, in the mean, from which re-ranking was measured to help."""


def neighbors_for(photos: float) -> tuple[int, int]:
    """k1 and k2 for a gallery.

    Args:
        photos: of a product, in the mean.
    """
    k1 = min(max(round(photos), 6), K1)
    return k1, round(k1 * K2 / K1)


def reranked(
    query: Float32[np.ndarray, "d"],
    candidates: Float32[np.ndarray, "n d"],
    *,
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> Int64[np.ndarray, "n"]:
    """The candidates in their new order, as positions.

    Args:
        query: a unit vector.
        candidates: unit vectors of the nearest items.
        k1: neighbors that are compared; of fewer candidates, all.
        k2: neighbors whose encodings are averaged.
        weight: of the plain distance, from 0 to 1.

    Raises:
        MetricError: a parameter is out of range.
    """
    distances = rerank_distances(query, candidates, k1=k1, k2=k2, weight=weight)
    return np.argsort(distances, kind="stable").astype(np.int64)


def rerank_distances(
    query: Float32[np.ndarray, "d"],
    candidates: Float32[np.ndarray, "n d"],
    *,
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> Float64[np.ndarray, "n"]:
    """The new distance of each candidate; see the module and `reranked`."""
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise MetricError(
            f"re-ranking takes k1 and k2 of at least 1 and a weight from 0 to 1, not k1 = {k1}, "
            f"k2 = {k2}, weight = {weight:g}"
        )
    points = np.concatenate([query[None], candidates]).astype(np.float32)
    distances = np.maximum(2.0 - 2.0 * (points @ points.T).astype(np.float64), 0.0)
    np.fill_diagonal(distances, 0.0)
    order = np.argsort(distances, axis=1, kind="stable")
    encoded = _encoded(distances, order, k1)
    if k2 > 1:
        encoded = encoded[order[:, :k2]].mean(axis=1)
    jaccard = _jaccard(encoded)
    return np.asarray((1 - weight) * jaccard + weight * distances[0, 1:])


def _reciprocal(order: Int64[np.ndarray, "m m"], k: int) -> Bool[np.ndarray, "m m"]:
    """Row i marks R(i, k)."""
    count = len(order)
    near = np.zeros((count, count), bool)
    np.put_along_axis(near, order[:, : k + 1], values=True, axis=1)  # i itself and k others
    return np.asarray(near & near.T)


def _encoded(
    distances: Float64[np.ndarray, "m m"], order: Int64[np.ndarray, "m m"], k1: int
) -> Float64[np.ndarray, "m m"]:
    """V(i, j) of step 3."""
    whole = _reciprocal(order, k1)
    half = _reciprocal(order, round(k1 / 2))
    # Of each pair (i, j): how many of R(j, k1 / 2) lie in R(i, k1).
    shared = whole.astype(np.float32) @ half.astype(np.float32).T
    joins = whole & (shared > 2 / 3 * half.sum(axis=1)[None])
    expanded = whole | ((joins.astype(np.float32) @ half.astype(np.float32)) > 0)
    values = np.where(expanded, np.exp(-distances), 0.0)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _jaccard(encoded: Float64[np.ndarray, "m m"]) -> Float64[np.ndarray, "n"]:
    """Of the first row with each other one; rows sum to 1, so that max = 2 - min."""
    least = np.minimum(encoded[:1], encoded[1:]).sum(axis=1)
    return np.asarray(1 - least / (2 - least))
