"""Intervals against theory: textbook formulas, exact tests, and slow loops."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from shopsight.errors import MetricError
from shopsight.metrics import intervals, weighted
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import (
    WEIGHTS_AT_ONCE,
    Interval,
    Statistic,
    bootstrap,
    bootstrap_all,
    difference_of,
    mean_interval,
    num_units,
    widened_by_signs,
    widened_without_spread,
    wilson,
    zero_events_bound,
)


def numbers(interval: Interval) -> list[float]:
    return list(interval.to_json().values())


def paired_difference(
    a: Statistic,
    b: Statistic,
    images: int,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    both = difference_of(a, b)
    found = bootstrap(both, images, groups=groups, resamples=resamples, seed=seed)
    return widened_without_spread(found, num_units(images, groups))


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    correct = np.arange(1000) < 800
    found = bootstrap(weighted.mean(correct), 1000, resamples=5000)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found.value == 0.8
    assert found.low == pytest.approx(0.8 - half, abs=0.002)
    assert found.high == pytest.approx(0.8 + half, abs=0.002)


def test_the_vectorized_bootstrap_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(3)
    values = rng.exponential(size=60)
    loop = [rng.choice(values, 60).mean() for _ in range(4000)]
    found = bootstrap(weighted.mean(values), 60, resamples=4000)
    assert [found.low, found.high] == pytest.approx(np.percentile(loop, [2.5, 97.5]), rel=0.03)


def test_groups_are_resampled_whole() -> None:
    # 40 products of 10 images each that succeed or fail together: 40 observations, not 400.
    groups = np.repeat([f"P-{i}" for i in range(40)], 10)
    correct = np.repeat(np.arange(40) < 30, 10)
    alone = bootstrap(weighted.mean(correct), 400)
    grouped = bootstrap(weighted.mean(correct), 400, groups=groups)
    ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
    singles = bootstrap(weighted.mean(correct), 400, groups=np.arange(400))
    assert singles == alone


class SeenWeights:
    """A statistic that records the weights it gets: the first image's weight."""

    def __init__(self) -> None:
        self.weights: list[np.ndarray] = []

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        self.weights.append(weights)
        return weights[:, 0]

    def resamples(self) -> np.ndarray:
        """All but the weights of the images themselves, which come last."""
        return np.concatenate(self.weights[:-1])


def test_a_resample_holds_as_many_images_or_groups_as_there_are() -> None:
    seen = SeenWeights()
    found = bootstrap(seen, 12, resamples=300)
    assert seen.resamples().shape == (300, 12)
    assert (seen.resamples().sum(axis=1) == 12).all()
    # Binomial with 12 trials and 1/12: some images are absent, some are there three times.
    assert set(np.unique(seen.resamples())) >= {0, 1, 2, 3}
    assert seen.resamples().mean(axis=0) == pytest.approx(1, abs=4 * (11 / 12 / 300) ** 0.5)
    first = seen.resamples()[:, 0]
    assert [found.low, found.high] == np.percentile(first, [2.5, 97.5]).tolist()
    assert found.value == 1
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    grouped = SeenWeights()
    bootstrap(grouped, 10, groups=groups, resamples=300)
    of_group = grouped.resamples()[:, [0, 3, 5, 9]]
    np.testing.assert_array_equal(of_group[:, groups], grouped.resamples())
    assert (of_group.sum(axis=1) == 4).all()


def test_the_ends_are_the_exact_percentiles() -> None:
    values = np.random.default_rng(0).exponential(size=50)
    statistic, kept = weighted.mean(values), []
    found = bootstrap(lambda weights: kept.append(statistic(weights)) or kept[-1], 50)
    resampled = np.concatenate(kept[:-1])
    assert len(resampled) == 2000
    assert [found.low, found.high] == pytest.approx(np.percentile(resampled, [2.5, 97.5]), abs=0)


def test_many_images_are_resampled_in_blocks_of_limited_memory() -> None:
    sizes = []

    def statistic(weights: np.ndarray) -> np.ndarray:
        sizes.append(len(weights))
        return weights[:, 0]

    bootstrap(statistic, 40_000, resamples=450)
    assert sizes == [200, 200, 50, 1]
    assert WEIGHTS_AT_ONCE == 200 * 40_000


def test_resamples_without_a_value_are_left_out() -> None:
    def never(weights: np.ndarray) -> np.ndarray:
        return np.where(len(weights) == 1, 0.25, np.full(len(weights), np.nan))

    found = bootstrap(never, 5)
    assert found.value == 0.25
    assert np.isnan([found.low, found.high]).all()

    def once(weights: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(weights)) == 0, 0.5, np.nan)

    assert bootstrap(once, 5, resamples=100) == Interval(0.5, 0.5, 0.5)


def test_an_interval_as_json_has_its_three_numbers_by_name() -> None:
    assert Interval(0.5, 0.25, 0.75).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75}


