"""Images that are there twice: equal files, and near duplicates among a million thumbnails.

Perceptual hashes were tried first and left: product photos share their layout, so that of 16.5 M
pairs of 5,756 photos of clothes 3,714 had the *same* 64-bit DCT hash, and one of those was a copy.
Here the thumbnails themselves are compared. Two images whose luma correlates by at least c lie
within sqrt(2 - 2c) of each other as unit vectors; an orthogonal projection to few dimensions can
only bring them closer. So every pair that could pass is found by comparing projections, in blocks
of a matrix product, within a window of the first coordinate. Nothing is missed by chance.
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
_VERIFIED_AT_ONCE = 16384
# An image is compared with this many candidates after it: a crowd of copies of one image
# stays connected through its neighbors, without all of its pairs.
_CANDIDATES_PER_ROW = 256
# How far apart the projections of two images that are alike can be, with room for rounding.
_REACH = float(np.sqrt(2 - 2 * LOWEST_CORRELATION)) + 1e-4

Pairs = Int64[np.ndarray, "_ 2"]


def near_pairs(thumbs: UInt8[np.ndarray, "n t"]) -> Pairs:
    """All pairs (i < j) of rows whose thumbnails are alike, sorted.

    Time grows with the square of n, but slowly: 1 M rows take minutes on two cores.
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
    """Which rows of `thumbs` are alike to at least one row of `others`; compares as `near_pairs`.

    Time grows with m times n.
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
            first = int(np.searchsorted(pool_points[:, 0], block[0, 0] - _REACH))
            for near in _near(block, pool_points, first):
                pairs = np.stack([rows[start + near[:, 0]], pool[near[:, 1]]], axis=1)
                pairs = pairs[~found[pairs[:, 0]]]
                found[_verified(thumbs, others, pairs)[:, 0]] = True
            advance(len(block))
    return found


def connected_components(count: int, pairs: Pairs) -> Int64[np.ndarray, "n"]:
    """An id for each of `count` rows: equal for rows that the pairs connect, else its own."""
    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _VERIFIED_AT_ONCE):
        yield rows[start : start + _VERIFIED_AT_ONCE]


def _verified(
    thumbs: UInt8[np.ndarray, "m t"], others: UInt8[np.ndarray, "n t"], pairs: Pairs
) -> Pairs:
    """The pairs (row of `thumbs`, row of `others`) that are alike."""
    passed = [is_near_duplicate(thumbs[part[:, 0]], others[part[:, 1]]) for part in _parts(pairs)]
    return np.asarray(pairs[np.concatenate([np.empty(0, bool), *passed])])


def _unit(thumbs: UInt8[np.ndarray, "n t"]) -> Float32[np.ndarray, "n l"]:
    values = luma(thumbs)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def _rows_with_contrast(thumbs: UInt8[np.ndarray, "n t"]) -> Int64[np.ndarray, "m"]:
    contrasts = np.concatenate([luma(part).std(axis=1) for part in _parts(thumbs)] or [np.empty(0)])
    return np.flatnonzero(contrasts >= LOWEST_CONTRAST_LEVELS).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Projection:
    """Onto the principal axes of images, the one along which they differ most first."""

    mean: Float32[np.ndarray, "l"]
    axes: Float32[np.ndarray, "l d"]

    @classmethod
    def of(cls, thumbs: UInt8[np.ndarray, "n t"], rows: Int64[np.ndarray, "m"]) -> _Projection:
        """From a sample of the rows."""
        sample = _unit(thumbs[rows[:: max(1, len(rows) // _SAMPLE_ROWS)]])
        mean = sample.mean(axis=0)
        spread = (sample - mean).T @ (sample - mean)
        axes = np.linalg.eigh(spread.astype(np.float64))[1][:, ::-1][:, :_DIMENSIONS]
        return cls(mean, np.ascontiguousarray(axes, np.float32))

    def sorted(
        self, thumbs: UInt8[np.ndarray, "n t"], rows: Int64[np.ndarray, "m"]
    ) -> tuple[Int64[np.ndarray, "m"], Float32[np.ndarray, "m d"]]:
        """The rows and their points, by the first coordinate."""
        points = np.concatenate(
            [(_unit(thumbs[part]) - self.mean) @ self.axes for part in _parts(rows)]
        )
        order = np.argsort(points[:, 0], kind="stable")
        return rows[order], points[order]


def _candidates(points: Float32[np.ndarray, "m d"], start: int) -> Pairs:
    """Pairs of positions, the first in the block at `start`, the second after it, that are near."""
    found = [np.empty((0, 2), np.int64)]
    for pairs in _near(points[start : start + _BLOCK_ROWS], points, start):
        pairs[:, 0] += start
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return _at_most_per_row(np.concatenate(found))


def _near(
    block: Float32[np.ndarray, "b d"], points: Float32[np.ndarray, "m d"], first: int
) -> Iterator[Pairs]:
    """Pairs of a position in the block and one in the points from `first` on that are near.

    Both are sorted by the first coordinate, so that the points end where none can be near.
    """
    end = int(np.searchsorted(points[:, 0], block[-1, 0] + _REACH, side="right"))
    # |x - y|^2 <= reach^2 as one product: x.y - |x|^2 / 2 - |y|^2 / 2 >= -reach^2 / 2.
    left = _with_columns(block, -_half_squares(block), 1.0)
    for start in range(first, end, _WINDOW_ROWS):
        window = points[start : min(start + _WINDOW_ROWS, end)]
        right = _with_columns(window, 1.0, -_half_squares(window))
        # argwhere on two dimensions would cost more than the product.
        near = np.flatnonzero(left @ right.T >= -(_REACH**2) / 2)
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
    """The first few pairs of each first row."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    starts = np.searchsorted(pairs[:, 0], pairs[:, 0], side="left")
    return pairs[np.arange(len(pairs)) - starts < _CANDIDATES_PER_ROW]
