"""The verdict on confidence, with its figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from shopsight.metrics.calibration import expected_calibration_error
from shopsight.metrics.calibration_check import CalibrationCheck, calibration_check, wide_starts
from shopsight.metrics.families import Families
from shopsight.metrics.label_calibration import label_calibration_check
from tests.metrics.test_label_ranking import InMemory


def check(
    *, n: int = 1000, off: float = 0.0, tilt: float = 0.0, families: Families | None = None
) -> CalibrationCheck:
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.3, 1.0, n)
    correct = rng.random(n) < confidence - off - tilt * (confidence - 0.65)
    return calibration_check(
        confidence,
        correct,
        rng.integers(0, 3, n),
        families or Families.alone(n),
        num_classes=3,
    )


def test_the_verdicts() -> None:
    assert check().verdict_text == "cannot be distinguished from calibrated"
    over = check(off=0.1)
    assert over.verdict == "over-confident"
    assert over.gap.low < 0.1 < over.gap.high
    low, high = 100 * over.gap.low, 100 * over.gap.high
    points = f"{100 * over.gap.value:.1f} points ({low:.1f} to {high:.1f})"
    assert over.verdict_text == f"over-confident by {points}"
    under = check(off=-0.1)
    assert under.verdict == "under-confident"
    low, high = -100 * under.gap.high, -100 * under.gap.low
    assert under.verdict_text.endswith(f" points ({low:.1f} to {high:.1f})")
    assert check(n=4000, tilt=0.5).verdict == "uneven"


def test_few_families_have_no_verdict_and_the_reason() -> None:
    found = check(families=Families(np.arange(1000) % 4))
    assert found.verdict == "unknown"
    assert found.verdict_text == "not compared with chance (4 families: 5 are needed)"
    written = json.loads(json.dumps(found.to_json("abc"), allow_nan=False))
    assert written["p_value"] is None
    assert written["gap"]["low"] is None


def test_images_that_are_all_right_are_not_under_confident() -> None:
    # Residuals hardly differ: their own spread would make a gap of 1 % certain.
    n = 40
    found = calibration_check(
        np.full(n, 0.99), np.ones(n, bool), np.zeros(n, np.int64), Families.alone(n), num_classes=1
    )
    assert found.verdict == "calibrated"
    assert found.gap.low < 0 < found.gap.high


def test_the_line_has_the_error_beside_chance() -> None:
    found = check(n=200)
    assert found.line == (
        f"calibration error {100 * found.error:.1f} %, by chance alone "
        f"{100 * found.by_chance:.1f} %: cannot be distinguished from calibrated"
    )
    assert 0.5 < found.error / found.by_chance < 2


def test_bins_are_joined_until_they_have_enough() -> None:
    assert wide_starts(np.array([3, 0, 18, 30, 5, 40, 2])).tolist() == [0, 3, 4]
    assert wide_starts(np.array([3, 0])).tolist() == [0]
    found = check(n=120)
    assert (found.wide_bins.count >= 20).all()
    assert found.wide_bins.count.sum() == 120
    whole = (found.wide_bins.accuracy * found.wide_bins.count).sum() / 120
    counted = np.nansum(found.bins.accuracy * found.bins.count) / 120
    assert whole == pytest.approx(counted)
    low, high = found.band
    assert (low <= found.wide_bins.confidence).all()
    assert (high >= found.wide_bins.confidence).all()


def labels(seed: int, *, off: float, n: int = 600) -> tuple[csr_array, InMemory]:
    """Six labels; the first has `off` less than it says. Three images are copies of one another."""
    rng = np.random.default_rng(seed)
    stated = np.repeat(rng.beta(0.5, 2.0, (n // 3, 6)), 3, axis=0)
    truth = stated.copy()
    truth[:, 0] = np.maximum(0, truth[:, 0] - off)
    held = np.repeat(rng.random((n // 3, 6)), 3, axis=0) < truth
    return csr_array(held.astype(np.uint8)), InMemory(stated.astype(np.float32))


def test_labels_count_whole_families() -> None:
    families = Families.by(np.arange(600) // 3)
    verdicts, named = [], []
    for seed in range(40):
        targets, scores = labels(seed, off=0.0)
        found = label_calibration_check(targets, scores, families)
        verdicts.append(found.verdict)
        named += found.classes.off.tolist()
    assert verdicts.count("calibrated") >= 34
    assert len(named) <= 6
    alone = [
        label_calibration_check(*labels(seed, off=0.0), Families.alone(600)).verdict
        for seed in range(40)
    ]
    assert alone.count("calibrated") < verdicts.count("calibrated")


def test_a_label_that_is_off_is_named() -> None:
    targets, scores = labels(1, off=0.15)
    found = label_calibration_check(targets, scores, Families.by(np.arange(600) // 3))
    assert found.classes.off.tolist() == [0]
    table = scores.of_labels(0, 6).T
    error = expected_calibration_error(table.ravel(), targets.toarray().ravel() > 0)
    assert found.error == pytest.approx(error)
    assert found.classes.confidence == pytest.approx(table.mean(axis=0), rel=1e-5)
    assert found.classes.accuracy == pytest.approx(targets.toarray().mean(axis=0))
    assert found.gap.value == pytest.approx(table.mean() - targets.toarray().mean(), rel=1e-4)
