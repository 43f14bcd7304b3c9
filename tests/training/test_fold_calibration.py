"""The calibration of K folds' final network, in the precision in which it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

import shopsight
from shopsight.bundle.read import read_bundle, read_info
from shopsight.config.data_settings import CacheSettings
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import open_cache
from shopsight.metrics.calibration import softmax
from shopsight.metrics.families import Families
from shopsight.metrics.temperature import fit_temperature
from shopsight.models.build import build_model
from shopsight.models.ensemble import EnsembleHead
from shopsight.models.heads import LinearHead
from shopsight.progress import use_listener
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fold_calibration import (
    FoldAnswers,
    ensemble_temperature,
    fold_answers,
    fold_calibrations,
    mean_logits,
    prediction_precision,
)
from tests.helpers import Recorder


def logits_in(precision: EnginePrecision, fold: RunFolder, part: str) -> np.ndarray:
    predictor = shopsight.load(fold.path)
    assert isinstance(predictor.engine, TorchEngine)
    engine, catalog = predictor.engine.at(precision), fold.catalog()
    source = open_cache(
        catalog,
        predictor.preprocess,
        settings=CacheSettings(mode="off"),
        sha256s=fold.audited_catalog().sha256.to_list(),
    )
    return engine.run(source.gather(catalog.rows_of(part)))[1]


def temperature_in(precision: EnginePrecision, fold: RunFolder) -> float:
    catalog = fold.catalog()
    targets = catalog.take(catalog.rows_of("val")).targets(catalog.labels)
    return fit_temperature(logits_in(precision, fold, "val"), targets).value


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_each_fold_has_a_temperature_in_the_precision_of_the_final_network(
    precision: EnginePrecision, tiny_folds_run: Path
) -> None:
    folds = RunFolder(tiny_folds_run).folds()
    usual = [shopsight.load(fold.path).engine.precision for fold in folds]
    recorder = Recorder()
    with use_listener(recorder):
        found = fold_calibrations(folds, precision=precision)
    again = [line for line in recorder.lines if f"calibrated in {precision} too" in line]
    assert len(again) == sum(own != precision for own in usual)
    for fold, one in zip(folds, found, strict=True):
        assert one.temperature == pytest.approx(temperature_in(precision, fold), rel=1e-3)


def test_networks_answer_on_images_that_are_new_to_them(tiny_folds_run: Path) -> None:
    run = RunFolder(tiny_folds_run)
    found = fold_answers(run, run.folds(), precision="32")
    for number, fold in enumerate(run.folds()):
        catalog = fold.catalog()
        assert not found.new[number, catalog.rows_of("train")].any()
        for part in ("val", "test"):
            rows = catalog.rows_of(part)
            assert found.new[number, rows].all()
            own = logits_in("32", fold, part)
            assert found.logits[number, rows] == pytest.approx(own, abs=1e-3)
    assert found.families.num_images == found.new.shape[1]


def test_the_ensemble_is_of_tempered_members_and_calibrated_in_the_precision_that_load_chooses(
    tiny_folds_run: Path,
) -> None:
    run = RunFolder(tiny_folds_run)
    bundle, precision = read_bundle(run.model), shopsight.load(run.path).engine.precision
    golden_images = bundle.golden.images
    found = prediction_precision(build_model(bundle), golden_images, run, bundle.info)
    assert found == precision
    own = [one.temperature for one in fold_calibrations(run.folds(), precision=precision)]
    head = build_model(bundle).head
    assert isinstance(head, EnsembleHead)
    for member, fold, temperature in zip(head.members, run.folds(), own, strict=True):
        alone = build_model(read_bundle(fold.model)).head
        assert isinstance(member, LinearHead)
        assert isinstance(alone, LinearHead)
        torch.testing.assert_close(member.classifier.weight * temperature, alone.classifier.weight)
        torch.testing.assert_close(member.classifier.bias * temperature, alone.classifier.bias)
    expected = ensemble_temperature(
        fold_answers(run, run.folds(), precision=precision).divided(own)
    )
    assert read_info(run.model).temperature == pytest.approx(expected.value, rel=1e-3)
    noted = run.state()["temperature"]
    assert (noted["low"], noted["high"]) == pytest.approx((expected.low, expected.high), rel=1e-3)
    assert bundle.metrics["temperature_low"] == noted["low"]
    card = (run.model / "README.md").read_text(encoding="utf-8")
    assert f"({noted['low']:.2f} to {noted['high']:.2f})" in card


def answers(seed: int, *, folds: int, n: int = 4000, spread: float = 1.2) -> FoldAnswers:
    """Networks that see a common signal, each with errors of its own; all images are new to all."""
    rng = np.random.default_rng(seed)
    signal = 2 * rng.normal(size=(n, 6))
    targets = np.array([rng.choice(6, p=p) for p in softmax(signal)])
    logits = (signal + spread * rng.normal(size=(folds, n, 6))).astype(np.float32)
    return FoldAnswers(logits, np.ones((folds, n), bool), targets, Families.alone(n))


def test_two_networks_say_what_many_need() -> None:
    many = answers(0, folds=8)
    own = [fit_temperature(logits, many.targets).value for logits in many.logits]
    tempered = many.divided(own)
    best = fit_temperature(mean_logits(tempered.logits, multilabel=False), many.targets)
    new = np.zeros((8, 4000), bool)
    # Each image is new to two networks alone.
    for image in range(4000):
        new[[image % 8, (image // 8 + image + 1) % 8], image] = True
    found = ensemble_temperature(
        FoldAnswers(tempered.logits, new, tempered.targets, tempered.families)
    )
    assert best.value < 0.9
    assert found.value == pytest.approx(best.value, abs=0.04)
    assert found.low < best.value < found.high
    assert abs(found.value - best.value) < abs(1.0 - best.value) / 2


def test_without_an_image_that_is_new_to_two_it_is_the_prior_s() -> None:
    few = answers(1, folds=2, n=200)
    new = np.stack([np.arange(200) < 100, np.arange(200) >= 100])
    lone = FoldAnswers(few.logits, new, few.targets, few.families)
    assert lone.pair().families == 0
    assert lone.pair().value == 1.0
    assert lone.single().families == 200


def test_means_are_those_of_the_ensemble() -> None:
    rng = np.random.default_rng(2)
    heads = [LinearHead(4, 3).eval() for _ in range(3)]
    parts = rng.normal(size=(3, 5, 4)).astype(np.float32)
    side_by_side = torch.from_numpy(np.concatenate(list(parts), axis=1))
    with torch.inference_mode():
        own = np.stack(
            [head(torch.from_numpy(p)).numpy() for head, p in zip(heads, parts, strict=True)]
        )
        for multilabel in (False, True):
            whole = EnsembleHead(heads, multilabel=multilabel)(side_by_side).numpy()
            assert mean_logits(own, multilabel=multilabel) == pytest.approx(whole, abs=1e-5)


def test_several_labels_are_fitted_on_their_sparse_rows() -> None:
    rng = np.random.default_rng(3)
    signal = 2 * rng.normal(size=(1500, 4))
    held = csr_array((rng.random((1500, 4)) < 1 / (1 + np.exp(-signal))).astype(np.uint8))
    logits = (signal + rng.normal(size=(3, 1500, 4))).astype(np.float32)
    found = FoldAnswers(logits, np.ones((3, 1500), bool), held, Families.alone(1500))
    assert found.pair().value < found.single().value