def test_the_same_seed_gives_the_same_interval() -> None:
    statistic = weighted.mean(np.random.default_rng(0).random(100))
    assert bootstrap(statistic, 100, seed=1) == bootstrap(statistic, 100, seed=1)
    assert bootstrap(statistic, 100, seed=1) != bootstrap(statistic, 100, seed=2)


def test_statistics_use_the_same_resamples() -> None:
    correct = np.arange(50) % 3 == 0
    found = bootstrap_all({"hit": weighted.mean(correct), "miss": weighted.mean(~correct)}, 50)
    assert found["hit"].low == pytest.approx(1 - found["miss"].high)
    assert found["hit"] == bootstrap(weighted.mean(correct), 50)
    seen = SeenWeights()
    bootstrap_all({"seen": seen}, 50)
    assert len(seen.resamples()) == 2000


def test_what_two_models_have_in_common_cancels_in_their_difference() -> None:
    rng = np.random.default_rng(5)
    a = rng.random(2000) < 0.8
    b = a.copy()
    b[np.flatnonzero(a)[:40]] = False
    difference = paired_difference(weighted.mean(a), weighted.mean(b), 2000)
    assert difference.value == pytest.approx(0.02)
    assert difference.low > 0
    assert difference.high - difference.low < 0.015


def test_a_paired_difference_is_the_bootstrap_of_the_difference() -> None:
    rng = np.random.default_rng(1)
    a, b, groups = rng.random(60), rng.random(60), np.arange(60) // 3
    one, two, both = weighted.mean(a), weighted.mean(b), weighted.mean(a - b)
    assert numbers(paired_difference(one, two, 60)) == pytest.approx(numbers(bootstrap(both, 60)))
    options = {"groups": groups, "resamples": 150, "seed": 4}
    found = paired_difference(one, two, 60, **options)
    assert numbers(found) == pytest.approx(numbers(bootstrap(both, 60, **options)))
    for changed in ({"groups": None}, {"resamples": 300}, {"seed": 5}):
        assert paired_difference(one, two, 60, **(options | changed)) != found


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.sampled_from(["the images", "one right", "one wrong"]),
    st.integers(1, 3),
)
def test_no_proportion_has_an_interval_without_width(
    right: list[bool], kind: str, of_a_group: int
) -> None:
    if kind != "the images":
        right = [kind == "one right", *[kind != "one right"] * len(right)]
    correct = np.repeat(right, of_a_group)
    groups = np.repeat(np.arange(len(right)), of_a_group)
    plain = bootstrap(weighted.mean(correct), len(correct), groups=groups, resamples=200)
    found = bootstrap(
        weighted.mean(correct), len(correct), groups=groups, resamples=200, proportion=True
    )
    assert found.value == plain.value == pytest.approx(np.mean(right))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.05
    if plain.low > 0 and plain.high < 1:
        assert found == plain
        return
    low, high = wilson(np.array([sum(right)]), np.array([len(right)]))
    assert found.low == min(plain.low, low[0])
    assert found.high == max(plain.high, high[0])


def test_six_of_six_are_no_certainty() -> None:
    # Wilson by hand: all right, so that only z and n are left.
    found = bootstrap(weighted.mean(np.ones(6)), 6, proportion=True)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(6 / (6 + 1.959964**2))
    none = bootstrap(weighted.mean(np.zeros(6)), 6, proportion=True)
    assert [none.low, none.high] == pytest.approx([1 - found.high, 1 - found.low])
    # Three products of two images each are three observations.
    grouped = bootstrap(weighted.mean(np.ones(6)), 6, groups=np.arange(6) // 2, proportion=True)
    assert grouped.low == pytest.approx(3 / (3 + 1.959964**2))
    one = bootstrap(weighted.mean(np.arange(6) < 3), 6, groups=np.zeros(6), proportion=True)
    assert one.low < 0.2
    assert one.high > 0.8


def test_one_more_right_image_never_lowers_the_interval_at_the_edge() -> None:
    ends = [
        bootstrap(weighted.mean(np.arange(200) < right), 200, proportion=True)
        for right in (197, 198, 199, 200)
    ]
    assert [end.low for end in ends] == sorted(end.low for end in ends)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 3), st.integers(0, 100))
def test_models_that_never_disagree_may_still_differ(
    products: int, of_a_group: int, seed: int
) -> None:
    a = weighted.mean(np.random.default_rng(seed).random(products * of_a_group) < 0.7)
    groups = np.repeat(np.arange(products), of_a_group)
    found = paired_difference(a, a, len(groups), groups=groups, resamples=200)
    # The plainest reference: at the end of the interval, seeing none has a chance of 5 %.
    assert (1 - found.high) ** products == pytest.approx(0.05)
    assert found == Interval(0.0, -found.high, found.high)


