"""Several labels per image: against slow counts and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from shopsight.errors import MetricError
from shopsight.metrics import multilabel as m

seeds = st.integers(0, 1000)


def scored(seed: int, n: int = 25, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """0/1 targets (the last class never occurs) and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, classes)) < 0.3).astype(np.float32)
    targets[:, -1] = 0
    targets[0, 0] = 1
    return targets, rng.integers(1, 9, size=(n, classes)) / 10


def slow_average_precision(wanted: np.ndarray, scores: np.ndarray) -> float:
    """Sum over distinct scores, best first, of (rise in recall) * precision."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = [bool(w) for w, s in zip(wanted, scores, strict=True) if s >= threshold]
        recall = sum(found) / wanted.sum()
        total += (recall - recall_before) * sum(found) / len(found)
        recall_before = recall
    return total


@given(seeds)
def test_average_precision_sums_steps(seed: int) -> None:
    targets, scores = scored(seed)
    per_class = m.average_precision(targets, scores)
    assert np.isnan(per_class[-1])
    known = [k for k in range(targets.shape[1]) if targets[:, k].any()]
    slow = [slow_average_precision(targets[:, k], scores[:, k]) for k in known]
    assert per_class[known] == pytest.approx(slow)
    theirs = [sk.average_precision_score(targets[:, k], scores[:, k]) for k in known]
    assert per_class[known] == pytest.approx(theirs)


def test_a_perfect_ranking_has_average_precision_1() -> None:
    targets = np.array([[1, 0], [0, 1], [0, 1]])
    assert m.average_precision(targets, targets.astype(np.float64)).tolist() == [1.0, 1.0]


@given(seeds)
def test_scores_are_scikit_learns(seed: int) -> None:
    targets, scores = scored(seed)
    predicted = scores >= 0.5
    ours = m.multilabel_scores(targets, predicted)
    theirs = sk.precision_recall_fscore_support(targets, predicted, average=None, zero_division=0)
    mine = (ours.precision, ours.recall, ours.f1, ours.support)
    for own, other in zip(mine, theirs, strict=True):
        assert own == pytest.approx(other)
    micro = sk.precision_recall_fscore_support(targets, predicted, average="micro", zero_division=0)
    assert [ours.micro_precision, ours.micro_recall, ours.micro_f1] == pytest.approx(micro[:3])
    occurs = targets.sum(axis=0) > 0
    assert ours.macro_f1 == pytest.approx(ours.f1[occurs].mean())
    assert ours.predicted.tolist() == predicted.sum(axis=0).tolist()


@pytest.mark.usefixtures("unchecked_types")
def test_errors_say_what_does_not_fit() -> None:
    with pytest.raises(MetricError, match="do not go with"):
        m.average_precision(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(MetricError, match=r"^targets with several labels must be 0 or 1$"):
        m.multilabel_scores(np.full((2, 2), 2), np.ones((2, 2), dtype=bool))
    with pytest.raises(MetricError, match="do not go with"):
        m.multilabel_scores(np.ones(2), np.ones(2, dtype=bool))
    with pytest.raises(MetricError, match=r"^there are no images to measure on$"):
        m.average_precision(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(MetricError, match="2 of 3 images are not numbers"):
        m.average_precision(np.ones((3, 2)), np.array([[np.nan, 1], [0, 1], [np.nan, np.nan]]))
