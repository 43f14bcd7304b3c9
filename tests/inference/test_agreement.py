from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from shopsight.inference.agreement import LEAST_SAME, MOST_CHANGE, NEAR_TIE, Readout, agreement


def logits_of(*rows: list[float]) -> np.ndarray:
    """Logits whose softmax has these probabilities."""
    return np.log(np.array(rows, np.float32))


def test_the_same_logits_agree() -> None:
    logits = logits_of([0.7, 0.2, 0.1], [0.1, 0.8, 0.1])
    found = agreement(logits, logits, Readout())
    assert (found.same, found.change, found.num_near_ties) == (1.0, 0.0, 0)
    assert found.ok


def test_a_near_tie_that_turns_over_is_counted_apart() -> None:
    exact = logits_of([0.50, 0.49, 0.01], [0.9, 0.05, 0.05])
    turned = logits_of([0.49, 0.50, 0.01], [0.9, 0.05, 0.05])
    found = agreement(turned, exact, Readout())
    assert found.num_near_ties == 1
    assert found.same == 1.0
    assert found.change == pytest.approx(0.005, abs=1e-4)
    assert found.ok


def test_a_clear_answer_that_turns_over_fails() -> None:
    exact = np.repeat(logits_of([0.8, 0.1, 0.1]), 100, axis=0)
    turned = exact.copy()
    turned[:3] = exact[:3, [1, 0, 2]]
    found = agreement(turned, exact, Readout())
    assert found.same == pytest.approx(0.97)
    assert found.same < LEAST_SAME
    assert not found.ok
    assert "97.0% of 100 clear answers are the same (at least 98.0%)" in found.line()


def test_probabilities_that_move_fail_though_no_answer_changes() -> None:
    exact = logits_of([0.9, 0.1], [0.2, 0.8])
    moved = logits_of([0.9 - 2 * MOST_CHANGE, 0.1 + 2 * MOST_CHANGE], [0.2, 0.8])
    found = agreement(moved, exact, Readout())
    assert found.same == 1.0
    assert found.change == pytest.approx(MOST_CHANGE, rel=1e-4)
    # At a high temperature the same logits hardly move.
    assert agreement(moved, exact, Readout(temperature=20.0)).change < MOST_CHANGE / 5


def test_with_several_labels_each_has_its_threshold() -> None:
    readout = Readout.of(
        ["red", "cotton"], temperature=1.0, doubt=0.0, multilabel=True, thresholds={"red": 0.9}
    )
    assert readout.thresholds == (0.9, 0.5)
    exact = logit(np.array([[0.70, 0.1], [0.95, 0.1]], np.float32))
    found = agreement(logit(np.array([[0.70, 0.1], [0.85, 0.1]], np.float32)), exact, readout)
    # The second is near the threshold of red, the first far from both.
    assert found.num_near_ties == 1
    assert found.same == 1.0
    assert (
        agreement(logit(np.array([[0.92, 0.1], [0.95, 0.1]], np.float32)), exact, readout).same == 0
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_numbers(value: float) -> None:
    exact = logits_of([0.7, 0.3])
    found = agreement(np.full_like(exact, value), exact, Readout())
    assert not found.ok
    assert found.change == float("inf")


def test_a_single_label_has_no_rival() -> None:
    logits = np.zeros((3, 1), np.float32)
    assert agreement(logits, logits, Readout()).num_near_ties == 0
    assert NEAR_TIE < 1


def test_doubt_bounds_every_probability_and_keeps_order_and_sum() -> None:
    logits = np.array([[900.0, 0.0, -900.0], [2.0, 1.0, 0.0]], np.float32)
    sure, doubting = Readout().probabilities(logits), Readout(doubt=0.3).probabilities(logits)
    assert sure.max() == 1.0
    assert doubting.max() == pytest.approx(0.7 + 0.1)
    assert doubting.min() >= 0.1 - 1e-12
    np.testing.assert_allclose(doubting.sum(1), 1.0)
    assert (doubting.argsort(1) == sure.argsort(1)).all()
    several = Readout(doubt=0.2, multilabel=True).probabilities(logits)
    assert several[0].tolist() == pytest.approx([0.9, 0.5, 0.1])
