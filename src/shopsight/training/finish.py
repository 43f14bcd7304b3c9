"""From trained weights to a bundle: golden outputs, temperature, thresholds, model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from shopsight import progress
from shopsight.bundle.format import BundleInfo
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.images.decode import read_bytes
from shopsight.inference.save import save_bundle
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import PixelSource
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.calibration import fit_temperature, sigmoid
from shopsight.metrics.classification import accuracy
from shopsight.metrics.multilabel import best_thresholds
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import RunFolder

GOLDEN_IMAGES = 8
BATCH = 64


def build_bundle(
    run: RunFolder,
    model: ProductModel,
    *,
    backbone: str,
    width: int,
    started_from: str,
    recipe: Recipe,
    catalog: Catalog,
    source: PixelSource,
) -> None:
    """Write `run.model`, with temperature and thresholds fitted on the validation images.

    Args:
        backbone: the name that rebuilds the architecture.
        width: numbers in an embedding.
        started_from: the weights before training, for the record.
    """
    val = catalog.rows_of("val")
    temperature = 1.0
    thresholds: dict[str, float] = {}
    metrics: dict[str, Any] = {}
    if len(val):
        logits = run_logits(model, source, val, device=recipe.hardware.accelerator)
        targets = catalog.take(val).targets(catalog.labels)
        temperature = fit_temperature(logits, targets)
        metrics["val_images"] = len(val)
        if targets.ndim == 1:
            metrics["val_accuracy"] = accuracy(logits.argmax(1), targets)
        else:
            best = best_thresholds(targets, sigmoid(logits, temperature=temperature))
            thresholds = dict(zip(catalog.labels, best.tolist(), strict=True))
    info = BundleInfo(
        backbone=backbone,
        weights=started_from,
        head=recipe.model.head,
        labels=catalog.labels,
        multilabel=catalog.multilabel,
        preprocess=model.preprocess,
        embedding_dim=width,
        temperature=temperature,
        thresholds=thresholds,
        tta_hflip=model.tta_hflip,
        recipe=recipe.about.title,
        catalog=catalog.name,
        catalog_fingerprint=catalog.fingerprint(),
        synthetic=catalog.synthetic,
    )
    golden_images = [read_bytes(ref) for ref in _golden_refs(catalog)]
    save_bundle(run.model, model, info=info, golden_images=golden_images, metrics=metrics)


def run_logits(
    model: ProductModel, source: PixelSource, rows: Int64[np.ndarray, "n"], *, device: str
) -> Float32[np.ndarray, "n c"]:
    """Logits as prediction will compute them, rows in order."""
    engine = TorchEngine(model, device="cpu" if device == "cpu" else "auto")
    logits = []
    with progress.task("Calibrating", total=len(rows)) as advance:
        for batch in OrderedBatches(source, rows, batch_size=BATCH):
            logits.append(engine.run(batch.images.numpy())[1])
            advance(len(batch.rows))
    model.to("cpu")
    return np.concatenate(logits)


def _golden_refs(catalog: Catalog) -> Sequence[str]:
    """A few files of different labels: the first training image of every so many labels."""
    train = catalog.rows_of("train")
    refs = catalog.refs()
    spread = np.linspace(0, len(train) - 1, min(GOLDEN_IMAGES, len(train))).round().astype(int)
    by_label = train[np.argsort(_first_labels(catalog)[train], kind="stable")]
    return [refs[row] for row in by_label[np.unique(spread)]]


def _first_labels(catalog: Catalog) -> Int64[np.ndarray, "n"]:
    targets = catalog.targets(catalog.labels)
    return targets.argmax(1).astype(np.int64) if targets.ndim == 2 else targets
