"""The calibration of K folds' final network, in the precision in which it predicts."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

import shopsight
from shopsight.bundle.read import read_bundle, read_info
from shopsight.config.sections import CacheSettings
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import open_cache
from shopsight.metrics.temperature import fit_temperature
from shopsight.models.build import build_model
from shopsight.progress import use_listener
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fold_calibration import median_calibration, prediction_precision
from tests.helpers import Recorder


def temperature_in(precision: EnginePrecision, fold: RunFolder) -> float:
    predictor = shopsight.load(fold.path)
    assert isinstance(predictor.engine, TorchEngine)
    engine, catalog = predictor.engine.at(precision), fold.catalog()
    val = catalog.rows_of("val")
    source = open_cache(
        catalog,
        predictor.preprocess,
        settings=CacheSettings(mode="off"),
        sha256s=fold.audited_catalog().sha256.to_list(),
    )
    _, logits = engine.run(source.gather(val))
    return fit_temperature(logits, catalog.take(val).targets(catalog.labels)).value


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_median_is_of_temperatures_in_the_precision_of_the_final_network(
    precision: EnginePrecision, tiny_folds_run: Path
) -> None:
    folds = RunFolder(tiny_folds_run).folds()
    usual = [shopsight.load(fold.path).engine.precision for fold in folds]
    recorder = Recorder()
    with use_listener(recorder):
        found = median_calibration(folds, precision=precision)
    again = [line for line in recorder.lines if f"calibrated in {precision} too" in line]
    assert len(again) == sum(own != precision for own in usual)
    expected = statistics.median(temperature_in(precision, fold) for fold in folds)
    assert found["temperature"] == pytest.approx(expected, rel=1e-3)
    assert found["thresholds"] == {}


def test_the_ensemble_is_calibrated_in_the_precision_that_load_chooses(
    tiny_folds_run: Path,
) -> None:
    run = RunFolder(tiny_folds_run)
    bundle, precision = read_bundle(run.model), shopsight.load(run.path).engine.precision
    golden_images = bundle.golden.images
    found = prediction_precision(build_model(bundle), golden_images, run, bundle.info)
    assert found == precision
    median = median_calibration(run.folds(), precision=precision)
    assert read_info(run.model).temperature == pytest.approx(median["temperature"])
