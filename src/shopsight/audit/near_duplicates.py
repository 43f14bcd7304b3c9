"""Near duplicates among a million thumbnails: one product of small matrices for each block of rows.

**Why not a perceptual hash.** It was tried first. Product photos share their layout: of 16.5 M
pairs of 5,756 photos of clothes, 3,714 had the *same* 64-bit DCT hash, and one of those was a copy.
So the thumbnails themselves are compared.

**Why no pair is missed.** Let x and y be the lumas of two thumbnails, less their means and scaled
to unit length. Their correlation is c = x . y, so

    |x - y|^2 = |x|^2 + |y|^2 - 2 x . y = 2 - 2 c,

and c >= c0 holds exactly where |x - y| <= r = sqrt(2 - 2 c0); r is 0.2 for c0 = 0.98. Let the
columns of A (576 x 32) be orthonormal. They extend to an orthonormal basis, in which |x - y|^2 is
the sum of all squared coordinates and |A^T (x - y)|^2 that of the first 32 (Bessel's inequality):

    |A^T x - A^T y| <= |x - y|.

A projection brings points closer, never further apart, so pairs further apart than r in it cannot
have a correlation of c0. This holds for every A. The principal axes of a sample are the A under
which squared distances stay largest on average, so that the most pairs are ruled out; a poor sample
costs time, not pairs. The pairs that remain are verified on the whole thumbnails by
`is_near_duplicate`.

**The search.** The same inequality for the first coordinate alone gives |x_1 - y_1| <= r: with the
points sorted along it, each block of 256 is compared with a window that ends r beyond its last
point. Within the window all distances come from one matrix product. For n points, of which a
fraction f lies within r along the first axis, that is f n^2 / 2 distances of 32 multiplications.

**Memory.** n x 32 float32 for the points (128 MB for a million), 704 n bytes for the thumbnails,
and 4 MB for the product of a block and a piece of its window.

**The one limit.** Each image keeps at most 256 candidates after it. In a crowd of copies of one
image not every pair is reported then, but the crowd stays connected through its neighbors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy.sparse import coo_matrix, csgraph

from shopsight.images.thumbnails import (
    LOWEST_CONTRAST_LEVELS,
    LOWEST_CORRELATION,
    is_near_duplicate,
    luma,
)
from shopsight.progress import task

_DIMENSIONS = 32
_SAMPLE_ROWS = 8192
_BLOCK_ROWS, _WINDOW_ROWS = 256, 4096
_CHUNK_ROWS = 16384
# Nearest along the first axis first; see "the one limit" above.
_CANDIDATES_PER_ROW = 256
# r of the derivation above. Squared distances in float32 are off by some 1e-6, and the margin adds
# 4e-5 to the squared radius.
_RADIUS = float(np.sqrt(2 - 2 * LOWEST_CORRELATION)) + 1e-4

Pairs = Int64[np.ndarray, "_ 2"]


def near_pairs(thumbs: UInt8[np.ndarray, "n t"]) -> Pairs:
    """Find all pairs of near duplicates.

    Args:
        thumbs: thumbnails; rows with little contrast (blank images) are in no pair.

    Returns:
        Pairs (i < j) of rows, sorted. Time grows with the square of n, but slowly: a million rows
        take minutes on two cores.
    """
    rows = _rows_with_contrast(thumbs)
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    rows, points = _Projection.of(thumbs, rows).sorted(thumbs, rows)
    found = [np.empty((0, 2), np.int64)]
    with task("Comparing images", total=len(rows)) as advance:
        for start in range(0, len(rows), _BLOCK_ROWS):
            found.append(_verified(thumbs, thumbs, rows[_candidates(points, start)]))
            advance(min(_BLOCK_ROWS, len(rows) - start))
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def has_near_duplicate(
    thumbs: UInt8[np.ndarray, "m t"], others: UInt8[np.ndarray, "n t"]
) -> Bool[np.ndarray, "m"]:
    """Whether each row of `thumbs` is a near duplicate of at least one row of `others`.

    The comparison is that of `near_pairs`, without its limit; time grows with m times n.
    """
    found = np.zeros(len(thumbs), bool)
    rows, pool = _rows_with_contrast(thumbs), _rows_with_contrast(others)
    if not len(rows) or not len(pool):
        return found
    projection = _Projection.of(others, pool)
    rows, points = projection.sorted(thumbs, rows)
    pool, pool_points = projection.sorted(others, pool)
    with task("Comparing images", total=len(rows)) as advance:
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = points[start : start + _BLOCK_ROWS]
            first = int(np.searchsorted(pool_points[:, 0], block[0, 0] - _RADIUS))
            for near in _near(block, pool_points, first):
                pairs = np.stack([rows[start + near[:, 0]], pool[near[:, 1]]], axis=1)
                pairs = pairs[~found[pairs[:, 0]]]
                found[_verified(thumbs, others, pairs)[:, 0]] = True
            advance(len(block))
    return found


def connected_components(count: int, pairs: Pairs) -> Int64[np.ndarray, "n"]:
    """An id for each of `count` rows: equal for rows that the pairs connect."""
    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _CHUNK_ROWS):
        yield rows[start : start + _CHUNK_ROWS]


def _verified(
    thumbs: UInt8[np.ndarray, "m t"], others: UInt8[np.ndarray, "n t"], pairs: Pairs
) -> Pairs:
    """The pairs (row of `thumbs`, row of `others`) that are near duplicates."""
    passed = [is_near_duplicate(thumbs[some[:, 0]], others[some[:, 1]]) for some in _chunks(pairs)]
    return np.asarray(pairs[np.concatenate([np.empty(0, bool), *passed])])


def _unit(thumbs: UInt8[np.ndarray, "n t"]) -> Float32[np.ndarray, "n l"]:
    """Lumas less their means, as unit vectors."""
    values = luma(thumbs)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def _rows_with_contrast(thumbs: UInt8[np.ndarray, "n t"]) -> Int64[np.ndarray, "m"]:
    contrasts = np.concatenate(
        [luma(some).std(axis=1) for some in _chunks(thumbs)] or [np.empty(0)]
    )
    return np.flatnonzero(contrasts >= LOWEST_CONTRAST_LEVELS).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Projection:
    """An orthogonal projection of unit lumas to few dimensions.

    Attributes:
        mean: mean of the sample, which cancels in every distance.
        axes: orthonormal columns: the principal axes of the sample, the one along which the images
            differ most first.
    """

    mean: Float32[np.ndarray, "l"]
    axes: Float32[np.ndarray, "l d"]

    @classmethod
    def of(cls, thumbs: UInt8[np.ndarray, "n t"], rows: Int64[np.ndarray, "m"]) -> _Projection:
        """The projection for a sample of the rows."""
        sample = _unit(thumbs[rows[:: max(1, len(rows) // _SAMPLE_ROWS)]])
        mean = sample.mean(axis=0)
        spread = (sample - mean).T @ (sample - mean)
        # eigh gives ascending eigenvalues and orthonormal eigenvectors.
        axes = np.linalg.eigh(spread.astype(np.float64))[1][:, ::-1][:, :_DIMENSIONS]
        return cls(mean, np.ascontiguousarray(axes, np.float32))

    def sorted(
        self, thumbs: UInt8[np.ndarray, "n t"], rows: Int64[np.ndarray, "m"]
    ) -> tuple[Int64[np.ndarray, "m"], Float32[np.ndarray, "m d"]]:
        """The rows and their projected points, sorted by the first coordinate."""
        points = np.concatenate(
            [(_unit(thumbs[some]) - self.mean) @ self.axes for some in _chunks(rows)]
        )
        order = np.argsort(points[:, 0], kind="stable")
        return rows[order], points[order]


def _candidates(points: Float32[np.ndarray, "m d"], start: int) -> Pairs:
    """Near pairs of positions, the first in the block at `start`, the second after the first."""
    found = [np.empty((0, 2), np.int64)]
    for pairs in _near(points[start : start + _BLOCK_ROWS], points, start):
        pairs[:, 0] += start
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return _at_most_per_row(np.concatenate(found))


def _near(
    block: Float32[np.ndarray, "b d"], points: Float32[np.ndarray, "m d"], first: int
) -> Iterator[Pairs]:
    """Near pairs of a position in the block and one in the points from `first` on.

    Args:
        block: points, sorted by the first coordinate.
        points: points, sorted likewise.
        first: position of the first point to compare with.
    """
    end = int(np.searchsorted(points[:, 0], block[-1, 0] + _RADIUS, side="right"))
    # |x - y|^2 <= r^2 as one product: (x, -|x|^2 / 2, 1) . (y, 1, -|y|^2 / 2) >= -r^2 / 2.
    left = _with_columns(block, -_half_squares(block), 1.0)
    for start in range(first, end, _WINDOW_ROWS):
        window = points[start : min(start + _WINDOW_ROWS, end)]
        right = _with_columns(window, 1.0, -_half_squares(window))
        # argwhere on two dimensions would take longer than the product.
        near = np.flatnonzero(left @ right.T >= -(_RADIUS**2) / 2)
        pairs = np.stack(np.divmod(near, len(window)), axis=1)
        pairs[:, 1] += start
        yield pairs


def _half_squares(points: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, "m"]:
    return np.asarray((points**2).sum(axis=1) / 2, np.float32)


def _with_columns(
    points: Float32[np.ndarray, "m d"], *columns: Float32[np.ndarray, "m"] | float
) -> Float32[np.ndarray, "m d2"]:
    full = [np.broadcast_to(np.float32(column), len(points)) for column in columns]
    return np.column_stack([points, *full])


def _at_most_per_row(pairs: Pairs) -> Pairs:
    """The first `_CANDIDATES_PER_ROW` pairs of each first position."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    starts = np.searchsorted(pairs[:, 0], pairs[:, 0], side="left")
    return pairs[np.arange(len(pairs)) - starts < _CANDIDATES_PER_ROW]
