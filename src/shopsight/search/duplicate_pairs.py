"""Pairs of images that show one product: nearest neighbors, and from which score on they count.

**Mutual neighbors.** A photo of nothing special is among the nearest of many others. A pair counts
only where each of the two is among the few nearest of the other.

**The threshold** is no constant: cosines of two models are not comparable, and neither are those of
two catalogs. It comes from pairs of which the answer is known. Sorted by falling score, let g(m) be
how many of the first m known pairs show one product. The threshold is the score of the last pair
with g(m) >= .9 m: the largest set of best known pairs of which nine in ten are right. Between two
listings fewer are: photos of one listing were often taken together, and resemble each other more.
So such pairs are proposals, see `duplicate_products`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from shopsight import progress
from shopsight.audit.joined_rows import Pairs
from shopsight.images.thumbnails import LOWEST_CONTRAST_LEVELS, LUMA_BYTES, luma

NEIGHBORS = 3
"""Nearest images among which each of a pair must find the other."""
WANTED_PRECISION = 0.9
FEWEST_KNOWN = 20
"""Known pairs from which a threshold is taken; of fewer, it would be luck."""
KNOWN_KEPT = 0.95
"""Share of the known copies that a threshold taken from them lets through."""
DEFAULT_THRESHOLD = 0.85
"""Where nothing is known of the catalog; of the embedded default, see docs/benchmarks.md."""
VARIANT_CORRELATION = 0.9
"""Of the lumas of two photos of one cut in two colors, which have shading and outline in common."""
VARIANT_CHROMA_LEVELS = 24
"""Largest difference of chroma from which two colors are two; the limit of near duplicates."""

_ROWS_AT_ONCE = 1024

Source = Literal["given", "products", "copies", "default"]


@dataclass(frozen=True)
class Threshold:
    """From which score on two images show one product.

    Attributes:
        score: the cosine.
        source: "given"; "products": pairs of products that the catalog names; "copies": near
            duplicates that the audit found; "default".
        known_pairs: from which it was taken.
    """

    score: float
    source: Source
    known_pairs: int = 0

    def line(self) -> str:
        """Where it comes from, in a sentence."""
        origin = {
            "given": "as given",
            "products": f"nine in ten of {self.known_pairs:,} known pairs are right above it, "
            "fewer between two listings",
            "copies": f"19 in 20 of {self.known_pairs:,} known copies are above it",
            "default": "the catalog has too few known pairs to take one from",
        }
        decided = "" if self.source == "given" else "; other photos are dropped with --threshold"
        return f"one product from a score of {self.score:.3f}: {origin[self.source]}{decided}"


def mutual_pairs(
    vectors: Float32[np.ndarray, "n d"],
    apart: Int64[np.ndarray, "n"],
    *,
    neighbors: int = NEIGHBORS,
    name: str = "Comparing images",
) -> tuple[Pairs, Float32[np.ndarray, "p"]]:
    """Pairs of rows of which each is among the nearest of the other.

    Args:
        vectors: unit vectors.
        apart: a number for each row; rows of equal ones are no pair.
        neighbors: among how many nearest.
        name: of the task that is shown.

    Returns:
        Pairs (smaller row first), best first, equal ones by row; and their cosines.
    """
    count = len(vectors)
    nearest = np.full((count, neighbors), -1, np.int64)
    scores = np.full((count, neighbors), -np.inf, np.float32)
    with progress.task(name, total=count) as advance:
        for start in range(0, count, _ROWS_AT_ONCE):
            some = slice(start, min(start + _ROWS_AT_ONCE, count))
            nearest[some], scores[some] = _nearest(vectors, apart, some, neighbors)
            advance(some.stop - some.start)
    rows = np.repeat(np.arange(count), neighbors)
    is_there = np.isfinite(scores.ravel())
    rows, others, found = rows[is_there], nearest.ravel()[is_there], scores.ravel()[is_there]
    # Each direction is a number; a pair is mutual where that of the other direction is there too.
    is_mutual = np.isin(rows * count + others, others * count + rows) & (rows < others)
    pairs = np.stack([rows[is_mutual], others[is_mutual]], axis=1)
    found = found[is_mutual]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -found))
    return pairs[order], found[order]


def _nearest(
    vectors: Float32[np.ndarray, "n d"],
    apart: Int64[np.ndarray, "n"],
    some: slice,
    neighbors: int,
) -> tuple[Int64[np.ndarray, "s k"], Float32[np.ndarray, "s k"]]:
    cosines = vectors[some] @ vectors.T
    cosines[apart[some, None] == apart[None, :]] = -np.inf
    count = min(neighbors, len(vectors))
    best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(cosines, best, axis=1)
    order = np.lexsort((best, -values), axis=1)
    ids = np.full((len(cosines), neighbors), -1, np.int64)
    scores = np.full((len(cosines), neighbors), -np.inf, np.float32)
    ids[:, :count] = np.take_along_axis(best, order, axis=1)
    scores[:, :count] = np.take_along_axis(values, order, axis=1)
    return ids, scores


def threshold_of_products(
    scores: Float32[np.ndarray, "p"], is_same: Bool[np.ndarray, "p"]
) -> Threshold | None:
    """The lowest score above which nine in ten known pairs show one product.

    Args:
        scores: of pairs of which both products are known.
        is_same: whether they are one.

    Returns:
        None where fewer than `FEWEST_KNOWN` pairs would be above it.
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(is_same[order])
    enough = right >= WANTED_PRECISION * np.arange(1, len(order) + 1)
    # Of equal scores, all are above the threshold or none.
    values = scores[order]
    enough &= np.append(values[1:] != values[:-1], True)[: len(values)]
    last = np.flatnonzero(enough)
    if not len(last) or last[-1] + 1 < FEWEST_KNOWN:
        return None
    return Threshold(float(values[last[-1]]), "products", len(order))


def threshold_of_copies(scores: Float32[np.ndarray, "p"]) -> Threshold | None:
    """The score that all but one in 20 known copies reach; None of fewer than `FEWEST_KNOWN`.

    A copy is nearer than another photo of the product, so that this is a strict threshold: it finds
    few of the other photos.
    """
    if len(scores) < FEWEST_KNOWN:
        return None
    return Threshold(float(np.quantile(scores, 1 - KNOWN_KEPT)), "copies", len(scores))


def are_color_variants(
    a: UInt8[np.ndarray, "p t"], b: UInt8[np.ndarray, "p t"]
) -> Bool[np.ndarray, "p"]:
    """Whether row i of both are thumbnails of one cut, photographed alike, in two colors.

    Outline, folds and seams are in the luma, whose correlation no gain or offset changes: a red
    shirt and a blue one differ there by about a gain. The color is in the chroma. Rows of zeros
    (images too small to compare) are no variants.
    """
    luma_a, luma_b = luma(a), luma(b)
    spread_a, spread_b = luma_a.std(axis=1), luma_b.std(axis=1)
    has_structure = np.minimum(spread_a, spread_b) >= LOWEST_CONTRAST_LEVELS
    product = np.where(has_structure, spread_a * spread_b, 1)
    correlation = (luma_a * luma_b).mean(axis=1) / product
    chroma = np.abs(a[:, LUMA_BYTES:].astype(np.int16) - b[:, LUMA_BYTES:]).max(axis=1, initial=0)
    alike = has_structure & (correlation >= VARIANT_CORRELATION)
    return np.asarray(alike & (chroma > VARIANT_CHROMA_LEVELS))
