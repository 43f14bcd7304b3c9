"""The best of many labels, without sorting all of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

# So few labels are sorted faster than they are searched for the best.
SORTED_WHOLE = 100


def best_labels(probabilities: Float[np.ndarray, "b c"], most: int) -> Int64[np.ndarray, "b k"]:
    """The most probable labels of each image, best first; of equals the lower index.

    Sorting ten thousand labels would take longer than the network. Instead the k-th highest
    probability is found, those above it are taken, and of those that equal it as many as are
    missing, the lowest indices first. Only these k are sorted.

    Args:
        probabilities: of each image and label; NaN comes last.
        most: how many labels are wanted.

    Returns:
        Indices of the labels, k = min(most, c).
    """
    classes = probabilities.shape[1]
    most = min(most, classes)
    if classes <= SORTED_WHOLE or most == classes:
        return np.argsort(-probabilities, axis=1, kind="stable")[:, :most].astype(np.int64)
    candidates = _reaching(-probabilities, most)
    chosen = np.take_along_axis(probabilities, candidates, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    best: Int64[np.ndarray, "b k"] = np.take_along_axis(candidates, order, axis=1)
    return best


def _reaching(costs: Float[np.ndarray, "b c"], most: int) -> Int64[np.ndarray, "b k"]:
    """The `most` labels of the lowest cost, in the order of their indices."""
    limit = np.partition(costs, most - 1, axis=1)[:, most - 1 : most]
    candidates = np.empty((len(costs), most), np.int64)
    reached = costs <= limit
    clear = reached.sum(axis=1) == most
    candidates[clear] = np.nonzero(reached[clear])[1].reshape(-1, most)
    for row in np.flatnonzero(~clear):
        if np.isnan(limit[row, 0]):
            candidates[row] = np.sort(np.argsort(costs[row], kind="stable")[:most])
            continue
        below = np.flatnonzero(costs[row] < limit[row, 0])
        equal = np.flatnonzero(costs[row] == limit[row, 0])[: most - len(below)]
        candidates[row] = np.sort(np.concatenate([below, equal]))
    return candidates
