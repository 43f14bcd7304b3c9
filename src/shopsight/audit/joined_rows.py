"""Groups that grow while links between rows are found, and one link fewer than rows in each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from scipy.sparse import coo_array, csgraph

Pairs = Int64[np.ndarray, "_ 2"]


class JoinedRows:
    """Rows in groups, each group known by its smallest row.

    Args:
        count: number of rows, each a group of its own at first.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)
        self._size = np.ones(count, np.int64)

    def group(self, rows: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
        """The group of each row."""
        found: Int64[np.ndarray, "m"] = self._parent[rows]
        while len(rows):
            above = self._parent[found]
            if (above == found).all():
                break
            found = above
        self._parent[rows] = found
        return found

    def size(self, groups: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
        """Number of rows of each group."""
        return np.asarray(self._size[groups])

    def join(self, pairs: Pairs) -> None:
        """Make one group of the groups of each pair's rows."""
        while len(pairs):
            ends = np.sort(self.group(pairs.ravel()).reshape(-1, 2), axis=1)
            apart = ends[:, 0] != ends[:, 1]
            pairs, ends = pairs[apart], ends[apart]
            # A group goes into one other at a time, the next round sees to the rest.
            moved, first = np.unique(ends[:, 1], return_index=True)
            self._parent[moved] = ends[first, 0]
            np.add.at(self._size, self.group(moved), self._size[moved])


def connected_components(count: int, pairs: Pairs) -> Int64[np.ndarray, "n"]:
    """An id for each of `count` rows: equal for rows that the pairs connect."""
    return np.asarray(
        csgraph.connected_components(_graph(count, pairs), directed=False)[1], np.int64
    )


def with_spanning_trees(count: int, pairs: Pairs, *, most_rows: int) -> Pairs:
    """The pairs, but of groups of more than `most_rows` only one fewer than they have rows.

    Args:
        count: number of rows.
        pairs: distinct pairs, the smaller row first, sorted.
        most_rows: in a group all of whose pairs stay.

    Returns:
        Some of the pairs, which connect the same rows; sorted.
    """
    group = connected_components(count, pairs)
    crowded = np.bincount(group, minlength=count)[group[pairs[:, 0]]] > most_rows
    if not crowded.any():
        return pairs
    inside = pairs[crowded]
    # Weights are the order, so that the same pairs give the same tree; 0 would be no link.
    graph = _graph(count, inside, np.arange(1, len(inside) + 1, dtype=np.float64))
    kept = csgraph.minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1
    stay = ~crowded
    stay[np.flatnonzero(crowded)[kept]] = True
    return np.asarray(pairs[stay])


def _graph(count: int, pairs: Pairs, weights: np.ndarray | None = None) -> coo_array:
    data = np.ones(len(pairs), np.int8) if weights is None else weights
    return coo_array((data, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
