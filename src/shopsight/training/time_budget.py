"""How many epochs fit in the time limit, from measured steps."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass
from itertools import islice

import torch

from shopsight import progress
from shopsight.devices import synchronize
from shopsight.training.finetune import optimize_layout
from shopsight.training.module import ClassifierTraining
from shopsight.training.precision import autocast

WARMUP_STEPS = 1
TIMED_STEPS = 4
# Fraction of the time that is left for the bundle, the calibration and noise of the measurement.
RESERVE = 0.08


@dataclass(frozen=True)
class StepTimes:
    """Measured times of this network on this machine.

    Attributes:
        training_s: seconds of one training step, by the size of the images in pixels.
        validation_s: seconds of one pass over the validation images.
    """

    training_s: dict[int, float]
    validation_s: float

    def run_s(self, sizes: tuple[int, ...], *, epochs: int, steps_per_epoch: int) -> float:
        """Expected seconds of a training.

        Args:
            sizes: sizes in the order of training, each for an equal number of epochs.
            epochs: of the whole training.
            steps_per_epoch: training steps in an epoch.
        """
        # Epoch e has size number floor(e S / E), S sizes over E epochs (`size_of_epoch`): number k
        # begins at the first e with e S >= k E, which is ceil(k E / S), and ends where k + 1
        # begins.
        firsts = [-(-number * epochs // len(sizes)) for number in range(len(sizes) + 1)]
        step_s = sum(
            (after - first) * self.training_s[size]
            for size, first, after in zip(sizes, firsts, firsts[1:], strict=False)
        )
        return step_s * steps_per_epoch + epochs * self.validation_s


def measure_steps(module: ClassifierTraining, device: torch.device, precision: str) -> StepTimes:
    """Time real steps (loading, augmentation, forward, backward) without changing the network.

    Args:
        module: the training that is planned.
        device: where it will run.
        precision: "32", "bf16" or "16".
    """
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
    """The largest number of epochs that fits in the budget; 0 when none does.

    Args:
        times: see `measure_steps`.
        sizes: of the training images, in the order of training.
        most: the recipe's number of epochs, which is not exceeded.
        steps_per_epoch: training steps in an epoch.
        budget_s: seconds that are left.
    """
    # Of E epochs, E - ceil(k E / S) = floor(E (S - k) / S) have a size number of at least k, which
    # never falls as E grows. With sizes that grow, so that each number costs at least as much as
    # the one before, the time therefore never falls either, and bisection finds the last E.
    usable = budget_s * (1.0 - RESERVE)

    def too_long(epochs: int) -> bool:
        return times.run_s(sizes, epochs=epochs, steps_per_epoch=steps_per_epoch) > usable

    return bisect_left(range(1, most + 1), True, key=too_long)


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
        synchronize(device)
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
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds) * len(batches)
