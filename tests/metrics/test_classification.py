"""Each metric against a slow, obvious count over plain Python lists, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from shopsight.errors import MetricError
from shopsight.metrics import classification as c

CLASSES = 4
pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40
).map(lambda rows: (np.array([row[0] for row in rows]), np.array([row[1] for row in rows])))


def scored(seed: int, n: int = 50, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, 5, size=(n, classes)).astype(np.float64)
    return rng.integers(0, classes, n), raw / raw.sum(axis=1, keepdims=True)


@given(pairs)
def test_accuracy_counts_equal_pairs(pair: tuple[np.ndarray, np.ndarray]) -> None:
    targets, predicted = pair
    hits = sum(int(t) == int(p) for t, p in zip(targets, predicted, strict=True))
    assert c.accuracy(targets, predicted) == pytest.approx(hits / len(targets))


@given(pairs)
def test_precision_recall_f1_follow_their_definitions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    targets, predicted = pair
    scores = c.precision_recall_f1(targets, predicted, num_classes=CLASSES)
    for label in range(CLASSES):
        tp = int(np.sum((targets == label) & (predicted == label)))
        found, own = int(np.sum(predicted == label)), int(np.sum(targets == label))
        precision = tp / found if found else 0.0
        recall = tp / own if own else 0.0
        f1 = 2 * precision * recall / (precision + recall) if tp else 0.0
        assert scores.precision[label] == pytest.approx(precision)
        assert scores.recall[label] == pytest.approx(recall)
        assert scores.f1[label] == pytest.approx(f1)
        assert (scores.support[label], scores.predicted[label]) == (own, found)


@given(pairs)
def test_means_of_precision_recall_f1_are_scikit_learns(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    targets, predicted = pair
    scores = c.precision_recall_f1(targets, predicted, num_classes=CLASSES)
    for average in ("macro", "weighted"):
        ours = [getattr(scores, f"{average}_{name}") for name in ("precision", "recall", "f1")]
        theirs = sk.precision_recall_fscore_support(
            targets, predicted, labels=np.unique(targets), average=average, zero_division=0
        )[:3]
        assert ours == pytest.approx(list(theirs))


def test_a_class_that_is_predicted_and_has_no_image_is_in_no_macro_mean() -> None:
    """It is not measured; the image that was given to it lacks in the recall of its own class."""
    scores = c.precision_recall_f1(np.array([0, 0]), np.array([0, 1]), num_classes=3)
    assert scores.macro_f1 == pytest.approx(2 / 3)
    assert scores.macro_precision == 1.0
    assert scores.macro_recall == 0.5


@given(st.integers(0, 1000))
def test_truth_rank_is_the_index_in_a_stable_sort(seed: int) -> None:
    targets, scores = scored(seed)
    ranks = c.truth_rank(targets, scores)
    for target, row, rank in zip(targets, scores, ranks, strict=True):
        order = sorted(range(CLASSES), key=lambda label: -row[label])
        assert order.index(int(target)) + 1 == rank
    assert ((ranks == 1) == (scores.argmax(axis=1) == targets)).all()


def test_the_negative_log_of_a_certain_mistake_is_finite() -> None:
    found = c.negative_log(np.array([0.0, 0.25, 1.0], np.float32))
    assert found == pytest.approx([36.0437, 1.386294, 0.0], abs=1e-4)
    assert found.dtype == np.float64
    assert (c.negative_log(np.array([1.0 + 1e-6])) == 0).all(), "rounding makes no negative loss"


def test_a_ratio_of_nothing_is_nothing() -> None:
    found = c.ratio(np.array([1, 0, 3]), np.array([2, 0, 0]))
    assert found.tolist() == [0.5, 0.0, 0.0]
    assert float(c.ratio(np.int64(3), np.int64(4))) == 0.75


@pytest.mark.usefixtures("unchecked_types")
def test_errors_say_what_does_not_fit() -> None:
    two, one = np.array([0, 1]), np.array([0])
    none = np.array([], dtype=np.int64)
    with pytest.raises(MetricError, match=r"^there are no images to measure on$"):
        c.accuracy(none, none)
    with pytest.raises(MetricError, match="2 targets do not go with 1"):
        c.accuracy(two, one)
    with pytest.raises(MetricError, match="predicted class 7 is not between 0 and 1"):
        c.precision_recall_f1(two, np.array([0, 7]), num_classes=2)
    with pytest.raises(MetricError, match="predicted class 2 is not between 0 and 1"):
        c.precision_recall_f1(two, np.array([0, 2]), num_classes=2)
    with pytest.raises(MetricError, match="target class -1 is not between 0 and 1"):
        c.precision_recall_f1(np.array([-1, 1]), two, num_classes=2)
    with pytest.raises(MetricError, match="1 of 2 images are not numbers"):
        c.truth_rank(two, np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(MetricError, match=r"^there are no images to measure on$"):
        c.truth_rank(none, np.ones((0, 2)))
    with pytest.raises(MetricError, match=r"2 targets do not go with scores of shape \(3, 2\)"):
        c.truth_rank(two, np.ones((3, 2)))
    with pytest.raises(MetricError, match=r"2 targets do not go with scores of shape \(2,\)"):
        c.truth_rank(two, np.ones(2))
    with pytest.raises(MetricError, match="target class 1 is not between 0 and 0"):
        c.truth_rank(two, np.ones((2, 1)))
