"""Photos of a class that look alike, which may be of one visit to the shop.

Where nobody wrote down which photos belong together, photos of one shelf, one product or one
afternoon are in all parts of any division. A head that was fitted on some of them knows the others
by what they have in common by chance, so that the background helps: framings that show more of it
win, and lose on photos of another visit (docs/log.md). Comparisons keep such photos together.

Source: Murtagh and Contreras 2012, "Algorithms for hierarchical clustering" (average linkage).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64
from scipy.cluster import hierarchy

from shopsight.metrics.families import Families

ALIKE = 5
"""Photos of a look, in the mean."""
FEWEST_LOOKS = 3
"""Of a class that has so many photos: else one fold would have all of it."""
AT_ONCE = 2_000
"""Photos of a class that are compared with each other: their distances take 16 MB."""


def looks_of(
    features: Float32[np.ndarray, "n d"], classes: Int64[np.ndarray, "n"], families: Families
) -> Families:
    """Families that have the photos which look alike, too.

    Args:
        features: of the photos; their cosines say what is alike.
        classes: of the photos; photos of two classes are of no look.
        families: which photos belong together anyway.
    """
    # Not `unit_vectors`: of an image in which a network sees nothing, nothing can be said here.
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    vectors = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    looks = np.empty(len(classes), np.int64)
    count = 0
    for one in np.unique(classes):
        rows = np.flatnonzero(classes == one)
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            own = _clusters(vectors[some])
            looks[some] = count + own
            count += int(own.max()) + 1
    return Families.linked(len(classes), [families.of_image, looks])


def _clusters(vectors: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, "m"]:
    """The cluster of each vector, from 0."""
    if len(vectors) <= FEWEST_LOOKS:
        return np.arange(len(vectors))
    # Of unit vectors the order is that of their cosines, and zeros have a distance too.
    tree = hierarchy.linkage(vectors, method="average", metric="euclidean")
    count = max(FEWEST_LOOKS, len(vectors) // ALIKE)
    found = hierarchy.fcluster(tree, count, criterion="maxclust")
    return np.asarray(found, np.int64) - 1
