"""From a trained network to its bundle: golden outputs, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shopsight.backbones.spec import Backbone
from shopsight.backbones.text_tower import bundle_part
from shopsight.bundle.attribute_info import AttributePart
from shopsight.bundle.embedding_space import EmbedsInto
from shopsight.bundle.format import BundleInfo, Golden
from shopsight.bundle.write import write_bundle
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.images.decode import read_bytes
from shopsight.inference.golden import make_golden
from shopsight.inference.torch_engine import reference_engine
from shopsight.models.build import model_tensors
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import RunFolder
from shopsight.targets import first_labels
from shopsight.training.calibrate import Calibration

GOLDEN_IMAGES = 8


def golden_outputs(model: ProductModel, catalog: Catalog) -> Golden:
    """A few training images of different labels, with the network's outputs for them.

    Raises:
        ImageError: a file has become unreadable since the audit.
    """
    images = [read_bytes(ref, catalog.access) for ref in _golden_refs(catalog)]
    return make_golden(reference_engine(model), images, model.preprocess)


def build_bundle(
    run: RunFolder,
    model: ProductModel,
    *,
    backbone: Backbone,
    recipe: Recipe,
    catalog: Catalog,
    golden: Golden,
    calibration: Calibration,
    attributes: AttributePart | None = None,
    embeds_into: tuple[EmbedsInto, ...] = (),
) -> None:
    """Write the bundle of a run.

    Args:
        run: the folder of the training.
        model: the trained network.
        backbone: what its backbone was before training.
        recipe: the resolved recipe.
        catalog: the images that it was trained on.
        golden: see `golden_outputs`.
        calibration: see `shopsight.training.calibrate`.
        attributes: the heads of attributes; None where there are none.
        embeds_into: other spaces that the embeddings may be compared with.
    """
    info = BundleInfo(
        backbone=backbone.name,
        weights=backbone.weights,
        head=recipe.model.head,
        neck=backbone.neck,
        labels=catalog.labels,
        multilabel=catalog.multilabel,
        preprocess=model.preprocess,
        embedding_dim=golden.embeddings.shape[1],
        temperature=calibration.temperature,
        doubt=calibration.doubt,
        thresholds=calibration.thresholds,
        by_product=calibration.by_product,
        tta_hflip=model.tta_hflip,
        recipe=recipe.about.title,
        catalog=catalog.name,
        catalog_fingerprint=catalog.fingerprint(),
        synthetic=catalog.synthetic,
        embeds_into=embeds_into,
    )
    write_bundle(
        run.model,
        tensors=model_tensors(model),
        info=info,
        golden=golden,
        metrics=calibration.metrics | framing_metrics(run),
        text=bundle_part(backbone.text),
        attributes=attributes,
    )


def framing_metrics(run: RunFolder) -> dict[str, Any]:
    """How the framing of a run was chosen, for its bundle; empty where it was not searched."""
    found = run.state().get("framing")
    return {"framing": found} if found else {}


def _golden_refs(catalog: Catalog) -> Sequence[str]:
    """A few files of different labels: the first training image of every so many labels."""
    train = catalog.rows_of("train")
    refs = catalog.refs()
    spread = np.linspace(0, len(train) - 1, min(GOLDEN_IMAGES, len(train))).round().astype(int)
    first = first_labels(catalog.targets(catalog.labels))
    by_label = train[np.argsort(first[train], kind="stable")]
    return [refs[row] for row in by_label[np.unique(spread)]]
