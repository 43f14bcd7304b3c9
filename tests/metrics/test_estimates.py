"""Intervals of scores: closed forms, families, few of them, and several models at once."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.errors import MetricError
from shopsight.metrics.estimates import Estimate, difference_of, interval_of, simultaneous
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import wilson


@pytest.mark.parametrize("right", [0, 1, 37, 99, 100])
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
