"""Re-ranking each query on its own candidates, against all queries and the whole gallery at once.

    python bench/bench_rerank.py [--queries 10000] [--candidates 100] [--whole 1000 2000 4000]

The other one is the published way (Zhong et al. 2017): distances between all of queries and gallery
together, N x N of them. It is run on growing numbers of points, since 20,000 of them would take
13 GB in its three float32 matrices alone; what it would take is extrapolated by the square.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from shopsight.metrics.rerank import rerank_distances
from shopsight.unit_vectors import unit_vectors

DIM, PHOTOS = 128, 8


def points(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(count // PHOTOS, DIM))
    return unit_vectors(np.repeat(centers, PHOTOS, axis=0) + 1.2 * rng.normal(size=(count, DIM)))


def own_candidates(queries: int, candidates: int) -> None:
    """Every query with its candidates, which a search has found."""
    gallery = points(queries)
    for start in range(0, queries, 500):
        scores = gallery[start : start + 500] @ gallery.T
        near = np.argpartition(-scores, candidates, axis=1)[:, :candidates]
        for row, found in enumerate(near):
            rerank_distances(gallery[start + row], gallery[found])


def everything(count: int, k1: int = 20, k2: int = 6) -> None:
    """The published way, on `count` points that are queries and gallery."""
    features = points(count)
    distances = 2 - 2 * features @ features.T
    order = np.argsort(distances, axis=1).astype(np.int32)
    encoded = np.zeros_like(distances)
    for row in range(count):
        near = order[row, : k1 + 1]
        whole = near[np.any(order[near, : k1 + 1] == row, axis=1)]
        expanded = whole
        for other in whole:
            far = order[other, : round(k1 / 2) + 1]
            half = far[np.any(order[far, : round(k1 / 2) + 1] == other, axis=1)]
            if len(np.intersect1d(half, whole)) > 2 / 3 * len(half):
                expanded = np.append(expanded, half)
        expanded = np.unique(expanded)
        weights = np.exp(-distances[row, expanded])
        encoded[row, expanded] = weights / weights.sum()
    averaged = np.stack([encoded[order[row, :k2]].mean(axis=0) for row in range(count)])
    for row in range(count):
        least = np.minimum(averaged[row], averaged).sum(axis=1)
        1 - least / (2 - least)


def measured(name: str, work: Callable[[], None]) -> tuple[float, float]:
    tracemalloc.start()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    print(f"{name:44}  {seconds:8.1f} s  {peak:8,.0f} MB", flush=True)
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--whole", type=int, nargs="+", default=[1000, 2000, 4000])
    options = parser.parse_args()
    count, few = options.queries, options.candidates
    seconds, peak = measured(
        f"own candidates, {count:,} x {few}", lambda: own_candidates(count, few)
    )
    for size in options.whole:
        last = measured(f"all at once, {size:,} points", lambda size=size: everything(size))
    factor = (count / options.whole[-1]) ** 2
    print(
        f"all at once at {count:,}, by the square: {last[0] * factor:,.0f} s "
        f"({last[0] * factor / seconds:.1f}x), {last[1] * factor:,.0f} MB "
        f"({last[1] * factor / peak:.0f}x)"
    )


if __name__ == "__main__":
    main()
