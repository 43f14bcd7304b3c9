"""The plan against a sum over every epoch."""

from hypothesis import given
from hypothesis import strategies as st

from shopsight.training.module import size_of_epoch
from shopsight.training.time_budget import RESERVE, StepTimes, plan_epochs


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
