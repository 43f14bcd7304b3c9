from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from shopsight.config.optimizer_settings import OptimizerSettings
from shopsight.config.recipe import Recipe, load_recipe
from shopsight.training.batch_size import auto_batch_size, resolve_batch_size, scaled_lr
from shopsight.training.optim import create_optimizer

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
    assert said == ["batches of 128 images: optimizer.lr = 0.002, as 0.001 is for 32"]
    assert resolve_batch_size(on_cuda, CUDA, images=10_000) == on_cuda


def test_a_batch_size_with_a_number_keeps_its_rate() -> None:
    recipe = load_recipe("garment-resnet18")
    on_cuda = resolve_batch_size(recipe, CUDA, images=10_000)
    assert on_cuda.training == recipe.training
    assert on_cuda.optimizer.lr == recipe.optimizer.lr


@pytest.mark.parametrize(("name", "factor"), [("sgd", 8.0), ("adamw", 8.0**0.5)])
def test_eight_devices_learn_at_a_higher_rate(name: str, factor: float, said: list[str]) -> None:
    recipe = Recipe().replace(
        training={"batch_size": 24, "grad_accumulation": 2}, optimizer={"name": name, "lr": 0.01}
    )
    on_eight = resolve_batch_size(recipe, CUDA, devices=8, images=100)
    assert on_eight.training == recipe.training
    assert math.isclose(on_eight.optimizer.lr, 0.01 * factor)
    (line,) = said
    assert line.startswith("batches of 24 images on each of 8 devices: optimizer.lr = ")
    assert resolve_batch_size(on_eight, CUDA, devices=8, images=100) == on_eight
    kept = recipe.replace(optimizer={"lr_scaling": "none"})
    assert resolve_batch_size(kept, CUDA, devices=8, images=100).optimizer.lr == 0.01


def test_an_automatic_batch_counts_the_steps_of_all_devices() -> None:
    recipe = load_recipe("balanced")
    assert resolve_batch_size(recipe, CUDA, devices=2, images=8192).training.batch_size == 64
    on_two = resolve_batch_size(recipe, CUDA, devices=2, images=10**6)
    assert on_two.training.batch_size == 128
    assert math.isclose(on_two.optimizer.lr, recipe.optimizer.lr * 8**0.5)


def test_adam_moves_as_far_in_an_epoch_of_four_devices_as_of_one() -> None:
    """Where the gradient is mostly noise, as the rule assumes: mean and spread of the path."""

    def path(devices: int) -> torch.Tensor:
        settings = OptimizerSettings(name="adam", lr=1e-4)
        weights = nn.Parameter(torch.zeros(4000))
        rate = scaled_lr(settings, devices)
        optimizer = create_optimizer([{"params": [weights], "lr": rate}], settings)
        noise = torch.Generator().manual_seed(devices)
        for _ in range(4000 // devices):
            batch = torch.randn(4000, generator=noise) / devices**0.5
            weights.grad = 0.05 + batch
            optimizer.step()
        return weights.detach()

    one, four = path(1), path(4)
    assert abs(float(four.mean() / one.mean()) - 1) < 0.05
    assert abs(float(four.std() / one.std()) - 1) < 0.05
