"""The vectors that engines of an index are measured on.

    python bench/index_vectors.py --images FOLDER --cache FOLDER [--mixture 1000000]

Real ones: twelve seeded views (crop, mirror, brightness) of every photo of a folder through the
embedded backbone, its 1,280 numbers turned and cut to 512 by a PCA, as unit vectors. Views of one
photo lie near each other, as photos of one product do. Queries are views that are not in the index.

More of them than there are photos for: a mixture of Gaussians fitted to the real ones (k-means, and
in each cluster the directions in which it spreads). That is no real data, and is said where its
figures stand.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from shopsight.images.decode import decode
from shopsight.images.kinds import IMAGE_SUFFIXES
from shopsight.inference.open_embedder import DEFAULT_MODEL, open_embedder
from shopsight.unit_vectors import unit_vectors

VIEWS, VIEW_PX, DIM = 12, 224, 512
REAL, QUERIES = 100_000, 1_000
CLUSTERS, DIRECTIONS = 400, 48


def view(rgb: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """A square of 55 to 100 % of the shorter side, mirrored in half the cases, lit anew."""
    height, width = rgb.shape[:2]
    side = int(min(height, width) * rng.uniform(0.55, 1.0))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = rgb[top : top + side, left : left + side, :: rng.choice([-1, 1])]
    small = cv2.resize(np.ascontiguousarray(crop), (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_AREA)
    lit = small.astype(np.float32) * rng.uniform(0.8, 1.2) + rng.uniform(-15, 15)
    return np.clip(lit, 0, 255).astype(np.uint8)


def views(photos: list[Path]) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
    """All views, those of one photo one after another."""
    for number, path in enumerate(photos):
        rgb = decode(path.read_bytes(), at_least_px=VIEW_PX)
        rng = np.random.default_rng(number)
        for _ in range(VIEWS):
            yield view(rgb, rng)


def embed_views(images: Path) -> Float32[np.ndarray, "n 1280"]:
    """Their vectors by the embedded backbone."""
    photos = sorted(path for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    embedder = open_embedder(DEFAULT_MODEL, precision="bf16")
    found = []
    for embedding in embedder.embed(views(photos), batch_size=64, on_error="raise"):
        assert embedding.vector is not None
        found.append(embedding.vector)
        if len(found) % 10_000 == 0:
            print(f"{len(found):,} of {len(photos) * VIEWS:,} views embedded", flush=True)
    return np.stack(found)


def real_vectors(
    embedded: Float32[np.ndarray, "n 1280"],
) -> tuple[Float32[np.ndarray, "n 512"], Float32[np.ndarray, "q 512"]]:
    """Those of the index, and the queries."""
    mean = embedded.mean(axis=0)
    _, turned = np.linalg.eigh(np.cov(embedded[::5], rowvar=False))
    reduced = unit_vectors((embedded - mean) @ turned[:, ::-1][:, :DIM])
    rng = np.random.default_rng(0)
    asked = rng.permutation(len(reduced) // VIEWS)[:QUERIES] * VIEWS + VIEWS - 1
    kept = rng.permutation(np.setdiff1d(np.arange(len(reduced)), asked))[:REAL]
    return np.ascontiguousarray(reduced[kept]), np.ascontiguousarray(reduced[asked])


def mixture(
    real: Float32[np.ndarray, "n d"], count: int, *, seed: int
) -> Float32[np.ndarray, "m d"]:
    """Draws of a mixture of Gaussians fitted to real vectors.

    Each cluster has its mean, its `DIRECTIONS` widest directions with their spread, and an equal
    spread in all others, so that its variance is that of the cluster's vectors.
    """
    from sklearn.cluster import MiniBatchKMeans

    fitted = MiniBatchKMeans(CLUSTERS, batch_size=4096, n_init=1, max_iter=20, random_state=0)
    labels = fitted.fit_predict(real[:50_000])
    sizes = np.bincount(labels, minlength=CLUSTERS)
    rng = np.random.default_rng(seed)
    wanted = rng.multinomial(count, sizes / sizes.sum())
    drawn = np.empty((count, real.shape[1]), np.float32)
    start = 0
    for cluster in np.flatnonzero(wanted):
        some = real[:50_000][labels == cluster]
        drawn[start : start + wanted[cluster]] = _gaussian(some, int(wanted[cluster]), rng)
        start += wanted[cluster]
    rng.shuffle(drawn)
    return unit_vectors(drawn)


def _gaussian(
    real: Float32[np.ndarray, "n d"], count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "m d"]:
    mean, dim = real.mean(axis=0), real.shape[1]
    _, spread, directions = np.linalg.svd(real - mean, full_matrices=False)
    widest = min(DIRECTIONS, len(spread))
    deviations = spread[:widest] / np.sqrt(len(real))
    rest = np.sqrt((spread[widest:] ** 2).sum() / len(real) / max(1, dim - widest))
    along = rng.standard_normal((count, widest), np.float32) * deviations
    across = rng.standard_normal((count, dim), np.float32) * rest
    return np.asarray(mean + along @ directions[:widest] + across, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--mixture", type=int, default=0, help="how many vectors of a mixture")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    embedded = options.cache / "embedded.npy"
    if not embedded.exists():
        np.save(embedded, embed_views(options.images).astype(np.float16))
    real, queries = real_vectors(np.load(embedded).astype(np.float32))
    np.save(options.cache / "real.npy", real)
    np.save(options.cache / "real-queries.npy", queries)
    if options.mixture:
        drawn = mixture(real, options.mixture + QUERIES, seed=1)
        np.save(options.cache / "mixture.npy", drawn[QUERIES:])
        np.save(options.cache / "mixture-queries.npy", drawn[:QUERIES])


if __name__ == "__main__":
    main()
