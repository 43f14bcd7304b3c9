"""Intervals of scores: closed forms, families, few of them, and several models at once."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import binom

from shopsight.errors import MetricError
from shopsight.metrics import influence
from shopsight.metrics.estimates import Estimate, difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import wilson
from shopsight.metrics.joint import simultaneous
from shopsight.metrics.shares import share_intervals


@pytest.mark.parametrize("right", [0, 20, 37, 80, 100])
def test_of_independent_images_it_is_wilsons(right: int) -> None:
    found = interval_of(Estimate.share(np.arange(100) < right), Families.alone(100))
    low, high = wilson(np.array([right]), np.array([100]))
    assert (found.low, found.high) == pytest.approx((low[0], high[0]), abs=1e-12)
    assert found.is_known
    assert found.reason == found.note == ""


def test_below_five_families_there_is_none_and_below_twenty_it_is_said() -> None:
    right = np.arange(400) % 10 > 0
    four = interval_of(Estimate.share(right), Families.by(np.arange(400) // 100))
    assert not four.is_known
    assert four.reason == "4 families: 5 are needed"
    assert four.to_json() == {"value": 0.9, "low": None, "high": None, "reason": four.reason}
    few = interval_of(Estimate.share(right), Families.by(np.arange(400) // 80))
    assert few.is_known
    assert few.note == "5 families: wide and rough"
    assert interval_of(Estimate.share(right), Families.by(np.arange(400) // 20)).note == ""


def test_equal_models_have_one_level_for_all_pairs() -> None:
    rng = np.random.default_rng(0)
    families = Families.alone(300)
    models = [Estimate.share(rng.random(300) < 0.8) for _ in range(6)]
    joint = simultaneous(models, families)
    # Tukey's studentized range of 6 normal values is 4.03 = 2.85 sqrt(2); one pair takes 1.96.
    assert joint.critical_value() == pytest.approx(4.03 / 2**0.5, abs=0.06)
    assert simultaneous(models[:2], families).critical_value() == pytest.approx(1.96, abs=0.04)
    alone = difference_of(models[0], models[1], families)
    together = joint.difference(0, 1)
    assert together.value == alone.value
    assert together.high - together.low > alone.high - alone.low


def test_estimates_of_other_images_have_no_difference() -> None:
    a, b = Estimate.share(np.ones(5)), Estimate.share(np.ones(6))
    with pytest.raises(MetricError, match="5 and 6 images"):
        difference_of(a, b, Families.alone(5))
    with pytest.raises(MetricError, match="no images"):
        Estimate.share(np.ones(0))


def test_families_of_images_that_agree_in_full_count_once() -> None:
    # 30 families of 10 equal images: Wilson's of 30, with Student's quantile of 29 degrees.
    right = np.repeat(np.arange(30) < 15, 10)
    found = interval_of(Estimate.share(right), Families.by(np.arange(300) // 10))
    t, n, p = 2.0452, 30, 0.5
    middle = (p + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * (p * (1 - p) / n + t**2 / (4 * n**2)) ** 0.5
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-4)
    alone = interval_of(Estimate.share(right), Families.alone(300))
    assert found.high - found.low > 3 * (alone.high - alone.low)


def test_few_families_with_mistakes_do_not_vouch_for_the_others() -> None:
    # 2 of 20 families have one mistake of their 250 images each.
    right = np.ones(5000, bool)
    right[[0, 250]] = False
    families = Families.by(np.arange(5000) // 250)
    found = interval_of(Estimate.share(right), families)
    assert found.low < 0.97
    # Twenty families with one mistake each are evidence that mistakes are spread evenly.
    even = np.ones(5000, bool)
    even[::250] = False
    assert interval_of(Estimate.share(even), families).low > 0.99


def test_the_upper_end_allows_for_a_few_mistakes_more() -> None:
    # 3 of 100 are wrong: at an accuracy of 99 % that comes in 8 % of samples.
    found = interval_of(Estimate.share(np.arange(100) < 97), Families.alone(100))
    assert wilson(np.array([97]), np.array([100]))[1][0] < 0.99
    # At that accuracy, 3 mistakes and more of 100 come in 5 % of samples.
    assert binom.sf(2, 100, 1 - found.high) == pytest.approx(0.05)


def test_a_log_loss_needs_ten_mistakes_in_different_families() -> None:
    rng = np.random.default_rng(0)
    hits = np.ones(400, bool)
    hits[::50] = False
    losses = np.where(hits, 0.01, 3.0) * rng.uniform(0.5, 1.5, 400)
    assert (
        interval_of(Estimate.loss(losses, hits), Families.alone(400)).reason
        == "mistakes in 8 images: 10 are needed"
    )
    hits[::20] = False
    found = interval_of(Estimate.loss(losses, hits), Families.alone(400))
    assert 0 < found.low < losses.mean() < found.high
    # Its ends are as far from the mean in ratio.
    assert losses.mean() / found.low == pytest.approx(found.high / losses.mean())
    few = Families.by(np.arange(400) // 50)
    assert (
        interval_of(Estimate.loss(losses, hits), few).reason
        == "mistakes in 8 families: 10 are needed"
    )


def test_the_difference_of_alike_models_has_a_width() -> None:
    right = np.arange(60) < 50
    same = difference_of(Estimate.share(right), Estimate.share(right), Families.alone(60))
    assert (same.value, same.high) == (0, pytest.approx(1 - 0.05 ** (1 / 60)))
    worse = right.copy()
    worse[:4] = False
    found = difference_of(Estimate.share(worse), Estimate.share(right), Families.alone(60))
    assert found.low < found.value < 0 < found.high, "a fair coin falls like that once in eight"


def test_a_class_of_few_families_has_no_interval_and_lone_images_have_wilsons() -> None:
    row = np.array([0] * 8 + [1] * 3 + [2] * 12)
    family = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, *range(7, 13), *range(7, 13)])
    hits = np.arange(23) % 4 > 0
    low, high = share_intervals(row, hits, family, num_rows=4)
    assert np.isnan([low[0], high[0], low[3], high[3]]).all(), "four families; no images"
    exact = wilson(np.array([hits[8:11].sum()]), np.array([3]))
    assert low[1] == pytest.approx(exact[0][0], abs=0.08)
    assert 0 < low[2] < hits[11:].mean() < high[2] < 1


@pytest.mark.parametrize(
    ("families", "size", "accuracy", "correlation"),
    [(100, 1, 0.9, 0.0), (100, 5, 0.9, 0.3), (20, 25, 0.9, 0.7), (20, 100, 0.99, 0.3)],
)
def test_it_covers_the_truth_as_often_as_it_says(
    families: int, size: int, accuracy: float, correlation: float
) -> None:
    rng = np.random.default_rng(families + size)
    of_image = Families.by(np.repeat(np.arange(families), size))
    covered, repeats = 0, 300
    for _ in range(repeats):
        own = np.full(families, accuracy)
        if correlation:
            rest = 1 / correlation - 1
            own = rng.beta(accuracy * rest, (1 - accuracy) * rest, families)
        hits = rng.random(families * size) < np.repeat(own, size)
        found = interval_of(Estimate.share(hits), of_image)
        covered += found.low <= accuracy <= found.high
    # Three standard errors below .93 of 300 samples.
    assert covered / repeats > 0.93 - 3 * (0.93 * 0.07 / repeats) ** 0.5


def test_a_million_images_take_a_moment() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 1000, 1_000_000)
    predicted = np.where(rng.random(1_000_000) < 0.8, targets, 0)
    families = Families.by(rng.integers(0, 300_000, 1_000_000))
    before = time.process_time()
    interval_of(Estimate.share(targets == predicted), families)
    interval_of(influence.macro_f1(targets, predicted, families, num_classes=1000), families)
    assert time.process_time() - before < 10
