"""A promise of precision is kept in 95 % of simulated catalogs, whatever the model is like."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float64
from scipy.stats import beta

from shopsight.errors import MetricError
from shopsight.metrics.families import Families
from shopsight.metrics.promised_precision import (
    RISK,
    clopper_pearson_low,
    fewest_answers,
    passing_chance,
    promise_precision,
    tried_sizes,
    walk_alpha,
)

CATALOGS = 300
# Of so many catalogs at a risk of 5 %, more failures than this are chance once in a thousand times.
MOST_FAILURES = 27

Model = Callable[[Float64[np.ndarray, "n"]], Float64[np.ndarray, "n"]]


def calibrated(confidence: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    return confidence


def too_sure(confidence: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    return confidence**3


def just_below(confidence: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Of no confidence is the precision what is promised: the hardest case."""
    return np.full(len(confidence), 0.95 - 1e-6)


def _precision_from(
    threshold: float, confidence: Float64[np.ndarray, "n"], right: Float64[np.ndarray, "n"]
) -> float:
    return float(right[confidence >= threshold].mean())


@pytest.mark.parametrize("model", [calibrated, too_sure, just_below])
@pytest.mark.parametrize("num_labeled", [150, 1000])
def test_the_promise_is_kept(model: Model, num_labeled: int) -> None:
    rng = np.random.default_rng(7)
    everything = beta(6, 1).rvs(200_000, random_state=rng)
    broken = given = 0
    for _ in range(CATALOGS):
        confidence = beta(6, 1).rvs(num_labeled, random_state=rng)
        correct = rng.random(num_labeled) < model(confidence)
        found = promise_precision(confidence, correct, Families.alone(num_labeled), precision=0.95)
        if found.is_kept:
            given += 1
            assert found.measured.low >= 0.95
            assert found.num_right / found.num_measured == found.measured.value
            broken += _precision_from(found.threshold, everything, model(everything)) < 0.95
    assert broken <= MOST_FAILURES
    if model is calibrated and num_labeled == 1000:
        # And it is given, not refused for safety.
        assert given > 0.7 * CATALOGS


@pytest.mark.parametrize("size", [2, 5])
def test_the_promise_is_kept_where_families_are_right_or_wrong_together(size: int) -> None:
    rng = np.random.default_rng(8)
    broken_alone = broken = 0
    for _ in range(CATALOGS):
        family = np.repeat(np.arange(200), size)
        # Every other family has one product.
        kept = (family % 2 == 0) | (np.arange(len(family)) % size == 0)
        confidence = beta(6, 1).rvs(200, random_state=rng)[family][kept]
        correct = (rng.random(200) < 0.95 - 1e-6)[family][kept]
        families = Families.by(family[kept])
        broken += promise_precision(confidence, correct, families, precision=0.95).is_kept
        alone = Families.alone(len(correct))
        broken_alone += promise_precision(confidence, correct, alone, precision=0.95).is_kept
    assert broken <= MOST_FAILURES
    assert broken_alone > MOST_FAILURES


def test_the_best_of_many_thresholds_breaks_it_without_the_correction() -> None:
    sizes = tried_sizes(59, 1000)
    naive = passing_chance(sizes, 0.05, RISK)
    assert naive > 3 * RISK
    assert passing_chance(sizes, 0.05, walk_alpha(1000, 0.95)) == pytest.approx(RISK, rel=0.1)
    # The same by simulation.
    wrong = np.random.default_rng(0).random((4000, 1000)) < 0.05
    right = sizes - np.cumsum(wrong, axis=1)[:, sizes - 1].astype(np.float64)
    for alpha, chance in ((RISK, naive), (walk_alpha(1000, 0.95), RISK)):
        low = clopper_pearson_low(right.ravel(), np.tile(sizes, 4000).astype(float), alpha)
        passed = (low.reshape(right.shape) >= 0.95).any(axis=1).mean()
        assert passed == pytest.approx(chance, abs=0.025)


def test_the_bound_is_clopper_and_pearsons() -> None:
    found = clopper_pearson_low(np.array([100.0, 0.0, 47.0]), np.array([100.0, 5.0, 50.0]), 0.025)
    # 100 of 100: the 100th root of .025; 47 of 50 as published tables have it.
    assert found == pytest.approx([0.025**0.01, 0.0, 0.8345], abs=1e-4)


def test_too_few_products_say_how_many_are_needed() -> None:
    confidence, correct = np.linspace(0.9, 1.0, 100), np.ones(100, bool)
    found = promise_precision(confidence, correct, Families.alone(100), precision=0.98)
    assert not found.is_kept
    assert found.threshold == math.inf
    assert (found.num_measured, found.num_right, found.measured.value) == (100, 100, 1.0)
    # .98 to the 149th power is below .05; a larger catalog tries more often.
    assert found.num_needed is not None
    assert 149 <= found.num_needed <= 190
    assert fewest_answers(100, 0.98) == 149
    assert fewest_answers(1000, 0.98) == 204
    enough = found.num_needed
    more = promise_precision(
        np.linspace(0.9, 1.0, enough), np.ones(enough, bool), Families.alone(enough), precision=0.98
    )
    assert more.is_kept
    assert more.num_measured == enough


def test_of_wrong_answers_no_number_is_enough() -> None:
    correct = np.arange(300) % 5 > 0
    correct[-1] = False
    confidence = np.linspace(0.0, 1.0, 300)
    found = promise_precision(confidence, correct, Families.alone(300), precision=0.9)
    assert not found.is_kept
    assert found.num_needed is None
    none = promise_precision(np.empty(0), np.empty(0, bool), Families.alone(0), precision=0.98)
    assert (none.num_labeled, none.num_needed, none.measured.reason) == (
        0,
        149,
        "no labeled products",
    )


def test_equal_confidences_stay_together() -> None:
    confidence = np.repeat([0.9, 0.5], [100, 200])
    correct = np.repeat([True, False], [100, 200])
    found = promise_precision(confidence, correct, Families.alone(300), precision=0.95)
    assert found.threshold == 0.9
    assert (found.num_measured, found.num_right) == (100, 100)
    one = promise_precision(np.ones(300), correct, Families.alone(300), precision=0.95)
    assert not one.is_kept
    assert one.num_measured == 300


@pytest.mark.parametrize("precision", [0.0, 1.0, 98.0, -0.1])
def test_a_precision_is_between_0_and_1(precision: float) -> None:
    with pytest.raises(MetricError, match="between 0 and 1"):
        promise_precision(np.ones(1), np.ones(1, bool), Families.alone(1), precision=precision)


def test_families_are_of_the_answers() -> None:
    with pytest.raises(MetricError, match="families of 3 do not go with 2"):
        promise_precision(np.ones(2), np.ones(2, bool), Families.alone(3), precision=0.9)


def test_sizes_grow_by_a_tenth_and_end_at_all() -> None:
    sizes = tried_sizes(10, 100)
    assert (sizes[0], sizes[-1]) == (10, 100)
    assert (np.diff(sizes) <= np.maximum(1, np.rint(sizes[:-1] * 0.1))).all()
