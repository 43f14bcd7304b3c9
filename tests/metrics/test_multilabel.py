"""Several labels per image: against slow counts and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
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


@given(seeds)
def test_scores_are_scikit_learns(seed: int) -> None:
    targets, scores = scored(seed)
    predicted = scores >= 0.5
    ours = m.multilabel_scores(csr_array(targets), csr_array(predicted))
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
    ones, twos = csr_array(np.ones((2, 2))), csr_array(np.full((2, 2), 2))
    with pytest.raises(MetricError, match=r"^targets with several labels must be 0 or 1$"):
        m.multilabel_scores(twos, ones)
    with pytest.raises(MetricError, match="do not go with"):
        m.multilabel_scores(csr_array(np.ones((2, 3))), ones)
    with pytest.raises(MetricError, match=r"^there are no images to measure on$"):
        m.multilabel_scores(csr_array((0, 2)), csr_array((0, 2)))
