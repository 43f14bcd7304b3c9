"""From a trained network to its bundle: golden outputs, temperature, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

from shopsight.bundle.format import BundleInfo, Golden
from shopsight.bundle.write import write_bundle
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.images.decode import read_bytes
from shopsight.inference.agreement import Readout
from shopsight.inference.golden import make_golden
from shopsight.inference.torch_engine import reference_engine
from shopsight.metrics.calibration import doubt_after, fit_temperature
from shopsight.metrics.classification import accuracy
from shopsight.metrics.multilabel import best_thresholds
from shopsight.models.build import model_tensors
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import RunFolder
from shopsight.targets import dense_rows, several_labels

GOLDEN_IMAGES = 8


def golden_outputs(model: ProductModel, catalog: Catalog) -> Golden:
    """A few training images of different labels, with the network's outputs for them.

    Raises:
        ImageError: a file has become unreadable since the audit.
    """
    images = [read_bytes(ref, catalog.access) for ref in _golden_refs(catalog)]
    return make_golden(reference_engine(model), images, model.preprocess)


@dataclass(frozen=True)
class Calibration:
    """What is fitted on the validation images, or their absence.

    Attributes:
        temperature: logits are divided by it before they become probabilities.
        doubt: probability that all labels share, see `shopsight.metrics.calibration.doubt_after`.
        thresholds: with several labels per image, the probability from which each is assigned.
        metrics: of the validation images.
    """

    temperature: float = 1.0
    doubt: float = 0.0
    thresholds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float | int] = field(default_factory=dict)

    def readout(self, catalog: Catalog) -> Readout:
        """How the logits of a network of this catalog's labels are read."""
        return Readout.of(
            catalog.labels,
            temperature=self.temperature,
            doubt=self.doubt,
            multilabel=catalog.multilabel,
            thresholds=self.thresholds,
        )


def calibrate(
    logits: Float32[np.ndarray, "v c"], images: Catalog, labels: Sequence[str]
) -> Calibration:
    """Fit temperature and thresholds on the validation images.

    Args:
        logits: of these images, in their order, as prediction computes them.
        images: validation images; there may be none.
        labels: the classes, in the order of the logits.
    """
    if not len(images):
        return Calibration()
    targets = images.targets(labels)
    if several_labels(targets):
        targets = dense_rows(targets, slice(None), num_classes=len(labels))
    temperature, doubt = fit_temperature(logits, targets), doubt_after(len(images))
    if not images.multilabel:
        score = accuracy(logits.argmax(1), targets)
        metrics: dict[str, float | int] = {"val_images": len(images), "val_accuracy": score}
        return Calibration(temperature, doubt, metrics=metrics)
    readout = Readout(temperature, doubt, multilabel=True)
    best = best_thresholds(targets, readout.probabilities(logits))
    thresholds = dict(zip(labels, best.tolist(), strict=True))
    return Calibration(temperature, doubt, thresholds, {"val_images": len(images)})


def build_bundle(
    run: RunFolder,
    model: ProductModel,
    *,
    backbone: str,
    started_from: str,
    recipe: Recipe,
    catalog: Catalog,
    golden: Golden,
    calibration: Calibration,
) -> None:
    """Write the bundle of a run.

    Args:
        run: the folder of the training.
        model: the trained network.
        backbone: the name that rebuilds the architecture.
        started_from: the weights before training, for the record.
        recipe: the resolved recipe.
        catalog: the images that it was trained on.
        golden: see `golden_outputs`.
        calibration: see `calibrate`.
    """
    info = BundleInfo(
        backbone=backbone,
        weights=started_from,
        head=recipe.model.head,
        labels=catalog.labels,
        multilabel=catalog.multilabel,
        preprocess=model.preprocess,
        embedding_dim=golden.embeddings.shape[1],
        temperature=calibration.temperature,
        doubt=calibration.doubt,
        thresholds=calibration.thresholds,
        tta_hflip=model.tta_hflip,
        recipe=recipe.about.title,
        catalog=catalog.name,
        catalog_fingerprint=catalog.fingerprint(),
        synthetic=catalog.synthetic,
    )
    write_bundle(
        run.model,
        tensors=model_tensors(model),
        info=info,
        golden=golden,
        metrics=calibration.metrics,
    )


def _golden_refs(catalog: Catalog) -> Sequence[str]:
    """A few files of different labels: the first training image of every so many labels."""
    train = catalog.rows_of("train")
    refs = catalog.refs()
    spread = np.linspace(0, len(train) - 1, min(GOLDEN_IMAGES, len(train))).round().astype(int)
    by_label = train[np.argsort(_first_labels(catalog)[train], kind="stable")]
    return [refs[row] for row in by_label[np.unique(spread)]]


def _first_labels(catalog: Catalog) -> Int64[np.ndarray, "n"]:
    targets = catalog.targets(catalog.labels)
    if not isinstance(targets, csr_array):
        return targets
    each = np.append(targets.indices, 0)[targets.indptr[:-1]].astype(np.int64)
    first: Int64[np.ndarray, "n"] = np.where(np.diff(targets.indptr) > 0, each, 0)
    return first
