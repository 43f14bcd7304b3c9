"""How much work a probe may be: fewer steps, then fewer images, by the size of its arithmetic.

A pass over n images of w features and c classes is 2 n w c products: the logits, and the gradient.
L-BFGS takes up to `LBFGS_ITERATIONS` steps for each penalty, which for half a million images of
10,000 classes would be half a day on two cores. What is spared is what costs the least by
`bench/bench_probe.py`, on 81 kinds of groceries and 18 of clothes: first steps, down to
`ENOUGH_ITERATIONS` for each penalty, below which accuracy falls; then images, of which a sample
chooses the penalty, before all of them take as many steps from the sample's solution.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from shopsight import progress
from shopsight.text import duration_text
from shopsight.training.standard_rows import StandardRows

LBFGS_ITERATIONS = 60
ENOUGH_ITERATIONS = 20
FEWEST_ITERATIONS = 6
"""Where a time limit leaves no more; after a sample, all images take at least these or none."""
FEWEST_ROWS_PER_CLASS = 2
MOST_PRODUCTS = {"cpu": 4.2e14}
"""Of all passes together: hours on two cores, see docs/benchmarks.md."""
MOST_PRODUCTS_ELSEWHERE = 2e16
"""A GPU is faster by a hundred times: there nothing is spared."""
MEASURED_FROM_PRODUCTS = 2e11
"""Less takes seconds everywhere."""
SAID_FROM_S = 60.0


@dataclass(frozen=True)
class ProbePlan:
    """What is done.

    Attributes:
        iterations: steps for each penalty, at most.
        sample_rows: images that the penalties are tried on; None: all.
        last_iterations: steps of all images from the solution of the sample; 0: they take none.
    """

    iterations: int = LBFGS_ITERATIONS
    sample_rows: int | None = None
    last_iterations: int = 0

    def passes(self, num_rows: int, num_penalties: int) -> float:
        """Passes over all images, at most or so."""
        each = passes_of(self.iterations)
        if self.sample_rows is None:
            return num_penalties * each
        last = passes_of(self.last_iterations) if self.last_iterations else 0.0
        return num_penalties * each * self.sample_rows / num_rows + last


def passes_of(iterations: int) -> float:
    """Passes of so many steps of L-BFGS, whose line search looks more than once at some."""
    return 1.2 * iterations + 2.0


def affordable_plan(
    rows: StandardRows,
    num_penalties: int,
    seconds_of_pass: Callable[[], float],
    deadline: float | None,
) -> ProbePlan:
    """The plan for these rows on their device; how long it takes is said where that is long.

    Args:
        rows: on the device.
        num_penalties: penalties to try.
        seconds_of_pass: measures a pass over all rows.
        deadline: when it must end, by `time.monotonic`; None: whenever.
    """
    size = {"num_rows": len(rows), "num_classes": rows.num_classes, "width": rows.width}
    most = MOST_PRODUCTS.get(rows.device.type, MOST_PRODUCTS_ELSEWHERE)
    of_a_pass = 2.0 * len(rows) * rows.num_classes * rows.width
    plan = plan_probe(**size, num_penalties=num_penalties, most_products=most)
    if plan.passes(len(rows), num_penalties) * of_a_pass < MEASURED_FROM_PRODUCTS:
        return plan
    pass_s = seconds_of_pass()
    if deadline is not None:
        left_s = max(0.0, deadline - time.monotonic())
        most = min(most, of_a_pass * left_s / pass_s)
        plan = plan_probe(**size, num_penalties=num_penalties, most_products=most)
    seconds = plan.passes(len(rows), num_penalties) * pass_s
    if seconds >= SAID_FROM_S or plan.sample_rows is not None:
        progress.notify(f"probe: {_line(plan, rows, seconds)}")
    return plan


def _line(plan: ProbePlan, rows: StandardRows, seconds: float) -> str:
    """What is done, and about how long it takes."""
    what = f"{len(rows):,} images and {rows.num_classes:,} classes"
    line = f"about {duration_text(seconds)} for {what}"
    if plan.sample_rows is None:
        return line
    sampled = f"{plan.sample_rows:,} of the images"
    if plan.last_iterations:
        return f"{line}, of which {sampled} choose the penalty"
    return f"{line}; fitted on {sampled}"


def plan_probe(
    *, num_rows: int, num_classes: int, width: int, num_penalties: int, most_products: float
) -> ProbePlan:
    """The most thorough plan whose products are at most so many.

    Args:
        num_rows: training images.
        num_classes: number of classes.
        width: features of an image.
        num_penalties: penalties to try.
        most_products: see `MOST_PRODUCTS`.
    """
    passes = most_products / (2.0 * num_rows * num_classes * width)
    iterations = int(_steps_of(passes / num_penalties))
    if iterations >= ENOUGH_ITERATIONS:
        return ProbePlan(min(iterations, LBFGS_ITERATIONS))
    on_sample, on_all = num_penalties * passes_of(ENOUGH_ITERATIONS), passes_of(ENOUGH_ITERATIONS)
    least = FEWEST_ROWS_PER_CLASS * num_classes
    if least >= num_rows:
        return ProbePlan(max(iterations, FEWEST_ITERATIONS))
    sample = max(least, int((passes - on_all) / on_sample * num_rows))
    last = int(_steps_of(passes - on_sample * sample / num_rows))
    if last >= FEWEST_ITERATIONS:
        return ProbePlan(ENOUGH_ITERATIONS, sample, min(last, ENOUGH_ITERATIONS))
    return ProbePlan(ENOUGH_ITERATIONS, max(least, int(passes / on_sample * num_rows)))


def _steps_of(passes: float) -> float:
    """Steps that so many passes are enough for, see `passes_of`."""
    return (passes - passes_of(0)) / (passes_of(1) - passes_of(0))
