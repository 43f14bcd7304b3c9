"""Scoring the search of a large catalog: time and the peak of memory, exact and in blocks.

    python bench/retrieval_memory.py --folder FOLDER [--gallery 1000000] [--queries 100000]
        [--dim 512] [--all-at-once 100]

The vectors are drawn, **no real data**: products with four photos in the gallery, and one more of
some of them as queries; float16 in files below FOLDER, as an index stores them. They are read, made
float32 and scored as `shopsight evaluate INDEX --queries DATA` does, in a process of its own whose
peak the kernel says (Linux).

The other way scores some of the queries with all of their scores and ranks in memory at once; what
it would take for all queries is extrapolated. Both give the same numbers, or this ends with an
error.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from shopsight.metrics.retrieval import RankedQueries, exact_rankings, score_rankings
from shopsight.unit_vectors import unit_vectors

PHOTOS, NOISE, AT_ONCE = 4, 1.6, 50_000
SHOWN = ("recall_at_1", "mean_average_precision", "contest_map_at_1000")


def draw(folder: Path, gallery: int, queries: int, dim: int) -> None:
    """Products are directions, photos of one lie around it; queries are of the first products."""
    rng = np.random.default_rng(0)
    products = gallery // PHOTOS
    centers = rng.standard_normal((products, dim), np.float32)

    def write(name: str, of_product: Int64[np.ndarray, "n"]) -> None:
        file = np.lib.format.open_memmap(folder / name, "w+", np.float16, (len(of_product), dim))
        for start in range(0, len(of_product), AT_ONCE):
            some = of_product[start : start + AT_ONCE]
            noise = NOISE * rng.standard_normal((len(some), dim), np.float32)
            file[start : start + len(some)] = unit_vectors(centers[some] + noise)
        file.flush()

    of_gallery = rng.permutation(np.repeat(np.arange(products), PHOTOS))
    np.save(folder / "gallery-products.npy", of_gallery)
    write("gallery.npy", of_gallery)
    write("queries.npy", np.arange(queries) % products)


def read(file: Path, rows: int | None = None) -> Float32[np.ndarray, "n d"]:
    stored = np.load(file, mmap_mode="r")[:rows]
    found = np.empty(stored.shape, np.float32)
    for start in range(0, len(stored), AT_ONCE):
        found[start : start + AT_ONCE] = stored[start : start + AT_ONCE]
    return found


def in_blocks(folder: Path, rows: int) -> RankedQueries:
    queries, gallery = read(folder / "queries.npy", rows), read(folder / "gallery.npy")
    of_gallery = np.load(folder / "gallery-products.npy")
    asked = np.arange(len(queries)) % (len(gallery) // PHOTOS)
    found = exact_rankings(queries, gallery, query_groups=asked, gallery_groups=of_gallery)
    return score_rankings(found, len(queries))


def all_at_once(folder: Path, rows: int) -> RankedQueries:
    queries, gallery = read(folder / "queries.npy", rows), read(folder / "gallery.npy")
    of_gallery = np.load(folder / "gallery-products.npy")
    scores = queries @ gallery.T
    order = np.argsort(-scores, axis=1, kind="stable")
    relevant = of_gallery[order] == (np.arange(len(queries)) % (len(gallery) // PHOTOS))[:, None]
    ranked = ((row, 1 + np.flatnonzero(hits), PHOTOS) for row, hits in enumerate(relevant))
    return score_rankings(ranked, len(queries))


def measured(folder: Path, way: str, rows: int) -> dict[str, float]:
    """One way in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--one", way, "--rows", str(rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{way}, {rows:,} queries: {json.dumps(found)}", flush=True)
    return found


def one_way(folder: Path, way: str, rows: int) -> dict[str, float]:
    started = time.perf_counter()
    ranked = (in_blocks if way == "in blocks" else all_at_once)(folder, rows)
    seconds = time.perf_counter() - started
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    scores = {name: float(ranked.values[name].mean()) for name in SHOWN}
    return {"seconds": round(seconds, 1), "peak_gb": round(peak_gb, 2), **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gallery", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--all-at-once", type=int, default=100)
    parser.add_argument("--one", choices=("in blocks", "all at once"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_way(options.folder, options.one, options.rows)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    draw(options.folder, options.gallery, options.queries, options.dim)
    few = options.all_at_once
    ours, other = (measured(options.folder, way, few) for way in ("in blocks", "all at once"))
    for name in SHOWN:
        np.testing.assert_allclose(ours[name], other[name], atol=1e-4)
    whole = measured(options.folder, "in blocks", options.queries)
    seconds = other["seconds"] * options.queries / few
    print(
        f"{options.queries:,} x {options.gallery:,} x {options.dim}: {whole['seconds']:,.0f} s, "
        f"{whole['peak_gb']:.2f} GB; all at once by the number of queries: {seconds:,.0f} s, "
        f"{4e-9 * options.queries * options.gallery:,.0f} GB for the scores alone"
    )


if __name__ == "__main__":
    main()
