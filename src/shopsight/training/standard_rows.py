"""Standardized features with what is to be answered, in pieces, on one device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from shopsight.memory import memory_budget_bytes
from shopsight.targets import SparseRows, Targets

ROWS_AT_ONCE = 8192
MOST_CELLS_AT_ONCE = 1 << 25
"""Logits that are computed at once: larger products are no faster."""
BYTES_OF_A_CELL = 20
"""Of a logit with its gradient and what lies between them, by `bench/bench_probe_pass.py`."""
PIECE_SHARE = 0.125
"""Of the memory that the work may take, for the logits of a piece."""
SMALLEST_SCALE = 1e-6
WIDEST_COVARIANCE = 4096
"""Features, beyond which a covariance costs more than the probe."""
CPU = torch.device("cpu")


@runtime_checkable
class Features(Protocol):
    """Features of images, "n width": a tensor, or memory-mapped (`FeatureStore.blobs`)."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, rows: Int64[np.ndarray, "b"], /) -> np.ndarray | Tensor:
        """The features of some images."""
        ...


class Piece(NamedTuple):
    """Some rows.

    Attributes:
        features: "b width", standardized.
        right: see `right_answers`.
        weight: "b", of the rows.
    """

    features: Tensor
    right: Tensor
    weight: Tensor


