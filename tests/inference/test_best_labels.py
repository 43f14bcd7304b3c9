from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight.inference.best_labels import best_labels


def whole_sort(probabilities: np.ndarray, most: int) -> list[list[int]]:
    order: list[list[int]] = np.argsort(-probabilities, axis=1, kind="stable")[:, :most].tolist()
    return order


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 12), st.integers(0, 4))
def test_the_best_are_those_of_a_whole_sort(
    seed: int, classes: int, most: int, digits: int
) -> None:
    # Rounded: equal ones within the best, across their edge, and beyond it.
    probabilities = np.round(np.random.default_rng(seed).random((5, classes)), digits)
    assert best_labels(probabilities, most).tolist() == whole_sort(probabilities, most)


@pytest.mark.parametrize("most", [1, 5, 499, 500, 900])
def test_what_is_no_number_comes_last(most: int) -> None:
    probabilities = np.random.default_rng(0).random((4, 500)).astype(np.float32)
    probabilities[0] = 0.0
    probabilities[1, 3] = np.nan
    probabilities[2, :496] = np.nan
    probabilities[3] = np.nan
    assert best_labels(probabilities, most).tolist() == whole_sort(probabilities, most)


def test_many_labels_are_not_sorted_even_where_all_are_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    argsort, widths = np.argsort, []

    def watched(values: np.ndarray, **options: object) -> np.ndarray:
        widths.append(values.shape[-1])
        found: np.ndarray = argsort(values, **options)
        return found

    monkeypatch.setattr(np, "argsort", watched)
    assert best_labels(np.zeros((3, 10_000)), 5).tolist() == [[0, 1, 2, 3, 4]] * 3
    assert max(widths) == 5
