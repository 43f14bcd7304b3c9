"""Whether compiling pays, from measured times; compiling itself is in `test_cuda.py`."""

from __future__ import annotations

import pytest
import torch

from shopsight.config.recipe import Recipe
from shopsight.training.compile import compiling_pays, may_compile
from shopsight.training.time_budget import StepTimes

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
RECIPE = Recipe().replace(
    training={"compile": "auto", "epochs": 10, "progressive_sizes_px": (64,), "precision": "32"}
)


def decide(plain_s: float, compiled_s: float, *, budget_s: float | None = None) -> tuple[bool, int]:
    """The decision for 10 epochs of 100 steps, and how often steps were measured."""
    measured = []

    def measure(recipe: Recipe) -> StepTimes:
        compiled = recipe.training.compile
        measured.append(compiled)
        assert compiled in (False, True)
        step_s = compiled_s if compiled else plain_s
        return StepTimes({64: step_s}, 0.0, compile_s=100.0 if compiled else 0.0)

    return compiling_pays(RECIPE, measure, steps_per_epoch=100, budget_s=budget_s), len(measured)


def test_compiling_must_save_more_than_it_costs() -> None:
    assert decide(1.0, 0.7) == (True, 2)  # 1000 s against 100 + 700
    assert decide(1.0, 0.95) == (False, 2)  # 100 + 950


def test_a_short_training_is_not_compiled_to_find_out() -> None:
    assert decide(0.1, 0.01) == (False, 1)  # 100 s in all
    assert decide(1.0, 0.5, budget_s=110.0) == (False, 1)  # one epoch fits


def test_a_compiler_that_fails_is_reported_and_not_used(said: list[str]) -> None:
    def measure(recipe: Recipe) -> StepTimes:
        if recipe.training.compile:
            raise RuntimeError("Cannot find a working triton installation\nmore")
        return StepTimes({64: 1.0}, 0.0)

    assert not compiling_pays(RECIPE, measure, steps_per_epoch=100, budget_s=None)
    assert said == ["torch.compile: off, it failed: Cannot find a working triton installation"]


def test_too_little_memory_is_not_the_compilers_failure() -> None:
    def measure(recipe: Recipe) -> StepTimes:
        if recipe.training.compile:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return StepTimes({64: 1.0}, 0.0)

    with pytest.raises(torch.OutOfMemoryError):
        compiling_pays(RECIPE, measure, steps_per_epoch=100, budget_s=None)


def test_it_is_measured_on_cuda_in_one_process() -> None:
    assert may_compile(RECIPE, CUDA, world_size=1)
    assert not may_compile(RECIPE, CUDA, world_size=2)
    assert not may_compile(RECIPE, CPU, world_size=1)
    assert not may_compile(RECIPE, MPS, world_size=1)
    probe = RECIPE.replace(training={"mode": "probe"})
    assert not may_compile(probe, CUDA, world_size=1)
