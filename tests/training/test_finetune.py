"""Settings that Lightning carries out: that they reach it, and that they take effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import StrategyRegistry
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import TrainingError
from shopsight.training.finetune import STRATEGIES, check_hardware
from shopsight.training.fit import fit
from tests.helpers import ProductPhotos

SMALL = """
[data]
val = 0.2
test = 0.2
[preprocess]
size_px = 28
[model]
backbone = "shopsight:fashion_cnn"
[training]
mode = "scratch"
epochs = 1
batch_size = 12
precision = "32"
[hardware]
accelerator = "cpu"
"""


def recipe(*overrides: str) -> Recipe:
    return parse_recipe(SMALL, overrides=overrides)


@pytest.fixture
def gradient_norms() -> Iterator[list[float]]:
    """The norm of all gradients together at each optimizer step, as the optimizer sees them."""
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    handle = register_optimizer_step_pre_hook(note)
    yield norms
    handle.remove()


def test_gradients_are_clipped_to_the_norm(
    product_photos: ProductPhotos, tmp_path: Path, gradient_norms: list[float]
) -> None:
    catalog = open_catalog(product_photos.folder)
    fit(catalog, recipe(), tmp_path / "free")
    free = gradient_norms.copy()
    limit = sorted(free)[len(free) // 2]
    gradient_norms.clear()
    fit(catalog, recipe(f"training.gradient_clip={limit}"), tmp_path / "clipped")
    assert len(gradient_norms) == len(free) > 1
    assert max(free) > 1.01 * limit
    assert max(gradient_norms) == pytest.approx(limit, rel=1e-4)


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Trainer, dict[str, Any]]]:
    """Lightning's trainers, with the arguments that they were made with."""
    made: list[tuple[Trainer, dict[str, Any]]] = []

    class Noted(Trainer):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            made.append((self, arguments))

    monkeypatch.setattr("shopsight.training.finetune.Trainer", Noted)
    return made


def test_nodes_reach_the_trainer(trainers: list[tuple[Trainer, dict[str, Any]]]) -> None:
    three = ("hardware.num_nodes=3", "hardware.devices=2", "hardware.strategy=ddp")
    found = check_hardware(recipe(*three))
    ((trainer, _),) = trainers
    assert (trainer.num_nodes, trainer.num_devices) == (3, 2)
    assert (found.nodes, found.devices, found.world_size) == (3, 2, 6)


def test_synchronized_batchnorm_reaches_the_trainer(
    trainers: list[tuple[Trainer, dict[str, Any]]],
) -> None:
    check_hardware(recipe("hardware.sync_batchnorm=true"))
    check_hardware(recipe())
    assert [arguments["sync_batchnorm"] for _, arguments in trainers] == [True, False]


def test_synchronized_batchnorm_of_cpu_processes_is_refused() -> None:
    """Torch has it for GPUs only, and fails in the first step."""
    two = ("hardware.devices=2", "hardware.strategy=ddp", "hardware.sync_batchnorm=true")
    with pytest.raises(TrainingError, match="BatchNorm over processes needs GPUs") as caught:
        check_hardware(recipe(*two))
    assert caught.value.where == "hardware.sync_batchnorm"
    assert caught.value.fix == "--set hardware.sync_batchnorm=false"


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        *[(name, "shards the weights") for name in ("fsdp", "FSDP", "fsdp_cpu_offload")],
        *[(name, "shards the weights") for name in ("deepspeed", "deepspeed_stage_2")],
        ("model_parallel", "shards the weights"),
        *[(name, "trains with auto, ddp") for name in ("ddp_spawn", "ddp_notebook", "ddp_fork")],
        ("single_device_xla", "trains with auto, ddp"),
        ("nonsense", "trains with auto, ddp"),
    ],
)
def test_strategies_of_other_kinds_are_refused(strategy: str, why: str) -> None:
    for devices in (1, 2):
        with pytest.raises(TrainingError, match=why) as caught:
            check_hardware(recipe(f"hardware.strategy={strategy}", f"hardware.devices={devices}"))
        assert caught.value.where == "hardware.strategy"
        assert caught.value.fix == "--set hardware.strategy=ddp"


def test_lightning_knows_every_strategy_that_is_named() -> None:
    known = StrategyRegistry.available_strategies()
    assert {name for name in STRATEGIES if name != "auto"} <= set(known)
