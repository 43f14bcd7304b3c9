"""Where a run keeps the features of its images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from shopsight.backbones.spec import Backbone
from shopsight.cache_place import UNTRUSTED, cache_folder, can_keep
from shopsight.inference.features import (
    NUMBER_BYTES,
    FeatureStore,
    create_feature_folder,
    feature_folder,
)
from shopsight.loading.cache import image_keys, pixel_kind
from shopsight.models.build import live_embedding_fingerprint
from shopsight.models.product_model import ProductModel
from shopsight.training.training_run import TrainingRun


def feature_store(
    training: TrainingRun,
    model: ProductModel,
    backbone: Backbone,
    rows: Int64[np.ndarray, "m"],
    *,
    engine: str,
    shared: bool = True,
) -> FeatureStore:
    """Where features are kept: in the cache, for other runs too, or in this run's folder.

    Args:
        training: the run.
        model: the network.
        backbone: what it is built of.
        rows: of the catalog, whose features are wanted.
        engine: what computes them.
        shared: whether other runs have a use for them.
    """
    fingerprint = live_embedding_fingerprint(model, backbone=backbone.name)
    place = {"fingerprint": fingerprint, "pixels": pixel_kind(training.source), "engine": engine}
    keys = image_keys(training.sha256s, training.catalog.boxes())
    dim = backbone.embedding_dim
    root = training.run.path
    keeps = training.recipe.cache.mode != "off" and cache_folder() != UNTRUSTED
    if shared and keeps:
        cached = FeatureStore(feature_folder(cache_folder(), **place), keys, dim)
        lacking = len(cached.missing(rows)) * dim * NUMBER_BYTES
        if not lacking or can_keep(cached.folder, lacking):
            root = cache_folder()
    return FeatureStore(create_feature_folder(root, **place), keys, dim)
