"""Targets as numbers: indices, or sparse rows."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from shopsight.targets import count_classes, dense_rows, several_labels

ONE = np.array([2, 0, 2], np.int64)
SEVERAL = csr_array(np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]], np.uint8))


def test_rows_of_class_indices_are_one_hot() -> None:
    assert dense_rows(ONE, np.array([1, 0, 1]), num_classes=4).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [1, 0, 0, 0],
    ]


def test_rows_of_several_labels_are_zeros_and_ones() -> None:
    dense = dense_rows(SEVERAL, slice(1, 3), num_classes=3)
    assert dense.dtype == np.float32
    assert dense.tolist() == [[0, 0, 0], [0, 0, 1]]


def test_each_class_is_counted_that_no_image_has_too() -> None:
    assert count_classes(ONE, num_classes=4).tolist() == [1, 0, 2, 0]
    assert count_classes(SEVERAL, num_classes=3).tolist() == [1, 0, 2]


def test_a_table_of_several_labels_is_told_from_indices() -> None:
    assert several_labels(SEVERAL)
    assert not several_labels(ONE)
