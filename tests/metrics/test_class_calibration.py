"""Classes that are off by more than chance, against the binomial distribution and samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control

from shopsight.metrics import class_calibration as k
from shopsight.metrics.families import Families


def tails(hits: int, cells: int, confidence: float, *, design: float = 1.0) -> float:
    variance = cells * confidence * (1 - confidence)
    return float(
        k.two_sided(
            np.array([float(hits)]),
            np.array([float(cells)]),
            mean=np.array([cells * confidence]),
            variance=np.array([variance]),
            observed_variance=np.array([design * variance]),
        )[0]
    )


@pytest.mark.parametrize(("hits", "cells", "p"), [(27, 30, 0.99), (3, 40, 0.02), (19, 30, 0.5)])
def test_equal_confidences_are_the_binomial_test(hits: int, cells: int, p: float) -> None:
    both = 2 * min(binom.cdf(hits, cells, p), binom.sf(hits - 1, cells, p))
    assert tails(hits, cells, p) == pytest.approx(min(1.0, both), rel=1e-6)


def test_mistakes_that_come_together_say_less() -> None:
    assert tails(24, 30, 0.95, design=3.0) > 5 * tails(24, 30, 0.95)
    assert tails(30, 30, 0.99) == 1.0
    assert tails(0, 30, 0.99) < 1e-12


def test_p_values_are_adjusted_as_scipy_does() -> None:
    p = np.array([0.03, np.nan, 0.001, 0.5, 0.02])
    found = k.benjamini_hochberg(p)
    assert np.isnan(found[1])
    assert found[[0, 2, 3, 4]] == pytest.approx(false_discovery_control(p[[0, 2, 3, 4]]))


def drawn(seed: int, *, off: float, shared: float, per_family: int) -> k.ClassCalibration:
    rng = np.random.default_rng(seed)
    families = Families.by(np.arange(1500) // per_family)
    confidence = np.clip(1 / (1 + np.exp(-rng.normal(2.2, 1.5, 1500))), 0.1, 0.999)
    predicted = rng.integers(0, 12, 1500)
    truth = np.where(predicted == 0, confidence - off, confidence)
    of_family = rng.random(families.count)[families.of_image]
    uniform = np.where(rng.random(1500) < shared**0.5, of_family, rng.random(1500))
    return k.class_calibration(predicted, confidence, uniform < truth, families, num_classes=13)


@pytest.mark.parametrize(("shared", "per_family"), [(0.0, 1), (0.5, 10)])
def test_the_class_that_is_off_is_named_and_few_others(shared: float, per_family: int) -> None:
    found = [drawn(seed, off=0.2, shared=shared, per_family=per_family) for seed in range(50)]
    named = [one.off.tolist() for one in found]
    assert sum(0 in classes for classes in named) >= 40
    wrongly = [len(set(classes) - {0}) / max(1, len(classes)) for classes in named]
    assert np.mean(wrongly) < 0.1
    nothing = [drawn(seed, off=0.0, shared=shared, per_family=per_family) for seed in range(50)]
    assert sum(len(one.off) > 0 for one in nothing) <= 7


def test_classes_of_few_images_are_not_judged() -> None:
    found = drawn(0, off=0.0, shared=0.0, per_family=1)
    assert found.num_judged == 12
    assert np.isnan(found.confidence[12])
    images = np.arange(12)
    few = k.class_calibration(
        np.zeros(12, np.int64), np.full(12, 0.99), images > 9, Families(images % 4), num_classes=1
    )
    assert few.num_judged == 0
    assert few.off.tolist() == []
    enough = k.class_calibration(
        np.zeros(12, np.int64), np.full(12, 0.99), images > 9, Families(images), num_classes=1
    )
    assert enough.to_json(["shoe"]) == {
        "judged": 1,
        "of": 1,
        "off": [
            {
                "label": "shoe",
                "images": 12,
                "confidence": pytest.approx(0.99),
                "accuracy": pytest.approx(2 / 12),
                "adjusted_p_value": pytest.approx(2 * binom.sf(9, 12, 0.01), rel=1e-3),
            }
        ],
    }
