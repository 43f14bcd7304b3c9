from __future__ import annotations

import math

import pytest
import torch

from shopsight.config.recipe import Recipe, load_recipe
from shopsight.training.batch_size import auto_batch_size, resolve_batch_size, scaled_lr

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.mark.parametrize(
    ("images", "expected"), [(1, 32), (4095, 32), (4096, 64), (8191, 64), (8192, 128), (10**6, 128)]
)
def test_cuda_takes_larger_batches_where_the_data_has_the_steps(images: int, expected: int) -> None:
    assert auto_batch_size(CUDA, images=images) == expected
    assert auto_batch_size(CPU, images=images) == auto_batch_size(MPS, images=images) == 32


@pytest.mark.parametrize(
    ("name", "rule", "expected"),
    [
        ("sgd", "auto", 4.0),
        ("adam", "auto", 2.0),
        ("adamw", "auto", 2.0),
        ("sgd", "sqrt", 2.0),
        ("adamw", "linear", 4.0),
        ("sgd", "none", 1.0),
    ],
)
def test_the_rule_of_the_rate(name: str, rule: str, expected: float) -> None:
    settings = Recipe().replace(optimizer={"name": name, "lr": 0.1, "lr_scaling": rule}).optimizer
    assert math.isclose(scaled_lr(settings, 4.0), 0.1 * expected)


def test_the_default_recipe_is_unchanged_on_the_cpu_and_larger_on_cuda(said: list[str]) -> None:
    recipe = load_recipe("balanced")
    on_cpu = resolve_batch_size(recipe, CPU, images=10_000)
    assert (on_cpu.training.batch_size, on_cpu.optimizer.lr) == (32, recipe.optimizer.lr)
    assert said == []
    on_cuda = resolve_batch_size(recipe, CUDA, images=10_000)
    assert on_cuda.training.batch_size == 128
    assert math.isclose(on_cuda.optimizer.lr, 2 * recipe.optimizer.lr)
    assert said == ["batches of 128 images: optimizer.lr = 0.001, as 0.0005 is for 32"]
    assert resolve_batch_size(on_cuda, CUDA, images=10_000) == on_cuda


def test_a_batch_size_with_a_number_keeps_its_rate() -> None:
    recipe = load_recipe("garment-resnet18")
    on_cuda = resolve_batch_size(recipe, CUDA, images=10_000)
    assert on_cuda.training == recipe.training
    assert on_cuda.optimizer.lr == recipe.optimizer.lr
