"""Embeddings of a network, computed once for each image and kept on disk.

Folds, other seeds, other label columns and later trainings probe the same images with the same
network; calibration and evaluation need what the probe has computed. A feature is a function of
its image, the network and the engine alone: every batch has the same shape, so that the other
images in it cannot change how its sums are ordered. Only where a batch does not fit in memory are
the rest smaller, and may be rounded otherwise.

A store is a folder of blobs (see `shopsight.loading.blob_store`): under the key of an image
(`shopsight.loading.cache.image_keys`) lies its embedding as float32. `about.json` says what the
embeddings were computed with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from shopsight import progress
from shopsight.bundle.fingerprint import embedding_fingerprint
from shopsight.cache_place import cache_folder
from shopsight.files import make_folder, sha256_json, write_json
from shopsight.inference.batches import batch_size_of, reads_pinned, run_batches
from shopsight.inference.engine import Engine, Outputs
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.blob_store import KEY_BYTES, BlobStore, BlobWriter, FixedBlobs, Keys
from shopsight.loading.cache import PixelSource, pixel_kind
from shopsight.loading.loader import OrderedBatches
from shopsight.prefetch import core_count
from shopsight.runs.run_folder import RunFolder
from shopsight.runtime import threads_of_waiting_processes

FEATURES_VERSION = 2
BATCH_IMAGES = 64
NUMBER_BYTES = 4
"""Of each number of a feature: it is fp32."""


@dataclass(frozen=True)
class FeatureStore:
    """The features of one network on disk.

    Attributes:
        folder: Folder of this network alone, see `feature_folder`.
        keys: Key of the image in each catalog row.
        embedding_dim: Numbers in a feature.
    """

    folder: Path
    keys: Keys
    embedding_dim: int

    def missing(self, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "m"]:
        """The first row of each distinct image whose feature is not in the store."""
        _, first = np.unique(self.keys[rows], return_index=True)
        distinct = rows[np.sort(first)]
        return distinct[BlobStore.read(self.folder).find(self.keys[distinct])[0] < 0]

    def add(self, features: Iterator[tuple[int, Float32[np.ndarray, "w"]]]) -> None:
        """Keep features, given with their rows; those that came before an exception stay."""
        make_folder(self.folder)
        with BlobWriter(self.folder) as writer:
            for row, feature in features:
                writer.add(self.keys[row].ljust(KEY_BYTES, b"\0"), feature.tobytes())

    def blobs(self, rows: Int64[np.ndarray, "n"]) -> FixedBlobs:
        """The features of these rows, memory-mapped; all of them must be in the store."""
        store = BlobStore.read(self.folder)
        return FixedBlobs(store, self.keys[rows], np.float32, (self.embedding_dim,))


def feature_folder(root: Path, fingerprint: str, *, pixels: str, engine: str) -> Path:
    """The folder for the features of one network, which need not exist.

    Args:
        root: Holds the folder "features": the cache, or a run.
        fingerprint: Fingerprint of the network's embeddings, see `shopsight.bundle.fingerprint`.
        pixels: "raw", or "jpeg": compression changes the pixels.
        engine: The engine's name: its device and precision change the features.
    """
    key = sha256_json(_about(fingerprint, pixels, engine))
    return root / "features" / key[:16]


def create_feature_folder(root: Path, fingerprint: str, *, pixels: str, engine: str) -> Path:
    """`feature_folder`, which exists and says in `about.json` what it is for."""
    folder = feature_folder(root, fingerprint, pixels=pixels, engine=engine)
    about = folder / "about.json"
    if not about.is_file():
        write_json(about, _about(fingerprint, pixels, engine))
    return folder


def _about(fingerprint: str, pixels: str, engine: str) -> dict[str, str | int]:
    return {
        "version": FEATURES_VERSION,
        "fingerprint": fingerprint,
        "pixels": pixels,
        "engine": engine,
        # Another release may compute a layer in another order, or build it otherwise.
        "torch": version("torch"),
        "timm": version("timm"),
    }


def compute_missing(
    engine: Engine, source: PixelSource, rows: Int64[np.ndarray, "m"], *, store: FeatureStore
) -> None:
    """Compute the features of the rows that the store lacks.

    Stopped at any moment, the next call computes only what is still missing.
    """
    missing = store.missing(rows)
    if len(missing) < len(rows):
        progress.notify(f"Features: {len(rows) - len(missing):,} of {len(rows):,} are in the cache")
    if len(missing):
        # With several training processes, the first one does this alone.
        with threads_of_waiting_processes(core_count()):
            store.add(_computed(engine, source, missing))


def stored_outputs(
    engine: TorchEngine, source: PixelSource, rows: Int64[np.ndarray, "m"], *, store: FeatureStore
) -> Iterator[Outputs]:
    """Stored features of the rows, in order and in batches, with the engine's head on them."""
    compute_missing(engine, source, rows, store=store)
    features = store.blobs(rows)
    for first in range(0, len(rows), BATCH_IMAGES):
        batch = np.arange(first, min(first + BATCH_IMAGES, len(rows)))
        some = features.take(batch)
        yield some, engine.classify(some)


def run_outputs(
    run: RunFolder,
    predictor: Predictor,
    source: PixelSource,
    rows: Int64[np.ndarray, "m"],
    *,
    keys: Keys,
) -> Iterator[Outputs] | None:
    """Embeddings and logits of rows of a run's own catalog, as its training has kept them.

    Features that the store lacks are computed and kept.

    Args:
        run: A finished run.
        predictor: The run's bundle.
        source: Pixels of the run's catalog.
        rows: Rows of the catalog.
        keys: Key of the image in each row of the catalog.

    Returns:
        Batches in the order of the rows; None where training has kept no features of these
        weights on this device and in this precision.
    """
    engine, info = predictor.engine, predictor.info
    if not isinstance(engine, TorchEngine):
        return None
    fingerprint = embedding_fingerprint(info)
    for root in (run.path, cache_folder()):
        folder = feature_folder(root, fingerprint, pixels=pixel_kind(source), engine=engine.name)
        if folder.is_dir():
            store = FeatureStore(folder, keys, info.embedding_dim)
            return stored_outputs(engine, source, rows, store=store)
    return None


def _computed(
    engine: Engine, source: PixelSource, rows: Int64[np.ndarray, "m"]
) -> Iterator[tuple[int, Float32[np.ndarray, "w"]]]:
    """The embedding of each row, given with the row."""
    size = batch_size_of(engine, None, default=BATCH_IMAGES)
    pin_memory = reads_pinned(engine)
    batches = OrderedBatches(source, rows, batch_size=size, pin_memory=pin_memory)
    images = (_filled_up(batch.images.numpy(), size) for batch in batches)
    with progress.task("Features", total=len(rows)) as advance:
        done = 0
        for embeddings, _ in run_batches(engine, images):
            batch_rows = rows[done : done + size].tolist()
            yield from zip(batch_rows, embeddings, strict=False)
            done += len(batch_rows)
            advance(len(batch_rows))


def _filled_up(
    images: UInt8[np.ndarray, "b s s 3"], size: int
) -> UInt8[np.ndarray, "{size} s s 3"]:
    """The batch with its last image repeated, up to the size of all others."""
    if len(images) == size:
        return images
    return np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])
