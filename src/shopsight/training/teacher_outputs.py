"""What a teacher gives for each view of each image, computed once and kept.

A teacher whose outputs were kept for one fixed view would answer another question than its student
is asked. So views are seeded: epoch e of the student shows view e modulo V of each image, with the
same random numbers in each replay, and the teacher's embedding of every one of the V views is
kept. Logits are the teacher's head on these, and are not kept.

Source: Beyer et al. 2022, "Knowledge Distillation: A Good Teacher Is Patient and Consistent".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from shopsight import progress
from shopsight.cache_place import cache_folder, can_keep
from shopsight.catalog.catalog import Catalog
from shopsight.config.augment_settings import AugmentSettings
from shopsight.config.data_settings import CacheSettings
from shopsight.config.recipe import Recipe
from shopsight.files import sha256_bytes
from shopsight.inference.features import (
    NUMBER_BYTES,
    FeatureStore,
    compute_missing,
    create_feature_folder,
    feature_folder,
)
from shopsight.inference.golden import make_golden
from shopsight.inference.open_network import OpenedNetwork
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.reference_images import reference_images
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.loading.augment import augment
from shopsight.loading.blob_store import KEY_BYTES, FixedBlobs, Keys
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.loading.offline_augment import identity
from shopsight.models.build import live_embedding_fingerprint
from shopsight.preprocess import PadColor


@dataclass(frozen=True)
class ViewSource:
    """One augmented view of every image; a `PixelSource`.

    Attributes:
        plain: the images as they are.
        settings: what changes them.
        seed: of the random numbers.
        view: number of the view, in place of an epoch.
        fill: color of what a warp uncovers.
    """

    plain: PixelSource
    settings: AugmentSettings
    seed: int
    view: int
    fill: PadColor

    @property
    def size_px(self) -> int:
        """Side of the squares."""
        return self.plain.size_px

    @property
    def mode(self) -> Literal["raw", "jpeg", "off"]:
        """How the plain images are kept."""
        return self.plain.mode

    def __len__(self) -> int:
        return len(self.plain)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        """The view of these rows, the same as training shows at its own size."""
        return augment(
            self.plain.gather(rows),
            identity(rows).ids,
            settings=self.settings,
            seed=self.seed,
            epoch=self.view,
            size_px=self.size_px,
            fill=self.fill,
        )


class Teacher:
    """A teacher at work on the images of a catalog.

    Args:
        opened: see `open_teacher`.
        recipe: resolved, of the student.
        catalog: the student's images.
        sha256s: of each row's file.
        device: where both compute.
        root: a folder for outputs that the cache cannot keep.
    """

    def __init__(
        self,
        opened: OpenedNetwork,
        recipe: Recipe,
        catalog: Catalog,
        sha256s: Sequence[str],
        *,
        device: torch.device,
        root: Path,
    ) -> None:
        self._opened, self._recipe, self._catalog = opened, recipe, catalog
        self._sha256s, self._device, self._root = list(sha256s), device, root
        self._keys = image_keys(self._sha256s, catalog.boxes())
        self._place = {
            "fingerprint": live_embedding_fingerprint(opened.model, backbone=opened.info.backbone),
            "pixels": "views",
            # The engine is not chosen before something has to be computed.
            "engine": f"teacher on {device.type}",
        }
        self._stores: dict[int, FixedBlobs] = {}
        self._position = np.full(len(catalog), -1)
        self.head: nn.Module | None = None
        if recipe.distill.reads_answers:
            order = [opened.info.labels.index(label) for label in catalog.labels]
            self._order = torch.tensor(order, device=device)
            self.head = opened.model.head.eval().to(device)

    @property
    def embedding_dim(self) -> int:
        """Numbers in its embedding."""
        return self._opened.info.embedding_dim

    def prepare(self, rows: Int64[np.ndarray, "n"], views: Sequence[int]) -> None:
        """Compute and keep the embeddings that are missing, and open all of them.

        Stopped at any moment, the next call computes only what is missing.

        Args:
            rows: of the catalog.
            views: numbers of the views.
        """
        stores = {view: self._store(view, rows) for view in views}
        missing = {view: store for view, store in stores.items() if len(store.missing(rows))}
        if missing:
            self._compute(rows, missing)
        self._position[rows] = np.arange(len(rows))
        self._stores = {view: store.blobs(rows) for view, store in stores.items()}

    def outputs(
        self, rows: Int64[np.ndarray, "b"], view: int
    ) -> tuple[Float[Tensor, "b v"], Float[Tensor, "b c"] | None]:
        """Embeddings and logits of a view, on the device; logits where they count."""
        found = self._stores[view].take(self._position[rows])
        embedding = torch.from_numpy(np.array(found, np.float32)).to(self._device)
        if self.head is None:
            return embedding, None
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            logits: Tensor = self.head(embedding)
        return embedding, logits[:, self._order]

    @torch.no_grad()
    def copy_head(self, head: nn.Module) -> None:
        """Give a student's head, of the same kind and labels, the numbers of the teacher's."""
        head.load_state_dict(self._opened.model.head.state_dict())

    def _compute(self, rows: Int64[np.ndarray, "n"], stores: Mapping[int, FeatureStore]) -> None:
        model = self._opened.model
        golden = make_golden(reference_engine(model), reference_images(), model.preprocess)
        engine = TorchEngine(model, device=str(self._device), precision="32")
        engine = fastest_embedding(engine, golden, model.preprocess)
        # Its own size and normalization, in the framing that it shares with the student.
        seen = model.preprocess.model_copy(update={"boxes": self._recipe.framing.boxes})
        plain = open_cache(self._catalog, seen, settings=CacheSettings(), sha256s=self._sha256s)
        for view, store in stores.items():
            progress.notify(f"teacher: view {view + 1} of {self._recipe.distill.views}")
            source = ViewSource(
                plain, self._recipe.augment, self._recipe.seed, view, model.preprocess.pad_color
            )
            compute_missing(engine, source, rows, store=store)
        model.to("cpu")
        if self.head is not None:
            self.head.to(self._device)

    def _store(self, view: int, rows: Int64[np.ndarray, "n"]) -> FeatureStore:
        keys, dim = _view_keys(self._keys, self._recipe, view), self.embedding_dim
        cached = FeatureStore(feature_folder(cache_folder(), **self._place), keys, dim)
        lacking = len(cached.missing(rows)) * dim * NUMBER_BYTES
        root = cache_folder() if not lacking or can_keep(cached.folder, lacking) else self._root
        return FeatureStore(create_feature_folder(root, **self._place), keys, dim)


def _view_keys(keys: Keys, recipe: Recipe, view: int) -> Keys:
    """A key for each image's view: whatever decides its pixels is in it."""
    what = {"augment": recipe.augment.model_dump(mode="json"), "seed": recipe.seed, "view": view}
    salt = json.dumps(what, sort_keys=True).encode()
    made = [
        bytes.fromhex(sha256_bytes(salt + row.to_bytes(8, "little") + key))[:KEY_BYTES]
        for row, key in enumerate(keys.tolist())
    ]
    return np.array(made, dtype=f"S{KEY_BYTES}")
