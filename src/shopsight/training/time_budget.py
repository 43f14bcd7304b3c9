"""How many epochs fit in the time that there is, from measured steps."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass
from itertools import islice

import torch

from shopsight import progress
from shopsight.training.finetune import optimize_layout
from shopsight.training.module import ClassifierTraining
from shopsight.training.precision import autocast

WARMUP_STEPS = 1
TIMED_STEPS = 4
# The bundle, the calibration and noise of the measurement.
RESERVE = 0.08


@dataclass(frozen=True)
class StepTimes:
    """Measured seconds of one training step at each size, and of one validation pass."""

    training_s: dict[int, float]
    validation_s: float

    def run_s(self, sizes: tuple[int, ...], *, epochs: int, steps_per_epoch: int) -> float:
        """Expected seconds of `epochs` epochs."""
        # Each size has a run of epochs: the first of the next one ends it.
        firsts = [-(-number * epochs // len(sizes)) for number in range(len(sizes) + 1)]
        step_s = sum(
            (after - first) * self.training_s[size]
            for size, first, after in zip(sizes, firsts, firsts[1:], strict=False)
        )
        return step_s * steps_per_epoch + epochs * self.validation_s


def measure_steps(module: ClassifierTraining, device: torch.device, precision: str) -> StepTimes:
    """Time real steps (loading, augmentation, forward, backward) without changing the network."""
    model = module.model.to(device)
    optimize_layout(model, module.recipe, device, precision)
    sizes = module.recipe.training.progressive_sizes_px or (module.data.source.size_px,)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    module.train()
    with progress.task("Measuring a training step", total=len(set(sizes)), unit="sizes") as advance:
        training = {}
        for size in sorted(set(sizes)):
            training[size] = _time_training(module, device, precision, size)
            advance(1)
    validation = _time_validation(module, device, precision)
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    model.zero_grad(set_to_none=True)
    return StepTimes(training, validation)


def plan_epochs(
    times: StepTimes, *, sizes: tuple[int, ...], most: int, steps_per_epoch: int, budget_s: float
) -> int:
    """The largest number of epochs, at most `most`, that fits in `budget_s`; 0 when none does."""
    usable = budget_s * (1.0 - RESERVE)

    def too_long(epochs: int) -> bool:
        return times.run_s(sizes, epochs=epochs, steps_per_epoch=steps_per_epoch) > usable

    return bisect_left(range(1, most + 1), True, key=too_long)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _time_training(
    module: ClassifierTraining, device: torch.device, precision: str, size_px: int
) -> float:
    batches = module.train_batches(size_px=size_px)
    seconds: list[float] = []
    began = time.perf_counter()
    for batch in islice(batches, WARMUP_STEPS + TIMED_STEPS):
        moved = module.transfer_batch_to_device(batch, device, 0)
        with autocast(device, precision):
            loss = module.loss(module.model(moved.images), module.targets_of(moved).to(device))
        loss.backward()
        _synchronize(device)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    timed = seconds[WARMUP_STEPS:] or seconds
    return sum(timed) / len(timed)


@torch.no_grad()
def _time_validation(module: ClassifierTraining, device: torch.device, precision: str) -> float:
    batches = module.val_dataloader()
    if not len(batches):
        return 0.0
    module.model.eval()
    seconds: list[float] = []
    for batch in islice(batches, 2):
        began = time.perf_counter()
        moved = module.transfer_batch_to_device(batch, device, 0)
        with autocast(device, precision):
            module.model(moved.images)
        _synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds) * len(batches)
