"""Features of one sample of images in several framings, each file decoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from shopsight import progress
from shopsight.backbones.create import create_backbone
from shopsight.cache_place import cache_folder
from shopsight.config.recipe import Recipe
from shopsight.errors import ImageError
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_each
from shopsight.inference.batches import batch_size_of, run_batches
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.features import BATCH_IMAGES, FeatureStore, create_feature_folder
from shopsight.inference.golden import make_golden
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.loading.blob_store import Keys
from shopsight.loading.cache import image_keys
from shopsight.loading.pixel_sources import ImageSet
from shopsight.models.build import live_embedding_fingerprint
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.prefetch import core_count, prefetch
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog

GOLDEN_IMAGES = 8
"""By which a precision is judged."""
_AT_ONCE = 16
"""Images that a thread decodes for all framings: seven squares each."""


class FramingFeatures:
    """Computes what the backbone makes of the images of a catalog, framed in several ways.

    What is computed is kept where the probe looks for it, so that its features of the framing that
    is chosen are there already.

    Args:
        audited: the images.
        recipe: resolved but for the framing.
        device: where to compute.
    """

    def __init__(self, audited: AuditedCatalog, recipe: Recipe, device: str) -> None:
        self._catalog = audited.catalog
        self._shas: list[str] = audited.sha256.to_list()
        self._keys: Keys = image_keys(self._shas, audited.catalog.boxes())
        self._recipe, self._device = recipe, device
        self._precision: EnginePrecision | None = None
        self._golden: list[bytes] = []
        self._engines: dict[Preprocess, TorchEngine] = {}
        self._stores: dict[Preprocess, FeatureStore] = {}

    def compute(
        self,
        framings: Sequence[Preprocess],
        rows: Int64[np.ndarray, "n"],
        *,
        title: str = "Comparing framings",
    ) -> None:
        """Compute what is missing; stopped at any moment, the next call goes on from there.

        Args:
            framings: to compute.
            rows: likewise.
            title: of the progress that is shown.

        Raises:
            ImageError: a file that cannot be decoded, or that changed since the audit.
        """
        if not self._golden:
            refs, access = self._catalog.refs(), self._catalog.access
            self._golden = [read_bytes(refs[row], access) for row in rows[:GOLDEN_IMAGES]]
        for framing in framings:
            self._open(framing)
        lacking = {one: set(self._stores[one].missing(rows).tolist()) for one in framings}
        wanted = np.array(sorted(set().union(*lacking.values())), np.int64)
        total = sum(len(some) for some in lacking.values())
        with progress.task(title, total=total) as advance:
            for some in _pieces(wanted, BATCH_IMAGES):
                squares = self._squares(framings, some)
                for framing in framings:
                    own = [at for at, row in enumerate(some.tolist()) if row in lacking[framing]]
                    if own:
                        self._keep(
                            framing, some[own], np.stack([squares[framing][at] for at in own])
                        )
                    advance(len(own))

    def of(self, framing: Preprocess, rows: Int64[np.ndarray, "n"]) -> Float32[np.ndarray, "n d"]:
        """The features of these rows, which were computed."""
        found = self._stores[framing].blobs(rows).take(np.arange(len(rows)))
        return np.asarray(found, np.float32)

    def _squares(
        self, framings: Sequence[Preprocess], rows: Int64[np.ndarray, "b"]
    ) -> dict[Preprocess, list[UInt8[np.ndarray, "s s 3"]]]:
        images = ImageSet(
            self._catalog.refs(), self._catalog.boxes(), framings[0], self._catalog.access
        )

        def decoded(some: Int64[np.ndarray, "c"]) -> list[list[UInt8[np.ndarray, "_ _ 3"]]]:
            made = []
            for row in some.tolist():
                ref = images.refs[row]
                data = read_bytes(ref, images.access)
                if sha256(data).hexdigest() != self._shas[row]:
                    raise ImageError(
                        "changed", "the file changed since the audit read it", where=ref
                    )
                made.append(preprocess_each(data, framings, box=images.box(row), where=ref))
            return made

        by_framing: dict[Preprocess, list[UInt8[np.ndarray, "s s 3"]]] = {f: [] for f in framings}
        for made in prefetch(decoded, _pieces(rows, _AT_ONCE), threads=core_count()):
            for squares in made:
                for framing, square in zip(framings, squares, strict=True):
                    by_framing[framing].append(square)
        return by_framing

    def _keep(
        self,
        framing: Preprocess,
        rows: Int64[np.ndarray, "b"],
        images: UInt8[np.ndarray, "b s s 3"],
    ) -> None:
        engine = self._engines[framing]
        size = batch_size_of(engine, None, default=BATCH_IMAGES)
        filled = np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])
        ((embeddings, _),) = run_batches(engine, [filled])
        self._stores[framing].add(zip(rows.tolist(), embeddings, strict=False))

    def _open(self, framing: Preprocess) -> None:
        """The network at this size, and where its features are kept."""
        if framing in self._engines:
            return
        settings = self._recipe.model
        backbone = create_backbone(
            settings.backbone,
            weights=settings.weights,
            drop_path=settings.drop_path,
            conv_dropout=settings.conv_dropout,
            size_px=framing.size_px,
            neck=settings.neck,
        )
        head = create_head(
            settings.head,
            embedding_dim=backbone.embedding_dim,
            num_classes=len(self._catalog.labels),
        )
        flips = self._recipe.evaluation.tta_hflip
        model = ProductModel(backbone.module, head, framing, tta_hflip=flips)
        fingerprint = live_embedding_fingerprint(model, backbone=backbone.name)
        engine = self._engine(model)
        folder = create_feature_folder(
            cache_folder(), fingerprint, pixels="raw", engine=engine.name
        )
        self._engines[framing] = engine
        self._stores[framing] = FeatureStore(folder, self._keys, backbone.embedding_dim)

    def _engine(self, model: ProductModel) -> TorchEngine:
        """In the fastest precision that the first framing bears, as the probe would find it."""
        exact = reference_engine(model) if self._precision is None else None
        golden = None if exact is None else make_golden(exact, self._golden, model.preprocess)
        engine = TorchEngine(model, device=self._device, precision="32")
        if golden is not None:
            if self._recipe.training.precision != "32":
                engine = fastest_embedding(engine, golden, model.preprocess)
            self._precision = engine.precision
        return engine.at(self._precision or "32")


def _pieces(rows: Int64[np.ndarray, "n"], size: int) -> Iterator[Int64[np.ndarray, "_"]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
