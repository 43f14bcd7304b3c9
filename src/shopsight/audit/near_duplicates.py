"""Near duplicates among millions of thumbnails, and crowds of images that all look alike.

**Why not a perceptual hash.** It was tried first. Product photos share their layout: of 16.5 M
pairs of 5,756 photos of clothes, 3,714 had the *same* 64-bit DCT hash, and one of those was a copy.
So the thumbnails themselves are compared.

**Why no pair is missed.** Let x and y be the lumas of two thumbnails, less their means, and x', y'
the same scaled to unit length. Their correlation is c = x' . y', so

    |x' - y'|^2 = |x'|^2 + |y'|^2 - 2 x' . y' = 2 - 2 c,

and c >= c0 holds exactly where |x' - y'| <= r = sqrt(2 - 2 c0). A pair needs c >= .98. It also
needs a residual y - g x of at most 6 levels in the root of its mean square, whatever the gain g. No
gain leaves less than that of least squares does, s_y sqrt(1 - c^2) with the standard deviation s_y
of y, so that c >= sqrt(1 - (6 / s_y)^2) as well. With the larger of the two as c0, r is .2 up to a
deviation of 30 levels, .12 at 50 and .075 at 80: each image has its own radius.

Let the columns of A (576 x 32) be orthonormal. They extend to an orthonormal basis, in which
|x' - y'|^2 is the sum of all squared coordinates and |A^T (x' - y')|^2 that of the first 32
(Bessel's inequality):

    |A^T x' - A^T y'| <= |x' - y'|.

A projection brings points closer, never further apart, so pairs further apart than r in it are no
near duplicates. This holds for every A. The principal axes of a sample are the A under which
squared distances stay largest on average, so that the most pairs are ruled out; a poor sample costs
time, not pairs. What lies within r (`near_search`) is verified on the whole thumbnails by
`is_near_duplicate`.

**Crowds.** A group of more than 100 images that near duplicates connect is a crowd: the placeholder
"no photo", written anew for each product. It has n^2 / 2 pairs, which tell no more than that it is
one group. Once a group is a crowd, two of its images are compared no longer, and of its pairs n - 1
stay, which connect it. Who is in which group does not change by this: only comparisons within one
group are left out.

**The one limit.** An image that is near 512 others which turn out to be no near duplicates (the
same layout with another small print) is not compared with more. Those nearest in the order of the
search come first.

**Memory.** Some 350 bytes an image while the points are put in order, beside the thumbnails of 704
bytes, which may be memory-mapped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from shopsight.audit.joined_rows import JoinedRows, Pairs, with_spanning_trees
from shopsight.audit.near_search import PointTree, Positions, leaves, windows
from shopsight.images.thumbnails import (
    LARGEST_RESIDUAL_LEVELS,
    LOWEST_CONTRAST_LEVELS,
    LOWEST_CORRELATION,
    is_near_duplicate,
    luma,
)
from shopsight.progress import task

MOST_IN_GROUP = 100
"""Images of a group all of whose pairs are found; a larger one is a crowd."""
_MOST_UNLIKE = 512
# Images before each that it is compared with first.
_NEIGHBORS = 64
_DIMENSIONS = 32
_SAMPLE_ROWS = 8192
_CHUNK_ROWS = 16384
# Squared distances in float32 are off by some 1e-6, and the margin adds 4e-5 to the squared radius.
_RADIUS_MARGIN = 1e-4


def near_pairs(thumbs: UInt8[np.ndarray, "n t"]) -> Pairs:
    """Find all pairs of near duplicates.

    Args:
        thumbs: thumbnails; rows with little contrast (blank images) are in no pair.

    Returns:
        Pairs (i < j) of rows, sorted; of a group of more than `MOST_IN_GROUP` rows as many as
        connect it.
    """
    rows, points, radius = _Projection.of(thumbs).points(thumbs)
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    tree = PointTree.of(points, radius)
    del points, radius
    found = _Pairing(thumbs, rows[tree.given], tree).run()
    found = np.unique(np.sort(found, axis=1), axis=0)
    return with_spanning_trees(len(thumbs), found, most_rows=MOST_IN_GROUP)


def has_near_duplicate(
    thumbs: UInt8[np.ndarray, "m t"], others: UInt8[np.ndarray, "n t"]
) -> Bool[np.ndarray, "m"]:
    """Whether each row of `thumbs` is a near duplicate of at least one row of `others`.

    The comparison is that of `near_pairs`, without its limit.
    """
    found = np.zeros(len(thumbs), bool)
    projection = _Projection.of(others)
    rows, points, radius = projection.points(thumbs)
    pool_rows, pool_points, pool_radius = projection.points(others)
    if not len(rows) or not len(pool_rows):
        return found
    tree, pool = PointTree.of(points, radius), PointTree.of(pool_points, pool_radius)
    rows, pool_rows = rows[tree.given], pool_rows[pool.given]
    with task("Comparing images", total=len(rows)) as advance:
        for some, near in leaves(tree, pool):
            for window in windows(near):
                first, second = tree.near(some[~found[rows[some]]], pool, window)
                pairs = np.stack([rows[first], pool_rows[second]], axis=1)
                at_once = 1
                while len(pairs):
                    now = _rank(pairs[:, 0]) < at_once
                    alike = _are_alike(thumbs, others, pairs[now])
                    found[pairs[now][alike, 0]] = True
                    pairs, at_once = pairs[~now & ~found[pairs[:, 0]]], 4 * at_once
            advance(len(some))
    return found


class _Pairing:
    """The search for pairs, and the groups that it has found so far.

    Args:
        thumbs: thumbnails of all rows.
        rows: the row of each position in the tree.
        tree: the points of these rows.
    """

    def __init__(
        self, thumbs: UInt8[np.ndarray, "n t"], rows: Int64[np.ndarray, "m"], tree: PointTree
    ) -> None:
        self._thumbs, self._rows, self._tree = thumbs, rows, tree
        self._joined = JoinedRows(len(rows))
        self._unlike = np.zeros(len(rows), np.int64)
        self._found: list[Pairs] = [np.empty((0, 2), np.int64)]
        self._waiting: list[Pairs] = [np.empty((0, 2), np.int64)]
        self._num_waiting = 0

    def run(self) -> Pairs:
        """All pairs of rows, and of crowds some that connect them."""
        # First each with the nearest before it in the order, so that crowds are known early.
        for start in range(0, len(self._rows), _NEIGHBORS):
            end = min(start + _NEIGHBORS, len(self._rows))
            self._verify(*self._tree.nearest_before(start, end))
        self._verify_waiting()
        with task("Comparing images", total=len(self._rows)) as advance:
            for some, near in leaves(self._tree, without=self._without_own_crowd):
                self._compare(some, np.append(some, near))
                advance(len(some))
        self._verify_waiting()
        return np.concatenate(self._found)

    def _without_own_crowd(self, start: int, end: int, others: Positions) -> Positions:
        """The others, less those of the crowd that the whole node is in."""
        group = self._joined.group(np.arange(start, end))
        if (group != group[0]).any() or not self._is_crowd(group[:1])[0]:
            return others
        return np.asarray(others[self._joined.group(others) != group[0]])

    def _is_crowd(self, groups: Int64[np.ndarray, "m"]) -> Bool[np.ndarray, "m"]:
        return np.asarray(self._joined.size(groups) > MOST_IN_GROUP)

    def _compare(self, some: Positions, others: Positions) -> None:
        """Compare each of a few points with the later ones that are not of its own crowd."""
        group = self._joined.group(some)
        crowd = np.where(self._is_crowd(group), group, -1)
        for one in np.unique(crowd).tolist():
            mine = some[crowd == one]
            pool = others if one < 0 else others[self._joined.group(others) != one]
            for window in windows(pool):
                mine = mine[self._unlike[mine] < _MOST_UNLIKE]
                first, second = self._tree.near(mine, self._tree, window)
                later = second > first
                self._verify(first[later], second[later])

    def _verify(self, first: Positions, second: Positions) -> None:
        """Verify candidates, later together with others."""
        if len(first):
            self._waiting.append(np.stack([first, second], axis=1))
            self._num_waiting += len(first)
        if self._num_waiting >= _CHUNK_ROWS:
            self._verify_waiting()

    def _verify_waiting(self) -> None:
        """Verify all candidates; a crowd needs few of them, so an image has more at each round."""
        pairs = np.concatenate(self._waiting)
        self._waiting, self._num_waiting = [pairs[:0]], 0
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        at_once = 1
        while len(pairs):
            group = self._joined.group(pairs.ravel()).reshape(-1, 2)
            settled = (group[:, 0] == group[:, 1]) & self._is_crowd(group[:, 0])
            pairs = pairs[~settled & (self._unlike[pairs[:, 0]] < _MOST_UNLIKE)]
            now = _rank(pairs[:, 0]) < at_once
            some, pairs, at_once = pairs[now], pairs[~now], 4 * at_once
            rows = np.sort(self._rows[some], axis=1)
            alike = _are_alike(self._thumbs, self._thumbs, rows)
            self._found.append(rows[alike])
            self._joined.join(some[alike])
            np.add.at(self._unlike, some[~alike, 0], 1)


def _rank(sorted_values: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
    """How many equal values stand before each."""
    starts = np.flatnonzero(np.diff(sorted_values, prepend=-1))
    lengths = np.diff(starts, append=len(sorted_values))
    return np.arange(len(sorted_values)) - np.repeat(starts, lengths)


def _are_alike(
    thumbs: UInt8[np.ndarray, "m t"], others: UInt8[np.ndarray, "n t"], pairs: Pairs
) -> Bool[np.ndarray, "p"]:
    """Which pairs (row of `thumbs`, row of `others`) are near duplicates."""
    chunks = (pairs[at : at + _CHUNK_ROWS] for at in range(0, len(pairs), _CHUNK_ROWS))
    alike = [is_near_duplicate(thumbs[some[:, 0]], others[some[:, 1]]) for some in chunks]
    return np.concatenate([np.empty(0, bool), *alike])


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
    def of(cls, thumbs: UInt8[np.ndarray, "n t"]) -> _Projection:
        """The projection for a sample of the thumbnails."""
        sample = _unit(thumbs[:: max(1, len(thumbs) // _SAMPLE_ROWS)])[1]
        mean = sample.sum(axis=0) / max(1, len(sample))
        spread = (sample - mean).T @ (sample - mean)
        # eigh gives ascending eigenvalues and orthonormal eigenvectors.
        axes = np.linalg.eigh(spread.astype(np.float64))[1][:, ::-1][:, :_DIMENSIONS]
        return cls(mean, np.ascontiguousarray(axes, np.float32))

    def points(
        self, thumbs: UInt8[np.ndarray, "n t"]
    ) -> tuple[Int64[np.ndarray, "m"], Float32[np.ndarray, "m d"], Float32[np.ndarray, "m"]]:
        """The rows with contrast, their projected points, and the radius of each."""
        rows, points, radius = [np.empty(0, np.int64)], [], []
        for start in range(0, max(1, len(thumbs)), _CHUNK_ROWS):
            inside, unit, contrast = _unit(thumbs[start : start + _CHUNK_ROWS])
            rows.append(start + inside)
            points.append((unit - self.mean) @ self.axes)
            radius.append(_radius(contrast))
        return np.concatenate(rows), np.concatenate(points), np.concatenate(radius)


def _unit(
    thumbs: UInt8[np.ndarray, "n t"],
) -> tuple[Int64[np.ndarray, "m"], Float32[np.ndarray, "m l"], Float32[np.ndarray, "m"]]:
    """Rows with contrast, their lumas less the means as unit vectors, and their contrasts."""
    values = luma(thumbs)
    contrast = values.std(axis=1)
    rows = np.flatnonzero(contrast >= LOWEST_CONTRAST_LEVELS)
    values, contrast = values[rows], contrast[rows]
    return rows, values / np.linalg.norm(values, axis=1, keepdims=True), contrast


def _radius(contrast: Float32[np.ndarray, "m"]) -> Float32[np.ndarray, "m"]:
    """How far a near duplicate of an image of this contrast can be; see the derivation above."""
    unexplained = np.minimum(LARGEST_RESIDUAL_LEVELS / contrast, 1.0).astype(np.float64)
    correlation = np.maximum(LOWEST_CORRELATION, np.sqrt(1 - unexplained**2))
    return np.asarray(np.sqrt(2 - 2 * correlation) + _RADIUS_MARGIN, np.float32)
