"""Temperature and thresholds of a network without validation images, from those of the folds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from shopsight import progress
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import read_bundle, read_info
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.golden import make_golden
from shopsight.inference.load import load
from shopsight.inference.pick_precision import fastest_faithful
from shopsight.inference.predictor import Predictor, readout_of
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.loading.cache import open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.temperature import Temperature, doubt_after
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import RunFolder
from shopsight.training.calibrate import Calibration, calibrate

BATCH_IMAGES = 64


def median_calibration(folds: Sequence[RunFolder], *, precision: EnginePrecision) -> dict[str, Any]:
    """The medians of the folds' temperatures and thresholds, and the doubt of all their images.

    Each was fitted on images that its network did not train on. Neither the networks together nor
    one that was trained on everything have such images.

    Args:
        folds: the finished runs.
        precision: what the network that gets them will predict in. A fold that was calibrated in
            another one is calibrated again.

    Returns:
        The fields of `BundleInfo`.
    """
    found = [_calibration_in(precision, fold) for fold in folds]
    return {
        "temperature": statistics.median(one.temperature for one in found),
        "doubt": doubt_after(sum(int(one.metrics.get("val_images", 0)) for one in found)),
        "thresholds": {
            label: statistics.median(one.thresholds[label] for one in found)
            for label in found[0].thresholds
        },
    }


def prediction_precision(
    model: ProductModel, golden_images: Sequence[bytes], run: RunFolder, info: BundleInfo
) -> EnginePrecision:
    """The precision that `shopsight.load` will choose for a K-fold run's network on this machine.

    Args:
        model: the network.
        golden_images: of its bundle.
        run: the run of K folds, whose images judge it.
        info: of the bundle of one of its members.
    """
    golden = make_golden(reference_engine(model), golden_images, model.preprocess)
    exact = TorchEngine(model, precision="32")
    return fastest_faithful(
        exact,
        golden,
        model.preprocess,
        readout_of(info),
        images_file=run.find_precision_images(),
    ).precision


def _calibration_in(precision: EnginePrecision, fold: RunFolder) -> Calibration:
    engine = load(fold.path, verify=False).engine
    assert isinstance(engine, TorchEngine)
    info = read_info(fold.model)
    if engine.precision == precision:
        metrics = read_bundle(fold.model).metrics
        return Calibration(
            Temperature(info.temperature), info.doubt, dict(info.thresholds), metrics
        )
    progress.notify(f"{fold.path}: calibrated in {precision} too, as the final network predicts")
    predictor, audited = Predictor(engine.at(precision), info), fold.audited_catalog()
    catalog = audited.catalog
    source = open_cache(
        catalog,
        predictor.preprocess,
        settings=fold.recipe().cache,
        sha256s=audited.sha256.to_list(),
    )
    batches = OrderedBatches(source, catalog.rows_of("val"), batch_size=BATCH_IMAGES)
    logits = predictor.predict_batches(batch.images.numpy() for batch in batches)
    val = catalog.take(catalog.rows_of("val"))
    return calibrate((some for _, some in logits), val, info.labels)
