"""The linear probe: logistic regression on features of the frozen backbone.

It trains in seconds, is a strong classifier by itself, and gives fine-tuning a head that does
not begin by wrecking the backbone (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from shopsight import progress
from shopsight.config.sections import ProbeSettings
from shopsight.devices import empty_cache
from shopsight.inference.torch_engine import exact_products
from shopsight.prefetch import core_count
from shopsight.runtime import is_out_of_memory, threads_of_waiting_processes
from shopsight.targets import Targets

ROWS_AT_ONCE = 8192
# Logits that are kept at once; with their gradients they take some five times as much.
CELLS_AT_ONCE = 1 << 25
LBFGS_ITERATIONS = 60
# A linear head gains nothing measurable from more rows than this, and memory is finite.
MOST_ROWS = 500_000
SMALLEST_SCALE = 1e-6
# Of a GPU's free memory, for features; the rest is for logits and L-BFGS.
MEMORY_SHARE = 0.5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Probe:
    """A fitted linear head.

    Attributes:
        weight: acts on raw features; standardization is folded in.
        bias: likewise.
        penalty: the L2 penalty that was chosen.
        val_loss: at that penalty, in nats; NaN without validation images.
        val_accuracy: likewise, 0 to 1.
    """

    weight: Float[Tensor, "classes width"]
    bias: Float[Tensor, " classes"]
    penalty: float
    val_loss: float
    val_accuracy: float


def sample_rows(rows: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """At most `MOST_ROWS` of the rows, sampled uniformly and kept in order."""
    if len(rows) <= MOST_ROWS:
        return rows
    progress.notify(f"probe: fitted on {MOST_ROWS:,} of {len(rows):,} training images")
    sampled = np.random.default_rng(seed).choice(len(rows), MOST_ROWS, replace=False)
    return rows[np.sort(sampled)]


def fit_probe(
    train: Float[Tensor, "n width"],
    train_target: Targets,
    val: Float[Tensor, "m width"],
    val_target: Targets,
    *,
    num_classes: int,
    settings: ProbeSettings,
    weights: Float[Tensor, " classes"] | None = None,
    row_weights: Float[Tensor, " n"] | None = None,
    device: torch.device = CPU,
) -> Probe:
    """Fit one head per penalty and keep the best on the validation rows.

    Penalties are tried from the strongest to the weakest, each from the solution before it: close
    penalties have close solutions, and the strongest is close to zero, where the first one starts.
    Without validation rows the strongest penalty is kept.

    All tensors that are given, and the probe, are on the CPU.

    Args:
        train: features to fit on.
        train_target: of these rows; with several labels it is sigmoid instead of softmax.
        val: features to choose the penalty on, possibly none.
        val_target: as `train_target`.
        num_classes: number of classes.
        settings: the penalties.
        weights: of the classes; they do not count with several labels.
        row_weights: of the rows, as often as an epoch of sampling would draw each: all rows at
            once weighted so are what such epochs tend to.
        device: where to compute. A CUDA device keeps as many features as fit in `MEMORY_SHARE` of
            its free memory, and is sent the rest in each pass; if it runs out of memory, the CPU
            computes.
    """
    each = _row_weights(train_target, weights, row_weights)
    rows = StandardRows(train, train_target, each, num_classes=num_classes)
    penalties = sorted(settings.penalties, reverse=True)
    if device.type == "cuda":
        try:
            rows.move_to(device, most_bytes=_free_bytes(device))
            return _best_of(penalties, rows, val, val_target)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            progress.notify(f"probe: out of memory on {device}: fitting it on the CPU")
    rows.move_to(CPU)
    # With several training processes, the first one does this alone.
    with threads_of_waiting_processes(core_count()):
        return _best_of(penalties, rows, val, val_target)


def _best_of(
    penalties: Sequence[float], rows: StandardRows, val: Tensor, val_target: Targets
) -> Probe:
    """The probe of the penalty with the lowest validation loss, tried in the given order."""
    solution = torch.zeros(rows.width + 1, rows.classes, device=rows.device)
    best: Probe | None = None
    with progress.task("Fitting the probe", total=len(penalties), unit="penalties") as advance:
        for penalty in penalties:
            solution = _minimize(solution, rows, penalty)
            weight, bias = rows.raw_head(solution)
            loss, accuracy = loss_and_accuracy(val, val_target, weight, bias)
            probe = Probe(weight.contiguous().to(CPU), bias.to(CPU), penalty, loss, accuracy)
            if best is None or probe.val_loss < best.val_loss:
                best = probe
            advance(1)
    assert best is not None
    return best


class StandardRows:
    """Standardized features with targets and weights, in pieces, on one device.

    One L2 penalty for all features asks for one scale. Dividing by the standard deviation would
    blow up features that hardly vary (fine-tuning would start from their large weights), one
    common scale would leave them out. The root of (own variance + mean variance) lies between: as
    accurate as the former, and at most 1 / sqrt(mean variance) large.

    Args:
        features: "n width", not standardized.
        target: of the rows.
        weight: "n", of the rows; its sum is one.
        num_classes: number of classes.
    """

    def __init__(
        self, features: Tensor, target: Targets, weight: Tensor, *, num_classes: int
    ) -> None:
        self._features, self._target, self._weight = features, target, weight
        self.width, self.classes = features.shape[1], num_classes
        self._rows_at_once = rows_at_once(num_classes)
        variance = features.var(0, correction=0)
        self._mean = features.mean(0)
        self._scale = torch.sqrt(variance + variance.mean()).clamp_min(SMALLEST_SCALE)
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self.device = CPU

    def move_to(self, device: torch.device, *, most_bytes: int | None = None) -> None:
        """Compute on this device; keep as many standardized rows there as `most_bytes` allow."""
        self.device = device
        self._mean, self._scale = self._mean.to(device), self._scale.to(device)
        self._kept = []
        size = self._rows_at_once * (self.width + 1) * self._features.element_size()
        for first in range(0, len(self._features), self._rows_at_once):
            if most_bytes is not None and (len(self._kept) + 1) * size > most_bytes:
                break
            self._kept.append(self._piece(first))

    def pieces(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """At most `rows_at_once` rows at a time: features, right answers, weights.

        In pieces, because logits of all rows times 10,000 classes would not fit in memory.
        """
        yield from self._kept
        done = len(self._kept) * self._rows_at_once
        for first in range(done, len(self._features), self._rows_at_once):
            yield self._piece(first)

    def raw_head(self, solution: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias for features that are not standardized.

        w (x - mean) / scale + b = (w / scale) x + (b - (w / scale) mean): the standardization
        becomes part of the head.
        """
        weight = (solution[:-1] / self._scale[:, None]).T
        return weight, solution[-1] - weight @ self._mean

    def _piece(self, first: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = slice(first, first + self._rows_at_once)
        features = self._features[rows].to(self.device) - self._mean
        features /= self._scale
        target = _right_answers(self._target, rows).to(self.device)
        return features, target, self._weight[rows].to(self.device)


def rows_at_once(num_classes: int) -> int:
    """Rows whose logits are computed at once."""
    return max(1, min(ROWS_AT_ONCE, CELLS_AT_ONCE // num_classes))


def _row_weights(target: Targets, weights: Tensor | None, sampled: Tensor | None) -> Tensor:
    row_weight = torch.ones(target.shape[0])
    if weights is not None and not isinstance(target, csr_array):
        row_weight = weights[torch.from_numpy(target)]
    if sampled is not None:
        row_weight = row_weight * sampled
    return row_weight / row_weight.sum()


def _free_bytes(device: torch.device) -> int:
    """What features may take of a CUDA device's memory."""
    empty_cache(device)
    return int(MEMORY_SHARE * torch.cuda.mem_get_info(device)[0])


def _minimize(start: Tensor, rows: StandardRows, penalty: float) -> Tensor:
    """Fit weights w and biases b (the last row) at one penalty.

    They minimize

        penalty / 2 * |w|^2 + sum_i r_i loss(w^T x_i + b, t_i),   sum_i r_i = 1,

    where r_i is the weight of image i, biases are not penalized, and the loss is
    cross-entropy, or binary cross-entropy summed over the labels. It is convex and smooth, so that
    L-BFGS, which models the curvature by its last ten steps, needs some tens of passes over the
    features; the line search with the strong Wolfe conditions makes a step size unnecessary.

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.5 and 3.5.
    """
    solution = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [solution],
        max_iter=LBFGS_ITERATIONS,
        tolerance_change=1e-7,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = 0.5 * penalty * solution[:-1].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        for features, target, row_weight in rows.pieces():
            logits = features @ solution[:-1] + solution[-1]
            loss = _weighted_loss(logits, target, row_weight)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total.detach() + loss.detach()
        return total

    # TF32's noise in the loss would end the line search early.
    with exact_products(rows.device):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return solution.detach()


def _right_answers(targets: Targets, rows: slice) -> Tensor:
    """Which logits of these rows are to be high.

    Returns:
        The class of each row, "b"; or with several labels the places of all of them, "2 k": the
        row, counted from the first of these, and the label.
    """
    chosen = targets[rows]
    if not isinstance(chosen, csr_array):
        return torch.from_numpy(chosen)
    row = np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr))
    return torch.from_numpy(np.stack([row, chosen.indices.astype(np.int64)]))


def _weighted_loss(logits: Tensor, right: Tensor, row_weight: Tensor) -> Tensor:
    """The weighted sum of the rows' losses; with several labels each is summed over the labels.

    Binary cross-entropy is ln(1 + e^z) - t z: the second term is left for the labels of an image
    alone, so that no table of zeros and ones is needed.
    """
    if right.ndim == 1:
        losses = functional.cross_entropy(logits, right, reduction="none")
        return (losses * row_weight).sum()
    row, label = right
    without = (functional.softplus(logits).sum(1) * row_weight).sum()
    return without - (logits[row, label] * row_weight[row]).sum()


@torch.no_grad()
def loss_and_accuracy(
    features: Float[Tensor, "n width"],
    targets: Targets,
    weight: Float[Tensor, "classes width"],
    bias: Float[Tensor, " classes"],
) -> tuple[float, float]:
    """Mean loss of a head in nats and fraction of its right answers; NaN twice without rows.

    With several labels each label of each image counts as an answer, right when its probability
    is on the right side of a half.

    Args:
        features: of the images, on the CPU.
        targets: of the images.
        weight: of the head; where it is, the logits are computed, some rows at a time.
        bias: likewise.
    """
    count, at_once = len(features), rows_at_once(len(bias))
    if not count:
        return float("nan"), float("nan")
    loss, right_answers = 0.0, 0
    with exact_products(weight.device):
        for first in range(0, count, at_once):
            rows = slice(first, first + at_once)
            logits = features[rows].to(weight.device) @ weight.T + bias
            right = _right_answers(targets, rows).to(weight.device)
            loss += float(_weighted_loss(logits, right, torch.ones_like(logits[:, 0])))
            right_answers += _count_right(logits, right)
    answers = count * (len(bias) if isinstance(targets, csr_array) else 1)
    return loss / answers, right_answers / answers


def _count_right(logits: Tensor, right: Tensor) -> int:
    if right.ndim == 1:
        return int((logits.argmax(1) == right).sum())
    said, row, label = logits > 0, *right
    wrong = said.sum() + len(row) - 2 * said[row, label].sum()
    return logits.numel() - int(wrong)
