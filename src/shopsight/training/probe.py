"""The linear probe: logistic regression on features of the frozen backbone.

It trains in seconds, is a strong classifier by itself, and gives fine-tuning a head that does
not begin by wrecking the backbone (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution"). With a million images and 10,000 classes it takes
hours on a CPU: `shopsight.training.probe_plan` says how long, and what is spared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from shopsight import progress
from shopsight.config.model_settings import ProbeSettings
from shopsight.devices import empty_cache
from shopsight.inference.torch_engine import exact_products
from shopsight.memory import memory_budget_bytes
from shopsight.prefetch import core_count
from shopsight.runtime import is_out_of_memory, threads_of_waiting_processes
from shopsight.targets import SparseRows, Targets, first_labels, stratified_sample
from shopsight.training.probe_plan import ProbePlan, affordable_plan
from shopsight.training.standard_rows import (
    CPU,
    Features,
    StandardRows,
    count_right,
    right_answers,
    rows_at_once,
    weighted_loss,
)

# A linear head gains nothing measurable from more rows than this, and memory is finite.
MOST_ROWS = 500_000
# Of a GPU's free memory, for features; the rest is for logits and L-BFGS.
MEMORY_SHARE = 0.5
# Of the memory that the work may take on the CPU; what is not kept is read in each pass.
CPU_MEMORY_SHARE = 0.25

NO_STEP = (
    "probe: the time was up before its first step: all classes are equally likely to it; "
    "a longer --time-limit trains it"
)


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
    train: Features,
    train_target: Targets,
    val: Features,
    val_target: Targets,
    *,
    num_classes: int,
    settings: ProbeSettings,
    weights: Float[Tensor, " classes"] | None = None,
    row_weights: Float[Tensor, " n"] | None = None,
    device: torch.device = CPU,
    seconds: float | None = None,
) -> Probe:
    """Fit one head per penalty and keep the best on the validation rows.

    Penalties are tried from the strongest to the weakest, each from the solution before it: close
    penalties have close solutions, and the strongest is close to zero, where the first one starts.
    Past the best one the validation loss rises, and weaker ones are not tried. Without validation
    rows the strongest penalty is kept.

    Features may be memory-mapped; tensors that are given, and the probe, are on the CPU.

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
        seconds: at most so many, by a plan and then by the clock; None: as long as it takes.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    each = _row_weights(train_target, weights, row_weights)
    penalties = sorted(settings.penalties, reverse=True)[: None if len(val) else 1]
    rows = StandardRows(train, train_target, each, num_classes=num_classes, within=settings.within)
    fit = _ProbeFit(rows, first_labels(train_target), val, val_target, deadline)
    if device.type == "cuda":
        try:
            return fit.run(penalties, device, most_bytes=_free_bytes(device))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            progress.notify(f"probe: out of memory on {device}: fitting it on the CPU")
    # With several training processes, the first one does this alone.
    with threads_of_waiting_processes(core_count()):
        most_bytes = int(CPU_MEMORY_SHARE * memory_budget_bytes())
        return fit.run(penalties, CPU, most_bytes=most_bytes)


