"""Which points lie near each other: a tree of boxes, and a small matrix product for each leaf.

**The tree.** The points are put in an order in which each half of a node lies on one side of its
median, along the axis where the node is widest, down to leaves of at most 64 points. A node is a
range of positions in this order, so nothing else has to be stored.

**The search.** It goes down the tree with a list of the points that may be near those of the node:
the ones whose distance to the box around the node is at most the radius. Whatever is further from
the box is further from every point in it, so no pair is lost; the box is that of the first axes,
and leaving axes out only makes distances smaller. At a leaf, matrix products give all distances to
the points of the list. It holds later positions only: of two points the earlier finds the other.

**Cost.** The lists hold a fraction of the points that gets smaller with the leaves, so that the
time grows more slowly than the square of their number (measured: with its power of 1.3). Memory is
in proportion: 180 bytes a point, and some megabytes for the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

BOX_AXES = 8
"""A box has the first axes: those along which points differ most."""
_LEAF_POINTS = 64
_WINDOW_POINTS = 8192
_PRODUCT_POINTS = 64

Positions = Int64[np.ndarray, "_"]


@dataclass(frozen=True, eq=False)
class PointTree:
    """Points in the order of a tree.

    Attributes:
        given: index of each point among those that were given.
        points: coordinates.
        half_squares: half of each squared length.
        columns: the first coordinates, one after another.
        radius: of each point; two are near within the larger of theirs.
    """

    given: Int64[np.ndarray, "n"]
    points: Float32[np.ndarray, "n d"]
    half_squares: Float32[np.ndarray, "n"]
    columns: Float32[np.ndarray, "b n"]
    radius: Float32[np.ndarray, "n"]

    @classmethod
    def of(cls, points: Float32[np.ndarray, "n d"], radius: Float32[np.ndarray, "n"]) -> PointTree:
        """Put points in order; time n log n."""
        columns = np.ascontiguousarray(points[:, :BOX_AXES].T)
        order = _tree_order(columns)
        points = points[order]
        return cls(
            given=order,
            points=points,
            half_squares=np.einsum("nd,nd->n", points, points) / 2,
            columns=np.ascontiguousarray(columns[:, order]),
            radius=radius[order],
        )

    def __len__(self) -> int:
        return len(self.given)

    def near(
        self, some: Positions, pool: PointTree, others: Positions
    ) -> tuple[Positions, Positions]:
        """All near pairs of some points and some of a pool.

        Args:
            some: positions here; a product is made of all with all of `others`.
            pool: where the others are.
            others: positions there.

        Returns:
            Positions here and there, sorted by the first and then by the second as given.
        """
        if not len(some) or not len(others):
            return some[:0], others[:0]
        nearness = self._nearness(some, pool, others)
        # |x - y|^2 <= r^2 is x . y - |y|^2 / 2 >= (|x|^2 - r^2) / 2: by the largest radius for all,
        # and then by that of each pair.
        largest = max(self.radius[some].max(), pool.radius[others].max())
        found = np.flatnonzero(nearness >= (self.half_squares[some] - largest**2 / 2)[:, None])
        piece, first, second = np.unravel_index(found, nearness.shape)
        second += piece * _PRODUCT_POINTS
        inside = second < len(others)
        found, first, second = found[inside], first[inside], second[inside]
        radius = np.maximum(self.radius[some][first], pool.radius[others][second])
        near = nearness.ravel()[found] >= self.half_squares[some][first] - radius**2 / 2
        first, second = first[near], second[near]
        order = np.argsort(first, kind="stable")
        return some[first[order]], others[second[order]]

    def nearest_before(self, start: int, end: int) -> tuple[Positions, Positions]:
        """The near pairs of each point of a range and the nearest of some before it."""
        some, before = np.arange(start, end), np.arange(max(0, 2 * start - end), end)
        nearness = self._nearness(some, self, before)
        nearness = nearness.transpose(1, 0, 2).reshape(len(some), -1)[:, : len(before)]
        nearness[before >= some[:, None]] = -np.inf
        nearest = nearness.argmax(axis=1)
        radius = np.maximum(self.radius[some], self.radius[before[nearest]])
        least = self.half_squares[some] - radius**2 / 2
        near = nearness[np.arange(len(some)), nearest] >= least
        return some[near], before[nearest[near]]

    def _nearness(
        self, some: Positions, pool: PointTree, others: Positions
    ) -> Float32[np.ndarray, "k m w"]:
        """For each x of some and y of others x . y - |y|^2 / 2: the nearer, the larger.

        In pieces of `_PRODUCT_POINTS` of the others, the last one filled up. OpenBLAS computes
        products as small as these without threads of its own, which wait for each other by keeping
        the cores busy: beside other work, a larger product took fifteen times as long.
        """
        lacking = -len(others) % _PRODUCT_POINTS
        filled = np.append(others, others[:1].repeat(lacking))
        left = _with_column(self.points[some], np.ones(len(some), np.float32))
        right = _with_column(pool.points[filled], -pool.half_squares[filled])
        pieces = right.reshape(-1, _PRODUCT_POINTS, right.shape[1])
        return np.asarray(left @ pieces.transpose(0, 2, 1))

    def within(self, start: int, end: int, pool: PointTree, others: Positions) -> Positions:
        """Those of the others that may be near a point of the node: near the box around it."""
        inside = self.columns[:, start:end]
        low, high = inside.min(axis=1), inside.max(axis=1)
        left = np.maximum(pool.radius[others], self.radius[start:end].max()) ** 2
        for axis in np.argsort(low - high)[::-1].tolist():  # The narrowest first.
            if not len(others):
                break
            along = pool.columns[axis][others]
            outside = np.maximum(np.maximum(low[axis] - along, along - high[axis]), 0)
            left -= outside**2
            kept = left >= 0
            others, left = others[kept], left[kept]
        return others


def leaves(
    tree: PointTree,
    pool: PointTree | None = None,
    *,
    without: Callable[[int, int, Positions], Positions] | None = None,
) -> Iterator[tuple[Positions, Positions]]:
    """Go through the leaves of a tree, each with the points that may be near one of its own.

    Args:
        tree: the points that look.
        pool: the points that they look for; None: the later ones of the same tree.
        without: takes the range of a node and positions in the pool, and gives those of them that
            are to be compared.

    Yields:
        Positions of a leaf's points, and positions in the pool, ascending.
    """
    nodes = [(0, len(tree), np.arange(0 if pool is None else len(pool)))]
    while nodes:
        start, end, others = nodes.pop()
        others = tree.within(start, end, tree if pool is None else pool, others)
        if without is not None:
            others = without(start, end, others)
        if end - start <= _LEAF_POINTS:
            yield np.arange(start, end), others
            continue
        middle = _middle(start, end)
        first = others if pool is not None else np.append(np.arange(middle, end), others)
        nodes += [(middle, end, others), (start, middle, first)]


def windows(positions: Positions) -> Iterator[Positions]:
    """The positions in pieces of which a leaf makes a product of some megabytes."""
    for start in range(0, len(positions), _WINDOW_POINTS):
        yield positions[start : start + _WINDOW_POINTS]


def _tree_order(columns: Float32[np.ndarray, "b n"]) -> Int64[np.ndarray, "n"]:
    order = np.arange(columns.shape[1])
    nodes = [(0, len(order))]
    while nodes:
        start, end = nodes.pop()
        if end - start <= _LEAF_POINTS:
            continue
        inside = columns[:, order[start:end]]
        widest = int(np.argmax(inside.max(axis=1) - inside.min(axis=1)))
        middle = _middle(start, end)
        parted = np.argpartition(inside[widest], middle - start)
        order[start:end] = order[start:end][parted]
        nodes += [(start, middle), (middle, end)]
    return order


def _middle(start: int, end: int) -> int:
    return start + (end - start) // 2


def _with_column(
    points: Float32[np.ndarray, "m d"], column: Float32[np.ndarray, "m"]
) -> Float32[np.ndarray, "m d1"]:
    return np.column_stack([points, column])
