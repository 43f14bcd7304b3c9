"""Features of the frozen network, computed once for each image and kept on disk.

Folds, other seeds, other label columns and later trainings probe the same images with the same
network. A feature is a function of its image and the network alone: every batch has the same
shape, so that it does not matter which other images are in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from shopsight import progress
from shopsight.files import sha256_bytes, write_json
from shopsight.inference.engine import Engine
from shopsight.loading.blob_store import KEY_BYTES, BlobStore, BlobWriter, FixedBlobs, Keys
from shopsight.loading.cache import PixelSource
from shopsight.loading.loader import OrderedBatches

FEATURES_VERSION = 2
BATCH_IMAGES = 64


@dataclass(frozen=True)
class FeatureStore:
    """The features of one network on disk.

    Attributes:
        folder: of this network alone, see `feature_folder`.
        keys: of each catalog row's image.
        width: of a feature.
    """

    folder: Path
    keys: Keys
    width: int

    def missing(self, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "m"]:
        """The first row of each distinct image whose feature is not there."""
        _, first = np.unique(self.keys[rows], return_index=True)
        distinct = rows[np.sort(first)]
        return distinct[BlobStore.read(self.folder).find(self.keys[distinct])[0] < 0]

    def add(self, features: Iterator[tuple[int, Float32[np.ndarray, "w"]]]) -> None:
        """Keep the features of these rows; those that came before an exception stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with BlobWriter(self.folder) as writer:
            for row, feature in features:
                writer.add(self.keys[row].ljust(KEY_BYTES, b"\0"), feature.tobytes())

    def read(self, rows: Int64[np.ndarray, "n"]) -> Float32[np.ndarray, "n w"]:
        """The features of these rows, all of which must be there."""
        blobs = FixedBlobs(BlobStore.read(self.folder), self.keys[rows], np.float32, (self.width,))
        return blobs.take(np.arange(len(rows)))


def feature_folder(root: Path, fingerprint: str, *, pixels: str, computes: str) -> Path:
    """The folder for the features of one network, with a note that says which.

    Args:
        root: Of the cache.
        fingerprint: Of the network's embeddings, see `shopsight.bundle.fingerprint`.
        pixels: How the images are kept ("jpeg" changes them).
        computes: The engine's name: its precision changes the features.
    """
    about = {
        "version": FEATURES_VERSION,
        "fingerprint": fingerprint,
        "pixels": pixels,
        "computes": computes,
        # Another release may compute a layer in another order, or build it otherwise.
        "torch": version("torch"),
        "timm": version("timm"),
    }
    key = sha256_bytes(json.dumps(about, sort_keys=True).encode())
    folder = root / "features" / key[:16]
    if not folder.is_dir():
        folder.mkdir(parents=True)
        write_json(folder / "about.json", about)
    return folder


def extract_features(
    engine: Engine,
    source: PixelSource,
    rows: Int64[np.ndarray, "rows"],
    *,
    store: FeatureStore | None = None,
) -> Float[Tensor, "rows width"]:
    """Embeddings of the rows (at least one), in order, as prediction computes them.

    Args:
        store: where they are looked for first, and kept. Stopped at any moment, the next call
            goes on from what is there.
    """
    if store is None:
        return torch.from_numpy(
            np.stack([feature for _, feature in _computed(engine, source, rows)])
        )
    missing = store.missing(rows)
    if len(missing) < len(rows):
        progress.notify(f"Features: {len(rows) - len(missing):,} of {len(rows):,} are in the cache")
    if len(missing):
        store.add(_computed(engine, source, missing))
    return torch.from_numpy(store.read(rows))


def _computed(
    engine: Engine, source: PixelSource, rows: Int64[np.ndarray, "n"]
) -> Iterator[tuple[int, Float32[np.ndarray, "w"]]]:
    with progress.task("Features", total=len(rows)) as advance:
        for batch in OrderedBatches(source, rows, batch_size=BATCH_IMAGES):
            images = batch.images.numpy()
            short = BATCH_IMAGES - len(images)
            if short:
                images = np.concatenate([images, np.repeat(images[-1:], short, axis=0)])
            embedding, _ = engine.run(images)
            yield from zip(batch.rows.tolist(), embedding, strict=False)
            advance(len(batch.rows))
