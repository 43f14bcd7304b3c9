"""The plan against a sum over every epoch, and the measured step against the loader's rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shopsight.prefetch import FINISHED_WAITING
from shopsight.training import time_budget
from shopsight.training.time_budget import (
    RESERVE,
    StepTimes,
    plan_epochs,
    time_batches,
)
from shopsight.training.training_data import size_of_epoch


def slow_run_s(times: StepTimes, sizes: tuple[int, ...], epochs: int, steps: int) -> float:
    total = 0.0
    for epoch in range(epochs):
        total += times.training_s[size_of_epoch(sizes, epochs, epoch)] * steps
        total += times.validation_s
    return total


SIZES = st.lists(st.sampled_from([96, 128, 160]), min_size=1, max_size=4).map(tuple)
TIMES = st.tuples(*[st.floats(0.01, 1.0)] * 3).map(
    lambda t: StepTimes(dict(zip((96, 128, 160), sorted(t), strict=True)), 0.3)
)


@given(TIMES, SIZES, st.integers(1, 30), st.integers(1, 50))
def test_run_time_is_the_sum_over_epochs(
    times: StepTimes, sizes: tuple[int, ...], epochs: int, steps: int
) -> None:
    fast = times.run_s(sizes, epochs=epochs, steps_per_epoch=steps)
    assert abs(fast - slow_run_s(times, sizes, epochs, steps)) < 1e-6 * fast


@given(TIMES, st.integers(1, 30), st.integers(1, 50), st.floats(0.1, 500.0))
def test_the_most_epochs_that_fit(times: StepTimes, most: int, steps: int, budget_s: float) -> None:
    sizes = (96, 128, 160)
    epochs = plan_epochs(times, sizes=sizes, most=most, steps_per_epoch=steps, budget_s=budget_s)
    usable = budget_s * (1 - RESERVE)
    fitting = [
        count for count in range(1, most + 1) if slow_run_s(times, sizes, count, steps) <= usable
    ]
    assert epochs == max(fitting, default=0)


class Clock:
    """A clock that moves when it is said to, in place of the process's."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def batches(self, count: int, *, loading_s: float, ready: int) -> Iterator[Any]:
        """The first `ready` batches are there, the others come at the loader's rate."""
        for number in range(count):
            if number >= ready:
                self.now_s += loading_s
            yield number


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_budget, "time", clock)
    monkeypatch.setattr(time_budget, "default_threads", lambda: 4)
    return clock


@pytest.mark.parametrize(
    ("loading_s", "step_s", "count", "expected_s"),
    [
        (0.01, 0.002, 100, 0.012),  # The loader is what training waits for.
        (0.01, 0.5, 100, 0.5),  # Few steps suffice where the network is slow.
        (0.0, 0.002, 100, 0.002),
        (0.01, 0.002, 3, 0.002),
        (0.01, 0.002, 1, 3.002),
        (0.01, 0.002, 0, 0.0),
    ],
)
def test_steps_are_timed_until_the_loader_shows(
    clock: Clock, loading_s: float, step_s: float, count: int, expected_s: float
) -> None:
    taken = []

    def step(number: Any) -> None:
        clock.now_s += step_s + (0.0 if taken else 3.0)
        taken.append(number)

    batches = clock.batches(count, loading_s=loading_s, ready=1 + 4 + FINISHED_WAITING)
    mean_s, first_s = time_batches(batches, step, torch.device("cpu"))
    assert mean_s == pytest.approx(expected_s)
    assert first_s == pytest.approx(3.0 + step_s if count else 0.0)
    assert len(taken) <= 1 + 6 + 3 * 8


@pytest.mark.parametrize("step_s", [0.002, 0.5])
@pytest.mark.parametrize("stalled", [range(1, 3), range(9, 15), range(17, 22)])
def test_another_program_that_takes_the_processor_for_a_while(
    clock: Clock, step_s: float, stalled: range
) -> None:
    numbers = iter(range(100))

    def step(_: Any) -> None:
        clock.now_s += step_s * (25.0 if next(numbers) in stalled else 1.0)

    batches = clock.batches(100, loading_s=0.0, ready=100)
    measured_s, _ = time_batches(batches, step, torch.device("cpu"))
    assert measured_s == pytest.approx(step_s)


def test_compiling_counts_once() -> None:
    times = StepTimes({64: 1.0}, 2.0, compile_s=50.0)
    assert times.run_s((64,), epochs=3, steps_per_epoch=10) == 50.0 + 3 * (10.0 + 2.0)
