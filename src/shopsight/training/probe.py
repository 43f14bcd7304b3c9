"""The linear probe: logistic regression on features of the frozen backbone.

It trains in seconds, is a strong classifier by itself, and gives fine-tuning a head that does
not begin by wrecking the backbone (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shopsight import progress
from shopsight.config.sections import ProbeSettings

ROWS_AT_ONCE = 8192
LBFGS_ITERATIONS = 60
# A linear head gains nothing measurable from more rows than this, and memory is finite.
MOST_ROWS = 500_000
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class Probe:
    """A fitted linear head.

    Attributes:
        weight, bias: act on raw features; standardization is folded in.
        penalty: the L2 penalty that was chosen.
        val_loss, val_accuracy: at that penalty.
    """

    weight: Float[Tensor, "classes width"]
    bias: Float[Tensor, " classes"]
    penalty: float
    val_loss: float
    val_accuracy: float


def sample_rows(rows: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """At most `MOST_ROWS` of the rows, drawn evenly and kept in order."""
    if len(rows) <= MOST_ROWS:
        return rows
    progress.notify(f"probe: fitted on {MOST_ROWS:,} of {len(rows):,} training images")
    synthetic = np.random.default_rng(seed).choice(len(rows), MOST_ROWS, replace=False)
    return rows[np.sort(synthetic)]


def fit_probe(
    train: Float[Tensor, "n width"],
    train_target: Float[Tensor, "n classes"],
    val: Float[Tensor, "m width"],
    val_target: Float[Tensor, "m classes"],
    *,
    settings: ProbeSettings,
    weights: Float[Tensor, " classes"] | None = None,
    several_labels: bool = False,
) -> Probe:
    """Fit one head per penalty, strongest first, each from the one before; keep the best on `val`.

    Targets are probabilities (one-hot), or zeros and ones of several labels. Without validation
    rows, the strongest penalty is kept.
    """
    mean = train.mean(0)
    variance = train.var(0, correction=0)
    # Halfway between standardizing each feature and one scale for all: as accurate as the former,
    # but features that hardly vary are not blown up, which fine-tuning would start from.
    scale = torch.sqrt(variance + variance.mean()).clamp_min(SMALLEST_SCALE)
    standard = (train - mean) / scale
    solution = torch.zeros(train.shape[1] + 1, train_target.shape[1])
    best: Probe | None = None
    penalties = sorted(settings.penalties, reverse=True)
    with progress.task("Fitting the probe", total=len(penalties), unit="penalties") as advance:
        for penalty in penalties:
            solution = _minimise(solution, standard, train_target, penalty, weights, several_labels)
            weight = (solution[:-1] / scale[:, None]).T
            bias = solution[-1] - weight @ mean
            loss, accuracy = loss_and_accuracy(val @ weight.T + bias, val_target, several_labels)
            probe = Probe(weight.contiguous(), bias, penalty, loss, accuracy)
            if best is None or probe.val_loss < best.val_loss:
                best = probe
            advance(1)
    assert best is not None
    return best


def _minimise(
    start: Tensor,
    features: Tensor,
    target: Tensor,
    penalty: float,
    weights: Tensor | None,
    several_labels: bool,
) -> Tensor:
    solution = start.clone().requires_grad_()
    row_weight = torch.ones(len(target)) if weights is None or several_labels else target @ weights
    row_weight = row_weight / row_weight.sum()
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
        # In pieces: logits of all rows times 10,000 classes would not fit in memory.
        for first in range(0, len(features), ROWS_AT_ONCE):
            piece = slice(first, first + ROWS_AT_ONCE)
            logits = features[piece] @ solution[:-1] + solution[-1]
            if several_labels:
                terms = functional.binary_cross_entropy_with_logits(
                    logits, target[piece], reduction="none"
                ).sum(1)
            else:
                terms = -(target[piece] * functional.log_softmax(logits, dim=1)).sum(1)
            loss = (terms * row_weight[piece]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            total = total.detach() + loss.detach()
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return solution.detach()


def loss_and_accuracy(
    logits: Float[Tensor, "n classes"], target: Float[Tensor, "n classes"], several_labels: bool
) -> tuple[float, float]:
    """Mean loss in nats and share of right answers (of every yes and no, with several labels).

    NaN twice without rows.
    """
    if not len(logits):
        return float("nan"), float("nan")
    if several_labels:
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        return float(loss), float(((logits > 0) == (target > 0.5)).float().mean())
    loss = functional.cross_entropy(logits, target)
    return float(loss), float((logits.argmax(1) == target.argmax(1)).float().mean())


def one_hot(
    targets: Int[NDArray[np.int64], " n"] | Float[NDArray[np.float32], "n c"], labels: Sequence[str]
) -> Float[Tensor, "n classes"]:
    """Targets as a table of probabilities, whether one label per image or several."""
    tensor = torch.from_numpy(targets)
    if tensor.ndim == 2:
        return tensor.float()
    return functional.one_hot(tensor, len(labels)).float()
