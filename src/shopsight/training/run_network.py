"""The network of a run, on the images that the run was made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Int64

from shopsight.bundle.fingerprint import embedding_fingerprint
from shopsight.cache_place import cache_folder
from shopsight.inference.features import (
    FeatureStore,
    compute_missing,
    create_feature_folder,
    feature_folder,
    run_outputs,
)
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.blob_store import Keys
from shopsight.loading.cache import PixelSource, image_keys, open_cache, pixel_kind
from shopsight.loading.loader import OrderedBatches
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.standard_rows import Features

BATCH_IMAGES = 64


@dataclass(frozen=True, eq=False)
class RunNetwork:
    """A run's network and images.

    Attributes:
        run: the run, or the training of one fold.
        predictor: its bundle.
        source: pixels of its images.
        audited: the images.
    """

    run: RunFolder
    predictor: Predictor
    source: PixelSource
    audited: AuditedCatalog = field(repr=False)

    @classmethod
    def of(cls, run: RunFolder, device: str) -> RunNetwork:
        """Open a finished run.

        Raises:
            BundleError: its model cannot be opened.
            ImageError: an image cannot be decoded, or is not the one that the run was made with.
        """
        audited, predictor = run.audited_catalog(), load(run.path, device=device, engine="torch")
        source = open_cache(
            audited.catalog,
            predictor.preprocess,
            settings=run.recipe().pixel_cache,
            sha256s=audited.sha256.to_list(),
        )
        return cls(run, predictor, source, audited)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.engine.device

    @property
    def engine(self) -> TorchEngine:
        """What computes it."""
        assert isinstance(self.predictor.engine, TorchEngine)
        return self.predictor.engine

    @cached_property
    def _keys(self) -> Keys:
        return image_keys(self.audited.sha256.to_list(), self.audited.catalog.boxes())

    def logits(self, rows: Int64[np.ndarray, "m"]) -> Float32[np.ndarray, "m c"]:
        """The network's own answers."""
        kept = run_outputs(self.run, self.predictor, self.source, rows, keys=self._keys)
        if kept is None:
            batches = OrderedBatches(self.source, rows, batch_size=BATCH_IMAGES)
            kept = self.predictor.predict_batches(batch.images.numpy() for batch in batches)
        none = np.empty((0, len(self.predictor.labels)), np.float32)
        return np.concatenate([none, *(logits for _, logits in kept)])

    def outputs(
        self, rows: Int64[np.ndarray, "m"]
    ) -> tuple[Float32[np.ndarray, "m w"], Float32[np.ndarray, "m c"]]:
        """Embeddings of images, and the network's own answers by its head alone."""
        features = self.features(rows)
        embeddings = np.asarray(features[np.arange(len(rows))], np.float32)
        pieces = [
            self.engine.classify(embeddings[start : start + BATCH_IMAGES])
            for start in range(0, len(rows), BATCH_IMAGES)
        ]
        none = np.empty((0, len(self.predictor.labels)), np.float32)
        return embeddings, np.concatenate([none, *pieces])

    def features(self, rows: Int64[np.ndarray, "m"] | None = None) -> Features:
        """The embeddings of images; what training did not keep is computed, and kept.

        Args:
            rows: which images; None: all.
        """
        fingerprint = embedding_fingerprint(self.predictor.info)
        place = {"pixels": pixel_kind(self.source), "engine": self.engine.name}
        folders = [
            feature_folder(root, fingerprint, **place) for root in (self.run.path, cache_folder())
        ]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            folder = create_feature_folder(cache_folder(), fingerprint, **place)
        store = FeatureStore(folder, self._keys, self.predictor.info.embedding_dim)
        rows = np.arange(len(self.audited)) if rows is None else rows
        compute_missing(self.engine, self.source, rows, store=store)
        return store.blobs(rows)
