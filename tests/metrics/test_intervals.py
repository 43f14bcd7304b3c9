"""Intervals from counts: Wilson's, the sign test's, and of a mean over trainings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from shopsight.errors import MetricError
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import (
    Interval,
    mean_interval,
    widened_by_signs,
    wilson,
    zero_events_bound,
)


def test_what_was_never_seen_is_rarer_than_three_in_n() -> None:
    assert zero_events_bound(1000) == pytest.approx(3 / 1000, rel=0.01)
    assert zero_events_bound(1) == pytest.approx(0.95)


def test_an_interval_says_its_numbers_or_why_there_is_none() -> None:
    assert Interval(0.5, 0.25, 0.75).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75}
    none = Interval.unknown(0.5, "4 families: 5 are needed")
    assert not none.is_known
    assert none.to_json() == {"value": 0.5, "low": None, "high": None, "reason": none.reason}
    rough = Interval(0.5, 0.25, 0.75, note="9 families: wide and rough")
    assert rough.to_json()["note"] == rough.note
    with pytest.raises(MetricError, match="1 trainings"):
        mean_interval([0.5])


def test_wilsons_interval_never_leaves_0_to_1() -> None:
    total = np.arange(1, 400)
    for hits in (total, 0 * total):
        low, high = wilson(hits, total)
        assert (low >= 0).all()
        assert (high <= 1).all()
    assert wilson(total, total)[1] == pytest.approx(1, abs=1e-12)
    assert wilson(0 * total, total)[0] == pytest.approx(0, abs=1e-12)


def test_wilsons_interval_solves_its_equation() -> None:
    hits, total = np.array([0, 4, 81, 5]), np.array([4, 4, 263, 0])
    low, high = wilson(hits, total)
    for h, n, ends in zip(hits[:3], total[:3], zip(low, high, strict=True), strict=False):
        for true in ends:
            # At an end the true proportion is 1.96 of its own standard errors away from h / n.
            distance = abs(h / n - true)
            assert distance == pytest.approx(1.959964 * np.sqrt(true * (1 - true) / n), abs=1e-6)
    assert np.isnan([low[3], high[3]]).all()


def test_the_interval_of_a_mean_over_trainings_is_the_textbooks() -> None:
    # Student's t for 4 degrees of freedom at 97.5 %, from the printed table: 2.776.
    values = [0.88, 0.90, 0.86, 0.91, 0.85]
    found = mean_interval(values)
    assert found is not None
    half = 2.776 * (sum((v - 0.88) ** 2 for v in values) / 4) ** 0.5 / 5**0.5
    assert found.value == pytest.approx(0.88)
    assert [found.low, found.high] == pytest.approx([0.88 - half, 0.88 + half], abs=1e-5)
    two = mean_interval([0.9, 1.0])
    assert two is not None
    assert (two.low, two.high) == (pytest.approx(0.95 - 12.706 * 0.05, abs=1e-4), 1.0)
    assert mean_interval([0.9, 0.9, 0.9]) is None


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60))
def test_a_difference_is_clear_only_where_the_sign_test_says_so(gains: list[float]) -> None:
    given = np.array(gains)
    wins, losses = int((given > 0).sum()), int((given < 0).sum())
    found = widened_by_signs(Interval(given.mean(), given.mean(), given.mean()), given)
    if not wins + losses:
        assert found.low == found.high == 0
        return
    exact = binomtest(wins, wins + losses)
    assert (found.low <= 0 <= found.high) == (exact.pvalue > 0.05)
    to_first = exact.proportion_ci(0.95, "exact")
    weight = (wins + losses) / len(gains)
    assert found.low == pytest.approx(weight * (2 * to_first.low - 1))
    assert found.high == pytest.approx(weight * (2 * to_first.high - 1))
    assert found.value == given.mean()
    # What is narrower than the sign test's is widened to it, also without any win or loss.
    nothing = widened_by_signs(Interval(0.0, 0.0, 0.0), given)
    assert nothing.low == pytest.approx(min(0, weight * (2 * to_first.low - 1)))
    assert nothing.high == pytest.approx(max(0, weight * (2 * to_first.high - 1)))


def test_a_group_counts_once_by_the_sum_of_its_gains() -> None:
    # Groups: three wins; a win and a loss, which cancel; one loss; no disagreement.
    gains = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, 0.0, 0.0])
    groups = np.array(["a", "a", "a", "b", "b", "c", "d", "d"])
    found = widened_by_signs(Interval(0.25, 0.25, 0.25), gains, families=Families.by(groups))
    to_first = binomtest(1, 2).proportion_ci(0.95, "exact")
    weight = (3 + 1) / 8
    assert found.low == pytest.approx(weight * (2 * to_first.low - 1))
    assert found.high == pytest.approx(weight * (2 * to_first.high - 1))
