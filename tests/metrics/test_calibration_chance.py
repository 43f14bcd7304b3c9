"""What calibrated models come out at, against models that are calibrated by construction."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.metrics import calibration_chance as k
from shopsight.metrics.calibration import expected_calibration_error, reliability_bins
from shopsight.metrics.families import Families

BINS = 15


def calibrated(
    seed: int, n: int, families: Families, *, shared: float = 0.0, off: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and which images are right with them less `off`."""
    rng = np.random.default_rng(seed)
    confidence = np.clip(1 / (1 + np.exp(-rng.normal(1.5, 1.3, n))), 0.1, 0.995)
    of_family = rng.random(families.count)[families.of_image]
    uniform = np.where(rng.random(n) < shared**0.5, of_family, rng.random(n))
    return confidence, uniform < confidence - off


def test_the_error_of_calibrated_models_is_what_chance_gives() -> None:
    families = Families.alone(300)
    errors, expected = [], []
    for seed in range(60):
        confidence, correct = calibrated(seed, 300, families)
        errors.append(expected_calibration_error(confidence, correct, bins=BINS))
        expected.append(k.chance_of(confidence, correct, families, bins=BINS).errors.mean())
    # A perfect model comes out at 6 %: the standard error of this mean is .0015.
    assert np.mean(errors) == pytest.approx(np.mean(expected), abs=0.005)
    assert np.mean(expected) > 0.05


def test_calibrated_models_are_rarely_told_from_calibrated_ones() -> None:
    families = Families.by(np.arange(400) // 4)
    rejected = {0.0: 0, 0.12: 0}
    for off in rejected:
        for seed in range(60):
            confidence, correct = calibrated(seed, 400, families, shared=0.5, off=off)
            p = k.chance_of(confidence, correct, families, bins=BINS).p_value(
                error=expected_calibration_error(confidence, correct, bins=BINS),
                gap=float(confidence.mean() - correct.mean()),
            )
            rejected[off] += p <= 0.05
    assert rejected[0.0] <= 8, "5 % of 60 is 3, and 8 is beyond three standard errors"
    assert rejected[0.12] >= 45


def test_families_that_share_their_fate_have_more_chance() -> None:
    families = Families.by(np.arange(600) // 6)
    confidence, correct = calibrated(1, 600, families, shared=0.6)
    assert k.dependence(confidence, correct, families) == pytest.approx(0.6, abs=0.15)
    assert k.dependence(confidence, correct, Families.alone(600)) == 0.0
    together = k.chance_of(confidence, correct, families, bins=BINS)
    alone = k.chance_of(confidence, correct, Families.alone(600), bins=BINS)
    assert together.errors.mean() > 1.08 * alone.errors.mean()
    assert together.gaps.std() > 1.5 * alone.gaps.std()


def test_confidences_that_are_all_too_high_are_no_dependence() -> None:
    families = Families.by(np.arange(2000) // 4)
    found = [
        k.dependence(*calibrated(seed, 2000, families, off=0.3), families) for seed in range(10)
    ]
    assert np.mean(found) < 0.08


def test_pair_covariances_are_their_sum_over_pairs() -> None:
    confidence = np.array([0.9, 0.5, 0.7, 0.2, 0.6])
    families = Families(np.array([0, 1, 0, 0, 1]))
    pairs = [(0.9, 0.7), (0.9, 0.2), (0.7, 0.2)]
    expected = [sum(min(a, b) - a * b for a, b in pairs), 0.5 - 0.5 * 0.6]
    assert k.pair_covariances(confidence, families) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_normal_sums_are_as_wide_as_drawn_ones(
    shared: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = Families.by(np.arange(3000) // 3)
    confidence, correct = calibrated(2, 3000, families, shared=shared)
    sampled = k.chance_of(confidence, correct, families, bins=BINS)
    monkeypatch.setattr(k, "MOST_SAMPLED_IMAGES", 10)
    normal = k.chance_of(confidence, correct, families, bins=BINS)
    assert normal.cells.tolist() == sampled.cells.tolist()
    assert normal.errors.mean() == pytest.approx(sampled.errors.mean(), rel=0.1)
    assert normal.gaps.std() == pytest.approx(sampled.gaps.std(), rel=0.15)


def test_all_bins_are_within_the_band_in_19_of_20_models() -> None:
    families = Families.alone(800)
    outside = 0
    for seed in range(100):
        confidence, correct = calibrated(seed, 800, families)
        low, high = k.chance_of(confidence, correct, families, bins=BINS).band()
        bins = reliability_bins(confidence, correct, bins=BINS)
        gap = (bins.accuracy - bins.confidence)[bins.count > 0]
        full = bins.count > 0
        outside += bool(((gap < low[full] - 1e-9) | (gap > high[full] + 1e-9)).any())
        assert np.isnan(low[~full]).all()
    assert outside <= 11, "5 of 100, and 11 is beyond 2.7 standard errors"


def test_few_families_widen_the_sums() -> None:
    chance = k.Chance(np.array([[1.0, -2.0]]), np.array([6, 6]))
    assert chance.widened(Families.alone(12)).sums.tolist() == chance.sums.tolist()
    six = chance.widened(Families(np.arange(12) % 6))
    # Student's t of five degrees of freedom: 2.5706.
    assert six.sums == pytest.approx(chance.sums * (2.5706 / 1.96) ** 2, rel=1e-3)


def test_wider_bins_are_the_sums_of_narrow_ones() -> None:
    chance = k.Chance(np.array([[1.0, 2.0, -4.0]]), np.array([2, 3, 5]))
    merged = chance.merged(np.array([0, 2]))
    assert (merged.sums.tolist(), merged.cells.tolist()) == ([[3.0, -4.0]], [5, 5])
    assert chance.errors.tolist() == [0.7]
    assert chance.gaps.tolist() == [pytest.approx(0.1)]