def test_what_was_never_seen_is_rarer_than_three_in_n() -> None:
    assert zero_events_bound(1000) == pytest.approx(3 / 1000, rel=0.01)
    assert zero_events_bound(1) == pytest.approx(0.95)
    everywhere = paired_difference(weighted.mean(np.ones(9)), weighted.mean(np.zeros(9)), 9)
    assert everywhere.value == everywhere.high == 1.0
    assert everywhere.low == pytest.approx(1 - 2 * zero_events_bound(9))


def test_a_class_missing_from_a_resample_does_not_spoil_the_interval() -> None:
    targets = np.array([0] * 20 + [1])
    found = bootstrap(weighted.balanced_accuracy(targets, targets, num_classes=3), 21)
    assert found == Interval(1.0, 1.0, 1.0)


def test_two_thousand_resamples_of_ten_thousand_images_take_about_a_second() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 18, 10_000)
    predicted = np.where(rng.random(10_000) < 0.8, targets, 0)
    before = time.process_time()
    bootstrap_all(
        {
            "accuracy": weighted.mean(targets == predicted),
            "f1": weighted.macro_f1(targets, predicted, num_classes=18),
        },
        10_000,
    )
    # Generous: the machine may be busy, and a slow loop would take minutes.
    assert time.process_time() - before < 5


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


def test_errors_say_what_does_not_fit() -> None:
    statistic = weighted.mean(np.ones(5))
    with pytest.raises(MetricError, match="4 groups do not go with 5 images"):
        bootstrap(statistic, 5, groups=np.arange(4))
    with pytest.raises(MetricError, match="99 resamples are too few"):
        bootstrap(statistic, 5, resamples=99)
    assert bootstrap(statistic, 5, resamples=100).value == 1
    with pytest.raises(MetricError, match="1 trainings"):
        mean_interval([0.5])
    with pytest.raises(MetricError, match=r"^there are no images to measure on$"):
        bootstrap(weighted.mean(np.ones(0)), 0)


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


def test_few_disagreements_make_no_clear_difference() -> None:
    better, worse = np.ones(60), np.ones(60)
    worse[:4] = 0
    resampled = paired_difference(weighted.mean(worse), weighted.mean(better), 60)
    assert resampled.high < 0  # what the bootstrap alone believes
    found = widened_by_signs(resampled, worse - better)
    assert found.high > 0
    assert found.low == resampled.low
    # Four images of one product are one disagreement.
    groups = np.array([0, 0, 0, 0, *range(1, 57)])
    assert (
        widened_by_signs(resampled, worse - better, families=Families.by(groups)).high >= found.high
    )


def test_a_group_counts_once_by_the_sum_of_its_gains() -> None:
    # Groups: three wins; a win and a loss, which cancel; one loss; no disagreement.
    gains = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, 0.0, 0.0])
    groups = np.array(["a", "a", "a", "b", "b", "c", "d", "d"])
    found = widened_by_signs(Interval(0.25, 0.25, 0.25), gains, families=Families.by(groups))
    to_first = binomtest(1, 2).proportion_ci(0.95, "exact")
    weight = (3 + 1) / 8
    assert found.low == pytest.approx(weight * (2 * to_first.low - 1))
    assert found.high == pytest.approx(weight * (2 * to_first.high - 1))


def test_many_disagreements_leave_a_difference_as_it_was() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random(5000) < 0.9).astype(float), (rng.random(5000) < 0.8).astype(float)
    resampled = paired_difference(weighted.mean(a), weighted.mean(b), 5000)
    found = widened_by_signs(resampled, a - b)
    assert found.low == pytest.approx(resampled.low, abs=0.002)
    assert found.high == pytest.approx(resampled.high, abs=0.002)


def test_above_a_million_images_fewer_resamples_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [intervals.resamples_for(images, 2000) for images in (10, 10**6, 2 * 10**6, 10**8)]
    assert wanted == [2000, 2000, 1000, 400]
    assert intervals.resamples_for(10**8, 200) == 200
    monkeypatch.setattr(intervals, "FULL_UP_TO", 10)
    blocks: list[int] = []

    def statistic(weights: np.ndarray) -> np.ndarray:
        blocks.append(len(weights))
        means: np.ndarray = weights.mean(axis=1)
        return means

    bootstrap(statistic, 40, resamples=2000)
    assert sum(blocks) == 500 + 1, "and the images themselves"


def test_the_ends_vary_by_as_much_as_is_said() -> None:
    values = np.random.default_rng(0).random(300)
    statistic = weighted.mean(values)
    for resamples, share in ((400, 0.067), (2000, 0.030)):
        found = [bootstrap(statistic, 300, resamples=resamples, seed=s) for s in range(60)]
        half = np.mean([one.high - one.low for one in found]) / 2
        assert np.std([one.high for one in found]) / half == pytest.approx(share * 1.02, rel=0.4)
