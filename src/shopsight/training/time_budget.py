"""How many epochs fit in the time limit, from measured steps."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median

import torch

from shopsight import progress
from shopsight.devices import synchronize
from shopsight.loading.loader import Batch
from shopsight.prefetch import FINISHED_WAITING, default_threads
from shopsight.training.finetune import optimize_network
from shopsight.training.module import ClassifierTraining
from shopsight.training.precision import autocast

# Steps that are timed one by one at least, and blocks of steps where they are fast. Another program
# that takes the processor for a while can only make steps slower, so the mean follows it: one stall
# of ten seconds among five steps of one second plans a third of the epochs. The median is the time
# of a step as long as fewer than half of them were disturbed. The fastest third would be too good
# where the machine is busy all the time, as it then is in training too.
LEAST_STEPS = 5
STEADY_BLOCKS = 3
# Slow steps are few; loading, which the first of them hide, is then hardly what they wait for.
DRAIN_S = 1.0
# Fraction of the time that is left for the bundle, the calibration and noise of the measurement.
RESERVE = 0.08


@dataclass(frozen=True)
class StepTimes:
    """Measured times of this network on this machine.

    Attributes:
        training_s: seconds of one training step, by the size of the images in pixels.
        validation_s: seconds of one pass over the validation images.
        compile_s: seconds that `torch.compile` takes, once; 0 where the network is not compiled.
    """

    training_s: dict[int, float]
    validation_s: float
    compile_s: float = 0.0

    def all_seconds(self) -> list[float]:
        """The times in an order of their own, see `with_seconds`."""
        training = [self.training_s[size] for size in sorted(self.training_s)]
        return [*training, self.validation_s, self.compile_s]

    def with_seconds(self, seconds: list[float]) -> StepTimes:
        """The same with other times, in the order of `all_seconds`."""
        *training, validation, compiling = seconds
        sizes = sorted(self.training_s)
        return StepTimes(dict(zip(sizes, training, strict=True)), validation, compiling)

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
        return self.compile_s + step_s * steps_per_epoch + epochs * self.validation_s


def measure_steps(module: ClassifierTraining, device: torch.device, precision: str) -> StepTimes:
    """Time real steps (loading, augmentation, forward, backward) without changing the network.

    Args:
        module: the training that is planned.
        device: where it will run.
        precision: "32", "bf16" or "16".
    """
    model = module.model
    optimize_network(model, module.recipe, device, precision)
    # All of it: the loss has weights of its own.
    module.to(device)
    sizes = module.recipe.training.progressive_sizes_px or (module.data.source.size_px,)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    module.train()
    times = _measure(module, device, precision, set(sizes))
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    model.zero_grad(set_to_none=True)
    return times


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


def _measure(
    module: ClassifierTraining, device: torch.device, precision: str, sizes: set[int]
) -> StepTimes:
    training, compile_s = {}, 0.0
    with progress.task("Measuring a training step", total=len(sizes), unit="sizes") as advance:
        for size in sorted(sizes):
            batches = module.train_batches(size_px=size)
            training[size], first_s = time_batches(
                batches, lambda batch: _train(module, batch, device, precision), device
            )
            compile_s += first_s - training[size]
            advance(1)
    module.model.eval()
    ordered = module.val_dataloader()
    batch_s, first_s = time_batches(
        ordered, lambda batch: _validate(module, batch, device, precision), device, least=3
    )
    compiled = module.recipe.training.compile is True
    return StepTimes(
        training,
        validation_s=batch_s * len(ordered),
        compile_s=max(0.0, compile_s + first_s - batch_s) if compiled else 0.0,
    )


def _train(module: ClassifierTraining, batch: Batch, device: torch.device, precision: str) -> None:
    moved = module.transfer_batch_to_device(batch, device, 0)
    with autocast(device, precision):
        embedding, logits = module.model.embed_and_classify(moved.images)
        loss = module.objective(embedding, logits, module.targets_of(moved))
    loss.backward()


@torch.no_grad()
def _validate(
    module: ClassifierTraining, batch: Batch, device: torch.device, precision: str
) -> None:
    moved = module.transfer_batch_to_device(batch, device, 0)
    if len(moved.rows):
        with autocast(device, precision):
            module.model.embed_and_classify(moved.images)


def time_batches(
    batches: Iterable[Batch],
    step: Callable[[Batch], None],
    device: torch.device,
    *,
    least: int = LEAST_STEPS,
) -> tuple[float, float]:
    """Time steps until the batches come as fast as they are made.

    The loader makes batches ahead: while the first step warms up, its window fills, and the steps
    after it find theirs ready. Only when the window is used up does the loader's rate show. A
    device is waited for at the ends of a block of steps: in training nothing waits either, and what
    a wait takes is nothing beside a step that is slow enough to be timed alone.

    Args:
        batches: of the loader, which has its window of `shopsight.prefetch`.
        step: what is done with a batch.
        device: where.
        least: steps after the first one that are timed, however long they take.

    Returns:
        Seconds of a step, and of the first one, which may compile; zeros without batches.
    """
    threads = default_threads()
    remaining = iter(batches)
    first, first_s = _time_block(remaining, step, device, most=1)
    window = threads + FINISHED_WAITING
    drained, steady = list[float](), list[float]()
    while len(drained) < window and (len(drained) < least or sum(drained) < DRAIN_S):
        count, seconds = _time_block(remaining, step, device, most=1)
        if not count:
            break
        drained.append(seconds)
    if sum(drained) < DRAIN_S:
        # Threads that began together finish together: two rounds of them even out.
        for _ in range(STEADY_BLOCKS):
            count, seconds = _time_block(remaining, step, device, most=2 * threads)
            # Of a part of a block there is no rate to tell, unless there is nothing else.
            if count == 2 * threads or (count and not steady):
                steady.append(seconds / count)
    measured = steady or drained or [first_s] * first
    return median(measured) if measured else 0.0, first_s


def _time_block(
    batches: Iterator[Batch],
    step: Callable[[Batch], None],
    device: torch.device,
    *,
    most: int,
) -> tuple[int, float]:
    """Steps until there are `most`, or they have taken `DRAIN_S`; their time."""
    count = 0
    began = time.perf_counter()
    for batch in islice(batches, most):
        step(batch)
        count += 1
        if time.perf_counter() - began > DRAIN_S:
            break
    synchronize(device)
    return count, time.perf_counter() - began
