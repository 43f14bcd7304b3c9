"""The embeddings of a catalog by a network that is in memory, kept in the cache for the next time.

They are the probe's features (`shopsight.inference.features`): what `train` has computed with the
same network is found here, and what is computed here is found by `train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float32

from shopsight.cache_place import cache_folder, can_keep
from shopsight.catalog.catalog import Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.files import scratch_folder
from shopsight.inference.features import (
    NUMBER_BYTES,
    FeatureStore,
    compute_missing,
    create_feature_folder,
    feature_folder,
)
from shopsight.inference.golden import make_golden
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.reference_images import reference_images
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.loading.cache import image_keys, open_cache, pixel_kind
from shopsight.models.build import live_embedding_fingerprint
from shopsight.models.product_model import ProductModel


def kept_embeddings(
    model: ProductModel,
    catalog: Catalog,
    sha256s: Sequence[str],
    *,
    backbone: str,
    device: str = "auto",
) -> Float32[np.ndarray, "n d"]:
    """The embedding of each row, not of unit length; each distinct image is computed once.

    Stopped at any moment, the next call computes only what is missing.

    Args:
        model: in eval mode, on the CPU; it may be moved to the device.
        catalog: images that can all be decoded.
        sha256s: of each row's file.
        backbone: name that rebuilds the architecture.
        device: see `shopsight.devices`.
    """
    golden = make_golden(reference_engine(model), reference_images(), model.preprocess)
    fingerprint = live_embedding_fingerprint(model, backbone=backbone)
    engine = TorchEngine(model, device=device, precision="32")
    engine = fastest_embedding(engine, golden, model.preprocess)
    source = open_cache(
        catalog, model.preprocess, settings=CacheSettings(mode="off"), sha256s=sha256s
    )
    place = {"fingerprint": fingerprint, "pixels": pixel_kind(source), "engine": engine.name}
    keys = image_keys(sha256s, catalog.boxes())
    rows, dim = np.arange(len(catalog)), golden.embeddings.shape[1]
    cached = FeatureStore(feature_folder(cache_folder(), **place), keys, dim)
    with _store(cached, place, rows) as store:
        compute_missing(engine, source, rows, store=store)
        return np.asarray(store.blobs(rows).take(rows), np.float32)


@contextmanager
def _store(cached: FeatureStore, place: dict[str, str], rows: np.ndarray) -> Iterator[FeatureStore]:
    """The store in the cache, or where the disk has no room for it, one that is gone at the end."""
    lacking = len(cached.missing(rows)) * cached.embedding_dim * NUMBER_BYTES
    if not lacking or can_keep(cached.folder, lacking):
        create_feature_folder(cache_folder(), **place)
        yield cached
        return
    with scratch_folder(cache_folder() / "adapt") as scratch:
        yield FeatureStore(
            create_feature_folder(scratch, **place), cached.keys, cached.embedding_dim
        )