class StandardRows:
    """Standardized features with right answers and weights, in pieces, on one device.

    One L2 penalty for all features asks for one scale. Dividing by the standard deviation would
    blow up features that hardly vary (fine-tuning would start from their large weights), one
    common scale would leave them out. The root of (own variance + mean variance) lies between: as
    accurate as the former, and at most 1 / sqrt(mean variance) large.

    **What the penalty asks.** A head is sought as w = P u, and |u|^2 is penalized, where P P^T is
    the inverse of

        M = share S + (1 - share) I,

    S the covariance of standardized features within classes, its mean variance 1. With a share of
    0 that is |w|^2. With more, w^T S w is the variance of the logit w^T x among photos of one
    class: a direction in which these differ widely (light, background, pose) costs more than one in
    which they agree. To second order that is what training would do on copies of each photo that
    differ as photos of its class do. A small share helped or did nothing on all photos that were
    tried, a large one where classes have few (docs/log.md). With several labels, or a photo a
    class, there is no S.

    Sources: Hastie, Buja and Tibshirani 1995, "Penalized Discriminant Analysis"; Bishop 1995,
    "Training with Noise is Equivalent to Tikhonov Regularization"; Friedman 1989, "Regularized
    Discriminant Analysis" (the mixture).

    Args:
        features: not standardized; read some rows at a time, again in each pass.
        targets: of the rows.
        weight: "n", of the rows; its sum is one.
        num_classes: number of classes.
        within: share of S in the penalty.
    """

    def __init__(
        self,
        features: Features,
        targets: Targets,
        weight: Tensor,
        *,
        num_classes: int,
        within: float = 0.0,
    ) -> None:
        self._features, self._targets, self._weight = features, targets, weight
        self._rows = np.arange(len(features), dtype=np.int64)
        self._rows_at_once = rows_at_once(num_classes)
        self.num_classes = num_classes
        self._mean, self._scale = _mean_and_scale(features, self._rows_at_once)
        self.width = len(self._mean)
        self._kept: list[Piece] = []
        self.device = CPU
        self._whitening: Tensor | None = None
        if within and not isinstance(targets, SparseRows):
            self._whitening = self._whitening_by(within, targets)

    def __len__(self) -> int:
        return len(self._rows)

    def sampled(self, rows: Int64[np.ndarray, "m"]) -> StandardRows:
        """Some of the rows, standardized as all are, on no device yet; weights sum up to one."""
        sample = object.__new__(StandardRows)
        sample.__dict__.update(self.__dict__)
        sample._rows, sample._kept = self._rows[rows], []
        sample._weight = self._weight / self._weight[sample._rows].sum()
        return sample

    def move_to(self, device: torch.device, *, most_bytes: int) -> None:
        """Compute on this device; keep as many standardized rows there as `most_bytes` allow."""
        self.device = device
        self._mean, self._scale = self._mean.to(device), self._scale.to(device)
        if self._whitening is not None:
            self._whitening = self._whitening.to(device)
        self._kept = []
        size = self._rows_at_once * (self.width + 1) * self._mean.element_size()
        for first in range(0, len(self), self._rows_at_once):
            if (len(self._kept) + 1) * size > most_bytes:
                break
            self._kept.append(self._piece(first))

    def pieces(self) -> Iterator[Piece]:
        """At most `rows_at_once` rows at a time.

        In pieces, because logits of all rows times 10,000 classes would not fit in memory.
        """
        yield from self._kept
        done = len(self._kept) * self._rows_at_once
        for first in range(done, len(self), self._rows_at_once):
            yield self._piece(first)

    def weight_of(self, solution: Float[Tensor, "width c"]) -> Float[Tensor, "width c"]:
        """The weights w = P u of standardized features; the solution u is what is penalized."""
        return solution if self._whitening is None else self._whitening @ solution

    def raw_head(self, solution: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias for features that are not standardized.

        w (x - mean) / scale + b = (w / scale) x + (b - (w / scale) mean): the standardization
        becomes part of the head.
        """
        weight = (self.weight_of(solution[:-1]) / self._scale[:, None]).T
        return weight, solution[-1] - weight @ self._mean

    def _whitening_by(self, share: float, targets: Int64[np.ndarray, "n"]) -> Tensor | None:
        """P, whose rows are in the mean as long as those of the unit matrix; None: there is no S.

        With M = L L^T, P = L^-T: P P^T = (L L^T)^-1. And with the rows x of class c, n_c in number,
        whose mean is m_c,

            sum over x of (x - m_c)(x - m_c)^T = sum of x x^T - sum over c of n_c m_c m_c^T.
        """
        if self.width > WIDEST_COVARIANCE:
            return None
        products = torch.zeros(self.width, self.width, dtype=torch.float64)
        of_class = torch.zeros(self.num_classes, self.width, dtype=torch.float64)
        for first in range(0, len(self), self._rows_at_once):
            piece = self._piece(first)
            products += piece.features.T @ piece.features
            of_class.index_add_(0, piece.right, piece.features.double())
        counts = torch.from_numpy(np.bincount(targets, minlength=self.num_classes))
        means = of_class / counts.clamp_min(1).sqrt()[:, None]
        within = products - means.T @ means
        mean = within.diagonal().mean()
        if not mean > SMALLEST_SCALE * len(self):
            return None
        unit = torch.eye(self.width, dtype=torch.float64)
        lower = torch.linalg.cholesky(share * within / mean + (1.0 - share) * unit)
        whitening = torch.linalg.solve_triangular(lower.T, unit, upper=True)
        rescaled: Tensor = whitening / whitening.square().sum(1).mean().sqrt()
        return rescaled.float()

    def _piece(self, first: int) -> Piece:
        rows = self._rows[first : first + self._rows_at_once]
        features = torch.as_tensor(self._features[rows]).to(self.device) - self._mean
        features /= self._scale
        right = right_answers(self._targets, rows).to(self.device)
        return Piece(features, right, self._weight[rows].to(self.device))


def rows_at_once(num_classes: int) -> int:
    """Rows whose logits are computed at once."""
    affordable = int(PIECE_SHARE * memory_budget_bytes()) // BYTES_OF_A_CELL
    return max(1, min(ROWS_AT_ONCE, min(MOST_CELLS_AT_ONCE, affordable) // num_classes))


def _mean_and_scale(features: Features, step: int) -> tuple[Tensor, Tensor]:
    """Of all rows, in fp64: the mean, and the scale that `StandardRows` explains."""
    around = torch.as_tensor(features[np.arange(min(step, len(features)))]).double().mean(0)
    total, squares = torch.zeros_like(around), torch.zeros_like(around)
    for first in range(0, len(features), step):
        rows = np.arange(first, min(first + step, len(features)))
        moved = torch.as_tensor(features[rows]).double() - around
        total += moved.sum(0)
        squares += moved.square().sum(0)
    offset = total / len(features)
    # Moved near zero first: the squares of large means would cancel.
    variance = (squares / len(features) - offset.square()).clamp_min(0.0)
    scale = torch.sqrt(variance + variance.mean()).clamp_min(SMALLEST_SCALE)
    return (around + offset).float(), scale.float()


def right_answers(targets: Targets, rows: Int64[np.ndarray, "b"]) -> Tensor:
    """Which logits of these rows are to be high.

    Returns:
        The class of each row, "b"; or with several labels the places of all of them, "2 k": the
        row, counted from the first of these, and the label.
    """
    chosen = targets[rows]
    if not isinstance(chosen, SparseRows):
        return torch.from_numpy(chosen)
    row = np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr))
    return torch.from_numpy(np.stack([row, chosen.indices.astype(np.int64)]))


def weighted_loss(
    logits: Float[Tensor, "b classes"], right: Tensor, weight: Float[Tensor, " b"]
) -> Float[Tensor, ""]:
    """The weighted sum of the rows' losses; with several labels each is summed over the labels.

    Binary cross-entropy is ln(1 + e^z) - t z: the second term is left for the labels of an image
    alone, so that no table of zeros and ones is needed.
    """
    if right.ndim == 1:
        return (functional.cross_entropy(logits, right, reduction="none") * weight).sum()
    row, label = right
    without = (functional.softplus(logits).sum(1) * weight).sum()
    return without - (logits[row, label] * weight[row]).sum()


def count_right(logits: Float[Tensor, "b classes"], right: Tensor) -> int:
    """Rows whose highest logit is the right one; with several labels, right answers of all."""
    if right.ndim == 1:
        return int((logits.argmax(1) == right).sum())
    said, (row, label) = logits > 0, right
    wrong = said.sum() + len(row) - 2 * said[row, label].sum()
    return logits.numel() - int(wrong)
