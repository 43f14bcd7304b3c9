"""A teacher: what its outputs are for each view of each image, computed once and kept.

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
import polars as pl
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from shopsight import progress
from shopsight.cache_place import cache_folder, can_keep
from shopsight.catalog.catalog import Catalog
from shopsight.config.augment_settings import AugmentSettings
from shopsight.config.data_settings import CacheSettings
from shopsight.config.recipe import Recipe
from shopsight.errors import ConfigError
from shopsight.files import sha256_bytes
from shopsight.inference.features import (
    NUMBER_BYTES,
    FeatureStore,
    compute_missing,
    create_feature_folder,
    feature_folder,
)
from shopsight.inference.golden import make_golden
from shopsight.inference.load import load
from shopsight.inference.open_network import OpenedNetwork, open_network
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.reference_images import reference_images
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.loading.augment import augment
from shopsight.loading.blob_store import KEY_BYTES, FixedBlobs, Keys
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.loading.offline_augment import identity
from shopsight.models.build import live_embedding_fingerprint
from shopsight.neck_settings import NeckSettings
from shopsight.paths import full, is_folder
from shopsight.preprocess import PadColor, Preprocess
from shopsight.text import counted, listed


def open_teacher(
    recipe: Recipe, labels: Sequence[str], *, may_lose_some: bool = False
) -> OpenedNetwork:
    """Open the teacher of a recipe, and check that it can teach these labels.

    Args:
        recipe: of the student.
        labels: of the student's images.
        may_lose_some: rare or held-out labels are left out later.

    Raises:
        ConfigError: it does not know one of the labels, and they count; or it is an ensemble.
        BundleError: it cannot be opened.
    """
    name = recipe.distill.teacher
    teacher = open_network(name)
    if teacher.info.members > 1:
        raise ConfigError(
            f"the teacher is an ensemble of {teacher.info.members} networks, whose embedding is of "
            "no one space",
            where="distill.teacher",
            fix="name the run of one fold",
        )
    if recipe.distill.reads_answers:
        known = set(teacher.info.labels) if teacher.is_trained else set[str]()
        unknown = set(labels) - known
        if unknown and (not may_lose_some or len(unknown) == len(labels)):
            raise _other_labels(known, unknown, name)
        if recipe.distill.copy_head and not may_lose_some and teacher.info.labels != tuple(labels):
            raise ConfigError(
                f"the teacher's head knows {len(known):,} labels, the student {len(labels):,}",
                where="distill.copy_head",
                fix="--set distill.copy_head=false --set distill.frozen_head_epochs=0",
            )
    return teacher


def _other_labels(known: set[str], unknown: set[str], name: str) -> ConfigError:
    fix = "--set distill.soft_weight=0 --set distill.copy_head=false   (embeddings alone)"
    if not known:
        return ConfigError(
            f"the teacher {name} has no classes: it teaches embeddings alone",
            where="distill.teacher",
            fix=fix,
        )
    return ConfigError(
        f"the teacher {name} does not know {counted(len(unknown), 'label')} of the student's: its "
        "answers would teach that no image has them",
        where="distill.teacher",
        details=[
            *sorted(unknown)[:5],
            f"the teacher knows {listed(sorted(known))}",
        ],
        fix=fix,
    )


def labeled_by_teacher(catalog: Catalog, recipe: Recipe) -> Catalog:
    """Photos without any label, with the teacher's answers as labels; others as they are.

    Raises:
        ConfigError: the teacher has no classes.
        BundleError: it cannot be opened.
    """
    name = recipe.distill.teacher
    if not name or catalog.labels:
        return catalog
    if not is_folder(name):
        raise ConfigError(
            f"the photos have no labels, and the teacher {name} has no classes to give them",
            where="distill.teacher",
            fix="name a run or a bundle as the teacher, or --label COLUMN",
        )
    predictor = load(name, device=recipe.hardware.accelerator)
    if predictor.info.multilabel:
        raise ConfigError(
            "the photos have no labels, and the teacher gives several to each",
            where="distill.teacher",
            fix="shopsight predict TEACHER DATA --out labels.csv   (and read the labels from it)",
        )
    found = predictor.predict(catalog)
    labels = [one.labels[0] if one.labels else None for one in found]
    note = (
        "the labels are the teacher's answers: scores say how often the student answers as the "
        "teacher does"
    )
    progress.notify(note)
    table = catalog.table.drop("label", strict=False).with_columns(
        pl.Series("label", labels, pl.String)
    )
    return catalog.with_table(table).with_notes(note)


def student_recipe(recipe: Recipe, teacher: OpenedNetwork) -> Recipe:
    """The recipe with the layers that reach the teacher's space, and its head where it is copied.

    Raises:
        ConfigError: the recipe's own neck has another width than the teacher's embedding.
    """
    width, neck = teacher.info.embedding_dim, recipe.model.neck
    name = recipe.distill.teacher
    if is_folder(name):
        # The run is resumed from wherever the user is then.
        recipe = recipe.replace(distill={"teacher": full(name)})
    if not recipe.distill.is_into_space:
        return recipe
    if neck.kind in ("none", "bnneck"):
        neck = NeckSettings(kind="linear", embedding_dim=width, pool=neck.pool)
    elif neck.embedding_dim != width:
        raise ConfigError(
            f"the teacher's embedding has {width:,} numbers, the student's "
            f"{neck.embedding_dim or 'as many as its backbone gives'}",
            where="model.neck.embedding_dim",
            fix=f"--set model.neck.embedding_dim={width}",
        )
    head = teacher.info.head if recipe.distill.copy_head else recipe.model.head
    return recipe.replace(model={"neck": neck.model_dump(), "head": head.model_dump()})


def framed_as(teacher: Preprocess, student: Preprocess) -> Preprocess:
    """The student's preprocessing with the teacher's framing: both see the same view."""
    framing = {
        "resize": teacher.resize,
        "crop_fraction": teacher.crop_fraction,
        "pad_color": teacher.pad_color,
        "interpolation": teacher.interpolation,
    }
    return Preprocess.model_validate(student.model_dump() | framing)


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
        plain = open_cache(
            self._catalog, model.preprocess, settings=CacheSettings(), sha256s=self._sha256s
        )
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
