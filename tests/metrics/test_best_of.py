"""The best of several models: who is called worse, and how much its score is flattered."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Bool

from shopsight.metrics.best_of import BestOf, best_of, is_clearly_worse
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval

REPEATS = 120


def found_of(right: Bool[np.ndarray, "k n"], families: Families | None = None) -> BestOf:
    return best_of(
        [Estimate.share(one) for one in right], families or Families.alone(len(right[0]))
    )


def equal_models(seed: int, *, models: int = 10, images: int = 200) -> Bool[np.ndarray, "k n"]:
    """All right with a chance of .8, alike on half of the images."""
    rng = np.random.default_rng([7, seed])
    shared = rng.random(images) < 0.8
    own = rng.random((models, images)) < 0.8
    return np.where(rng.random(images) < 0.5, shared, own)


def test_of_equal_models_none_is_worse_and_the_winner_is_covered() -> None:
    false = one_by_one = covered = covered_alone = 0
    for seed in range(REPEATS):
        right = equal_models(seed)
        found = found_of(right)
        false += len(found.may_be_best) < len(right)
        estimates = [Estimate.share(one) for one in right]
        families = Families.alone(right.shape[1])
        one_by_one += any(
            is_clearly_worse(difference_of(one, estimates[found.best], families))
            for one in estimates
        )
        covered += found.scores[found.best].low <= 0.8
        covered_alone += best_of([estimates[found.best]], families).scores[0].low <= 0.8
    # Each difference by itself calls some model worse in every third table or more.
    assert one_by_one > 0.25 * REPEATS
    assert false <= 0.08 * REPEATS
    assert covered_alone < 0.9 * REPEATS
    assert covered >= 0.93 * REPEATS


def test_the_optimism_is_what_the_best_score_is_too_high_by() -> None:
    found = [found_of(equal_models(seed)) for seed in range(REPEATS)]
    too_high = np.mean([one.scores[one.best].value - 0.8 for one in found])
    assert np.mean([one.optimism for one in found]) == pytest.approx(too_high, rel=0.12)


def test_the_largest_of_ten_independent_errors() -> None:
    rng = np.random.default_rng(3)
    right = rng.random((10, 4000)) < 0.5
    found = found_of(right)
    assert len(found.may_be_best) == 10
    # The mean of the largest of ten normal values is 1.5388 deviations.
    assert found.optimism == pytest.approx(1.5388 * 0.5 / 4000**0.5, rel=0.03)
    alone = best_of([Estimate.share(right[found.best])], Families.alone(4000))
    score = found.scores[found.best]
    assert score.high == alone.scores[0].high
    # The quantile .975 of the largest of ten: that of .975^(1/10) of one, 2.80 in place of 1.96.
    widened = (score.value - score.low) / (score.value - alone.scores[0].low)
    assert widened == pytest.approx(2.80 / 1.96, rel=0.02)


def test_a_true_difference_is_found_among_ten() -> None:
    rng = np.random.default_rng(5)
    hard = rng.random(2000) < 0.2
    right = ~hard & (rng.random((10, 2000)) > 0.02)
    right[3] = ~hard & (rng.random(2000) > 0.1)
    found = found_of(right)
    assert set(range(10)) - set(found.may_be_best) == {3}


def test_a_clear_winner_is_not_flattered() -> None:
    right = np.ones((2, 300), bool)
    right[1, :150] = False
    found = found_of(right)
    assert found.may_be_best == (0,)
    assert found.optimism == 0
    assert found.scores[0] == best_of([Estimate.share(right[0])], Families.alone(300)).scores[0]


@pytest.mark.parametrize(("wrong", "clear"), [(5, False), (6, True)])
def test_two_models_need_six_disagreements_and_five_models_more(wrong: int, clear: bool) -> None:
    right = np.ones((5, 200), bool)
    right[1, :wrong] = False
    assert (1 not in found_of(right[:2]).may_be_best) is clear
    # One by one six would do; of five models the largest difference has to be larger.
    right[2, 20:24], right[3, 40:44], right[4, 60:64] = False, False, False
    assert 1 in found_of(right).may_be_best


def test_models_that_never_disagree_may_still_differ() -> None:
    right = np.tile(np.arange(50) % 5 > 0, (3, 1))
    found = found_of(right)
    assert found.best == 0
    assert found.may_be_best == (0, 1, 2)
    difference = found.differences[1]
    assert difference is not None
    assert (difference.low, difference.value) < (-0.05, 1e-9)
    assert difference.high > 0.05


def test_all_right_on_every_image() -> None:
    found = found_of(np.ones((4, 80), bool))
    assert found.may_be_best == (0, 1, 2, 3)
    assert found.optimism == 0
    assert found.scores[0].high == pytest.approx(1)
    assert found.scores[0].low < 0.97


def test_too_few_families_tell_nothing_apart() -> None:
    right = np.zeros((2, 40), bool)
    right[0] = True
    found = found_of(right, Families(np.arange(40) // 10))
    assert found.may_be_best == (0, 1)
    assert found.differences[1] is not None
    assert found.differences[1].reason == "4 families: 5 are needed"
    assert not is_clearly_worse(Interval.unknown(-1.0, "4 families: 5 are needed"))
