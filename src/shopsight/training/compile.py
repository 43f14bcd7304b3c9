"""Whether `torch.compile` pays."""

from __future__ import annotations

from collections.abc import Callable

import torch

from shopsight import progress
from shopsight.config.recipe import Recipe
from shopsight.errors import first_line
from shopsight.runtime import is_out_of_memory
from shopsight.training.time_budget import StepTimes, plan_epochs

# Compiling takes about a minute or more, and hardly a network trains in less than half the time.
LEAST_COMPILE_S = 60.0
MOST_SAVED = 0.5


def may_compile(recipe: Recipe, device: torch.device, *, world_size: int) -> bool:
    """Whether "auto" measures at all: on CUDA, where one process decides for itself."""
    return device.type == "cuda" and world_size == 1 and recipe.training.finetunes


def compiling_pays(
    recipe: Recipe,
    measure: Callable[[Recipe], StepTimes],
    *,
    steps_per_epoch: int,
    budget_s: float | None,
) -> bool:
    """Compare the planned training with compiled and with plain steps, both measured.

    Nothing is compiled when the whole training is so short that it could not pay. Where the
    compiler fails (it needs a C compiler and Triton), the answer is no, with a note.

    Args:
        recipe: resolved, but for `training.compile`.
        measure: times the steps of a recipe.
        steps_per_epoch: training steps in an epoch.
        budget_s: seconds that are left of the time limit; None without one.
    """
    plain = measure(recipe.replace(training={"compile": False}))
    sizes, epochs = recipe.training.progressive_sizes_px, recipe.training.epochs
    if budget_s is not None:
        epochs = plan_epochs(
            plain, sizes=sizes, most=epochs, steps_per_epoch=steps_per_epoch, budget_s=budget_s
        )
    plain_s = plain.run_s(sizes, epochs=epochs, steps_per_epoch=steps_per_epoch)
    if MOST_SAVED * plain_s < LEAST_COMPILE_S:
        return False
    try:
        compiled = measure(recipe.replace(training={"compile": True}))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        progress.notify(f"torch.compile: off, it failed: {first_line(error)}")
        return False
    compiled_s = compiled.run_s(sizes, epochs=epochs, steps_per_epoch=steps_per_epoch)
    pays = compiled_s < plain_s
    progress.notify(
        f"torch.compile: {'on' if pays else 'off'}, {epochs} epochs would take {compiled_s:.0f} s "
        f"with it, {compiled.compile_s:.0f} s of them to compile, and {plain_s:.0f} s without"
    )
    return pays