class _ProbeFit:
    """The heads that are fitted on one set of rows.

    Args:
        rows: to fit on.
        classes: the class of each of them, or one of its labels.
        val: features to choose the penalty on, possibly none.
        val_target: of these.
        deadline: when it must end, by `time.monotonic`.
    """

    def __init__(
        self,
        rows: StandardRows,
        classes: NDArray[np.int64],
        val: Features,
        val_target: Targets,
        deadline: float | None,
    ) -> None:
        self._rows, self._classes = rows, classes
        self._val, self._val_target = val, val_target
        self._deadline = deadline

    def run(self, penalties: list[float], device: torch.device, *, most_bytes: int) -> Probe:
        """The probe of the penalty with the lowest validation loss, tried in the given order."""
        rows, start = self._rows, torch.zeros(self._rows.width + 1, self._rows.num_classes)
        rows.move_to(device, most_bytes=0)
        plan = affordable_plan(rows, len(penalties), lambda: _seconds_of_pass(rows), self._deadline)
        passes = max(1, round(plan.passes(len(rows), len(penalties))))
        start = start.to(device)
        with progress.task("Fitting the probe", total=passes, unit="passes") as advance:
            bar = _Passes(passes, advance)
            if plan.sample_rows is None:
                rows.move_to(device, most_bytes=most_bytes)
                return self._best_of(penalties, start, rows, plan.iterations, bar)[0]
            sample = rows.sampled(self._sample(plan))
            sample.move_to(device, most_bytes=most_bytes)
            best, solution = self._best_of(penalties, start, sample, plan.iterations, bar)
            if not plan.last_iterations or self._time_is_up():
                return best
            del sample
            rows.move_to(device, most_bytes=most_bytes)
            # The more images, the less penalty: the next weaker one.
            weaker = penalties[penalties.index(best.penalty) :][:2][-1:]
            last, _ = self._best_of(weaker, solution, rows, plan.last_iterations, bar)
            # Without validation images both losses are NaN, and what saw all images is taken.
            return best if last.val_loss > best.val_loss else last

    def _sample(self, plan: ProbePlan) -> NDArray[np.int64]:
        assert plan.sample_rows is not None
        return np.flatnonzero(stratified_sample(self._classes, plan.sample_rows)).astype(np.int64)

    def _best_of(
        self,
        penalties: Iterable[float],
        solution: Tensor,
        rows: StandardRows,
        iterations: int,
        bar: _Passes,
    ) -> tuple[Probe, Tensor]:
        """The best probe, with its solution for standardized features."""
        best: Probe | None = None
        kept, share = solution, len(rows) / len(self._rows)

        def after_pass() -> None:
            bar.advance(share)

        for penalty in penalties:
            solution = _minimize(
                solution, rows, penalty, iterations, deadline=self._deadline, after_pass=after_pass
            )
            weight, bias = rows.raw_head(solution)
            loss, accuracy = loss_and_accuracy(self._val, self._val_target, weight, bias)
            probe = Probe(weight.contiguous().to(CPU), bias.to(CPU), penalty, loss, accuracy)
            if best is not None and not probe.val_loss < best.val_loss:
                break
            best, kept = probe, solution
            if self._time_is_up():
                break
        assert best is not None
        return best, kept

    def _time_is_up(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline


class _Passes:
    """Moves a progress bar by passes over all rows, of which one over a sample is a part."""

    def __init__(self, total: int, advance: Callable[[int], None]) -> None:
        self._total, self._advance = total, advance
        self._done, self._shown = 0.0, 0

    def advance(self, share: float) -> None:
        self._done += share
        whole = min(self._total, int(self._done))
        self._advance(whole - self._shown)
        self._shown = whole


def _row_weights(target: Targets, weights: Tensor | None, sampled: Tensor | None) -> Tensor:
    row_weight = torch.ones(target.shape[0])
    if weights is not None and not isinstance(target, SparseRows):
        row_weight = weights[torch.from_numpy(target)]
    if sampled is not None:
        row_weight = row_weight * sampled
    return row_weight / row_weight.sum()


def _free_bytes(device: torch.device) -> int:
    """What features may take of a CUDA device's memory."""
    empty_cache(device)
    return int(MEMORY_SHARE * torch.cuda.mem_get_info(device)[0])


class _TimeIsUpError(Exception):
    """The deadline passed within a step."""


def _minimize(
    start: Tensor,
    rows: StandardRows,
    penalty: float,
    iterations: int,
    *,
    deadline: float | None,
    after_pass: Callable[[], None],
) -> Tensor:
    """Fit weights u and biases b (the last row) at one penalty.

    They minimize, over the u of w = P u (`StandardRows`),

        penalty / 2 * |u|^2 + sum_i r_i loss(w^T x_i + b, t_i),   sum_i r_i = 1,

    where r_i is the weight of image i, biases are not penalized, and the loss is
    cross-entropy, or binary cross-entropy summed over the labels. It is convex and smooth, so that
    L-BFGS, which models the curvature by its last ten steps, needs some tens of passes over the
    features; the line search with the strong Wolfe conditions makes a step size unnecessary.

    Past the deadline, the solution is the best that was seen.

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.5 and 3.5.
    """
    solution = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [solution],
        max_iter=iterations,
        tolerance_change=1e-7,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    lowest, best = float("inf"), start

    def closure() -> Tensor:
        nonlocal lowest, best
        optimizer.zero_grad()
        total = _loss_with_gradient(solution, rows, penalty, deadline)
        after_pass()
        if deadline is not None and float(total) < lowest:
            lowest, best = float(total), solution.detach().clone()
        return total

    # TF32's noise in the loss would end the line search early.
    with exact_products(rows.device):
        try:
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        except _TimeIsUpError:
            if not best.any():
                progress.notify(NO_STEP)
            return best
    return solution.detach()


def _loss_with_gradient(
    solution: Tensor, rows: StandardRows, penalty: float, deadline: float | None
) -> Tensor:
    """One pass over all rows, which adds to the solution's gradient."""
    weight = rows.weight_of(solution[:-1])
    # The pieces add up in the gradient of a copy, so that P is passed once a pass.
    own = torch.cat([weight, solution[-1:]]).detach().requires_grad_()
    total = 0.5 * penalty * solution[:-1].square().sum()
    losses = torch.zeros_like(total.detach())
    for piece in rows.pieces():
        if deadline is not None and time.monotonic() > deadline:
            raise _TimeIsUpError
        logits = piece.features @ own[:-1] + own[-1]
        loss = weighted_loss(logits, piece.right, piece.weight)
        loss.backward()  # type: ignore[no-untyped-call]
        losses += loss.detach()
    assert own.grad is not None
    passed = (own.grad[:-1] * weight).sum() + (own.grad[-1] * solution[-1]).sum()
    (total + passed).backward()  # type: ignore[no-untyped-call]
    return total.detach() + losses


def _seconds_of_pass(rows: StandardRows) -> float:
    """Seconds of a pass, by that of its first piece, the second time."""
    zero = torch.zeros(rows.width + 1, rows.num_classes, device=rows.device, requires_grad=True)
    first = rows.sampled(np.arange(min(len(rows), rows_at_once(rows.num_classes))))
    first.move_to(rows.device, most_bytes=0)
    with exact_products(rows.device):
        for _ in range(2):
            began = time.perf_counter()
            float(_loss_with_gradient(zero, first, 0.0, None))
            seconds = time.perf_counter() - began
    return seconds * len(rows) / len(first)


@torch.no_grad()
def loss_and_accuracy(
    features: Features,
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
    loss, hits = 0.0, 0
    with exact_products(weight.device):
        for first in range(0, count, at_once):
            rows = np.arange(first, min(first + at_once, count))
            logits = torch.as_tensor(features[rows]).to(weight.device) @ weight.T + bias
            right = right_answers(targets, rows).to(weight.device)
            loss += float(weighted_loss(logits, right, torch.ones_like(logits[:, 0])))
            hits += count_right(logits, right)
    answers = count * (len(bias) if isinstance(targets, SparseRows) else 1)
    return loss / answers, hits / answers
