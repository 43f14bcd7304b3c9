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


def slow_best_f1(wanted: np.ndarray, probabilities: np.ndarray) -> float:
    """Over every cut that makes a difference."""
    reached = []
    for cut in set(probabilities.tolist()):
        given = [p >= cut for p in probabilities]
        hits = sum(bool(w) and g for w, g in zip(wanted, given, strict=True))
        reached.append(2 * hits / (sum(given) + wanted.sum()))
    return float(max(reached))


@given(seeds, st.integers(2, 40))
def test_thresholds_reach_the_best_f1_of_any_cut(seed: int, n: int) -> None:
    targets, probabilities = scored(seed, n=n)
    thresholds = m.best_thresholds(targets, probabilities, fewest=1)
    reached = m.multilabel_scores(targets, probabilities >= thresholds).f1
    for c in np.flatnonzero(targets.any(axis=0)):
        assert reached[c] == pytest.approx(slow_best_f1(targets[:, c], probabilities[:, c]))
    assert thresholds[-1] == 0.5, "no image carries the last class"


def test_a_threshold_lies_between_the_probabilities_that_it_separates() -> None:
    targets = np.array([[1], [1], [0], [0]])
    parted = m.best_thresholds(targets, np.array([[0.4], [0.3], [0.2], [0.1]]), fewest=1)
    assert parted == pytest.approx([0.25])
    around = m.best_thresholds(targets, np.array([[0.9], [0.6], [0.2], [0.1]]), fewest=1)
    assert around.tolist() == [0.5], "what parts them already is left as it is"
    equal = m.best_thresholds(targets, np.full((4, 1), 0.7), fewest=1)
    assert equal.tolist() == [0.5]


def test_a_class_of_few_images_keeps_its_threshold() -> None:
    targets = np.zeros((40, 2))
    targets[:9, 0] = targets[:10, 1] = 1
    probabilities = np.where(targets > 0, 0.2, 0.1)
    assert m.best_thresholds(targets, probabilities) == pytest.approx([0.5, 0.15])


def test_of_equally_good_cuts_the_one_nearest_to_a_half_is_taken() -> None:
    # F1 is 2 * 1 / (1 + 2) after the first and 2 * 2 / (4 + 2) after the fourth.
    targets = np.array([[1], [0], [0], [1], [0]])
    low = np.array([[0.45], [0.3], [0.28], [0.25], [0.1]])
    assert m.best_thresholds(targets, low, fewest=1) == pytest.approx([0.375])
    high = np.array([[0.9], [0.7], [0.65], [0.6], [0.55]])
    assert m.best_thresholds(targets, high, fewest=1) == pytest.approx([0.575])


def test_a_probability_of_exactly_the_usual_threshold_reaches_it() -> None:
    targets = np.array([[1], [1], [0], [0]])
    probabilities = np.array([[0.9], [0.5], [0.2], [0.1]])
    assert m.best_thresholds(targets, probabilities, fewest=1).tolist() == [0.5]
    # Where the image at exactly .5 lacks the label, the threshold has to lie above it.
    lacking = m.best_thresholds(np.array([[1], [0]]), np.array([[0.9], [0.5]]), fewest=1)
    assert lacking == pytest.approx([0.7])


def test_f1_counts_the_images_before_the_cut_exactly() -> None:
    # 2 hits / (rank + positives): 2/4 after the first image, 6/13 after the tenth. With one image
    # more in each denominator it would be 2/5 and 6/14, and the other cut would win.
    targets = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0])[:, None]
    probabilities = np.array([0.9, *np.linspace(0.4, 0.1, 10)])[:, None]
    assert m.best_thresholds(targets, probabilities, fewest=1).tolist() == [0.5]
