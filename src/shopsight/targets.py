"""What a network is to answer: a class index for each image, or a sparse row of 0 and 1.

A table of a million images and 10,000 classes has 10^10 cells, of which almost all are zero. It is
never made: only the rows of a batch or a piece become dense, by `dense_rows`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64


@runtime_checkable
class SparseRows(Protocol):
    """What is used here of SciPy's `csr_array`, without which labels can be read.

    Attributes:
        shape: rows and columns.
        indices: the columns of the cells that are not zero, row by row.
        indptr: where in `indices` each row begins, and the end of the last.
    """

    shape: Any
    indices: Any
    indptr: Any

    def __getitem__(self, rows: Any) -> Any: ...
    def multiply(self, other: Any) -> Any: ...
    def toarray(self) -> Any: ...


Targets: TypeAlias = Int64[np.ndarray, "_"] | SparseRows
"""Class indices "n", or with several labels per image uint8 of shape "n c", 1 for each label."""


def several_labels(targets: Targets) -> bool:
    """Whether an image may have several labels."""
    return isinstance(targets, SparseRows)


def dense_rows(
    targets: Targets, rows: Int64[np.ndarray, "b"] | slice, *, num_classes: int
) -> Float32[np.ndarray, "b {num_classes}"]:
    """The targets of some images, a column for each class.

    Args:
        targets: of all images.
        rows: which of them.
        num_classes: number of classes.

    Returns:
        Probabilities (one-hot), or 0 and 1 of several labels.
    """
    if isinstance(targets, SparseRows):
        several: Float32[np.ndarray, "b c"] = targets[rows].toarray().astype(np.float32)
        return several
    chosen = targets[rows]
    dense = np.zeros((len(chosen), num_classes), np.float32)
    dense[np.arange(len(chosen)), chosen] = 1.0
    return dense


def first_labels(targets: Targets) -> Int64[np.ndarray, "n"]:
    """The class of each image; of several labels the first one, and 0 where there is none."""
    if not isinstance(targets, SparseRows):
        return targets
    each = np.append(targets.indices, 0)[targets.indptr[:-1]]
    first: Int64[np.ndarray, "n"] = np.where(np.diff(targets.indptr) > 0, each, 0).astype(np.int64)
    return first


def count_classes(targets: Targets, *, num_classes: int) -> Int64[np.ndarray, "{num_classes}"]:
    """The images of each class."""
    codes = targets.indices if isinstance(targets, SparseRows) else targets
    return np.bincount(codes, minlength=num_classes).astype(np.int64)


def stratified_sample(
    classes: Int64[np.ndarray, "n"], most: int, *, seed: int = 0
) -> Bool[np.ndarray, "n"]:
    """Which images are of a sample of at most `most`, in which classes keep their share.

    Images in the order of their classes, at random within each, of which every so many-th is taken:
    a systematic sample, see `shopsight.loading.class_sampling`.
    """
    if len(classes) <= most:
        return np.ones(len(classes), bool)
    mixed = np.random.default_rng(seed).permutation(len(classes))
    ordered = mixed[np.argsort(classes[mixed], kind="stable")]
    chosen = np.zeros(len(classes), bool)
    chosen[ordered[np.arange(most) * len(classes) // most]] = True
    return chosen
