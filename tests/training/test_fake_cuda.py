"""A step of every kind of training on a CUDA device that is only imitated: see `fake_devices`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shopsight.backbones.create import create_backbone
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import WHITE, Preprocess
from shopsight.runs.run_folder import RunFolder
from shopsight.training.finetune import optimize_network, quiet_lightning
from shopsight.training.module import ClassifierTraining
from shopsight.training.time_budget import measure_steps
from shopsight.training.training_data import TrainingData
from tests.fake_devices import CUDA, WaitsForDeviceError, fake_cuda, fit_on_fake_cuda

SIZE_PX, CLASSES = 28, 3
SMALL = """
[preprocess]
size_px = 28
[model]
backbone = "shopsight:fashion_cnn"
[training]
mode = "scratch"
epochs = 1
batch_size = 4
progressive_sizes_px = [28]
precision = "bf16"
"""
KINDS = {
    "scratch": (),
    "fp32": ("training.precision=32",),
    "probe-then-finetune": ("training.mode=probe-then-finetune", "training.frozen_stages=1"),
    "frozen": ("training.mode=frozen",),
    "average": ("training.ema=0.9", "training.frozen_batchnorm=true"),
    "class weights": ("training.class_weights=balanced", "training.label_smoothing=0.1"),
    "focal": ("training.loss=focal", "training.class_weights=balanced"),
    "several labels": ("training.loss=bce", "training.class_weights=balanced"),
    "mixed images": ("augment.mixup=0.2", "augment.cutmix=1.0"),
    "clipped": ("training.gradient_clip=1.0", "training.grad_accumulation=2"),
    "sgd": ("optimizer.name=sgd", "optimizer.nesterov=true", "optimizer.layer_decay=0.8"),
}


@dataclass(frozen=True)
class NoisePixels:
    """Twelve squares of noise."""

    size_px: int = SIZE_PX
    mode: str = "raw"

    def __len__(self) -> int:
        return 12

    def gather(self, rows: np.ndarray) -> np.ndarray:
        shape = (len(self), SIZE_PX, SIZE_PX, 3)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)[rows]


def training(recipe: Recipe, folder: Path, *, validated: bool = True) -> ClassifierTraining:
    """The module of a training on twelve squares of noise."""
    backbone = create_backbone(recipe.model.backbone, weights="random", size_px=SIZE_PX)
    head = create_head(recipe.model.head, embedding_dim=backbone.embedding_dim, num_classes=CLASSES)
    weighted = recipe.training.class_weights != "none"
    data = TrainingData(
        source=NoisePixels(),  # type: ignore[arg-type]
        train_rows=np.arange(8 if validated else 12),
        val_rows=np.arange(8, 12 if validated else 8),
        targets=np.arange(12) % CLASSES,
        num_classes=CLASSES,
        class_weights=torch.tensor([0.5, 1.0, 1.5]) if weighted else None,
        extra=None,
        fill=WHITE,
    )
    model = ProductModel(backbone.module, head, Preprocess(size_px=SIZE_PX))
    return ClassifierTraining(
        model, backbone.stages, data, recipe, RunFolder(folder), first_rows=[]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_mixes_devices_or_waits(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(SMALL, overrides=KINDS[kind])
    module = training(recipe, tmp_path)
    monkeypatch.setattr(module, "write_weights", lambda _path: None)
    optimize_network(module.model, recipe, CUDA, recipe.training.precision)
    module.train()
    precision: Any = {"32": "32-true", "bf16": "bf16-mixed"}[recipe.training.precision]
    with fake_cuda(monkeypatch) as rules, quiet_lightning():
        steps = fit_on_fake_cuda(
            module,
            rules,
            monkeypatch,
            precision=precision,
            gradient_clip_val=recipe.training.gradient_clip,
            accumulate_grad_batches=recipe.training.grad_accumulation,
        )
    assert steps == 3
    assert rules.copies > 0
    assert [row.epoch for row in module.history] == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_limit_is_planned_on_the_device(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fake tensors cannot always be moved twice: the layout stays as it is.
    recipe = parse_recipe(SMALL, overrides=[*KINDS[kind], "training.channels_last=false"])
    module = training(recipe, tmp_path)
    with fake_cuda(monkeypatch):
        times = measure_steps(module, CUDA, recipe.training.precision)
    assert set(times.training_s) == {SIZE_PX}
    assert times.training_s[SIZE_PX] > 0 < times.validation_s
    assert {tensor.device for tensor in module.state_dict().values()} == {CUDA}


def test_a_refit_on_all_images_has_none_to_validate_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(SMALL, overrides=["training.ema=0.9", "training.channels_last=false"])
    module, again = (training(recipe, tmp_path, validated=False) for _ in range(2))
    module.train()
    with fake_cuda(monkeypatch) as rules, quiet_lightning():
        # Lightning compares the number of batches as a tensor, which has no value here.
        settings = {"precision": "bf16-mixed", "limit_val_batches": 0}
        assert fit_on_fake_cuda(module, rules, monkeypatch, epochs=2, **settings) == 6
        assert measure_steps(again, CUDA, "bf16").validation_s == 0.0
    assert [row.epoch for row in module.history] == [1, 2]


def test_averages_follow_the_network_in_layout_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(SMALL, overrides=["training.ema=0.9"])
    module = training(recipe, tmp_path)
    optimize_network(module.model, recipe, CUDA, "bf16")
    with fake_cuda(monkeypatch):
        module.to(CUDA)
        module.on_fit_start()
        assert module.average is not None
        for name, value in module.model.state_dict().items():
            average = module.average.average[name]
            assert (average.device, average.stride()) == (CUDA, value.stride())


@pytest.mark.parametrize(
    "wait",
    [
        lambda there, _here: float(there[0]),
        lambda there, _here: bool((there > 0).all()),
        lambda _there, here: here.to(CUDA),
        lambda _there, here: here.to(CUDA, non_blocking=True),
        lambda there, here: there.copy_(here),
        lambda there, _here: there.cpu(),
        lambda there, _here: there.new_tensor([1.0]),
    ],
)
def test_the_rules_bite(wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these waits for a GPU, and would pass on tensors without the rules."""
    here = torch.ones(2)
    with fake_cuda(monkeypatch) as rules:
        there = torch.ones(2, device=CUDA)
        rules.in_step = True
        with pytest.raises(WaitsForDeviceError):
            wait(there, here)
        assert here.pin_memory().to(CUDA, non_blocking=True).device == CUDA
        with pytest.raises(RuntimeError, match="cuda"):
            there + here
