"""What the benchmarks of GPUs share: the training that recipes run, timed, and kept results."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from lightning.pytorch import Callback, Trainer
from torch.utils.flop_counter import FlopCounterMode

from shopsight.backbones.create import create_backbone
from shopsight.bundle.format import library_versions
from shopsight.config.recipe import Recipe, load_recipe
from shopsight.devices import copies_from_pinned, synchronize
from shopsight.loading.loader import Batch
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import WHITE
from shopsight.runs.run_folder import RunFolder
from shopsight.runtime import retain_freed_memory, single_threaded_opencv
from shopsight.training.batch_size import resolve_batch_size
from shopsight.training.finetune import LIGHTNING_PRECISION, optimize_network, quiet_lightning
from shopsight.training.module import ClassifierTraining
from shopsight.training.precision import pick_precision, training_arithmetic
from shopsight.training.training_data import TrainingData

CLASSES = 650
WARMUP_STEPS = 5
RESULTS = Path("bench/results/gpu.jsonl")


class RepeatedPixels:
    """A pixel cache in memory: a few squares of noise that stand for any number of images."""

    mode = "raw"

    def __init__(self, size_px: int, *, images: int) -> None:
        self.size_px, self.images = size_px, images
        shape = (64, size_px, size_px, 3)
        self._pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def __len__(self) -> int:
        return self.images

    def gather(self, rows: Int64[np.ndarray, "n"]) -> UInt8[np.ndarray, "n s s 3"]:
        pixels: UInt8[np.ndarray, "n s s 3"] = self._pixels[rows % len(self._pixels)]
        return pixels


class RepeatedBatch:
    """One batch, again and again: what training reaches when it never waits for the loader."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.steps):
            yield self.batch


class TimedSteps(Callback):
    """Seconds between the end of the warm-up and that of the last step, waited for once."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self.device, self.last = device, WARMUP_STEPS + steps - 1
        self.began = self.seconds = 0.0

    def on_train_batch_end(self, *args: Any) -> None:
        index = args[-1]
        if index in (WARMUP_STEPS - 1, self.last):
            synchronize(self.device)
            if index == self.last:
                self.seconds = time.perf_counter() - self.began
            self.began = time.perf_counter()


def recipe_of(
    name: str, backbone: str, device: torch.device, *, batch: int | None, compiled: bool
) -> Recipe:
    """A shipped recipe on this device: its own loss, average, optimizer and augmentation.

    The batch size is the recipe's choice for a large data set, unless one is given.
    """
    recipe = load_recipe(name)
    recipe = recipe.replace(
        model={"backbone": backbone, "weights": "random"},
        training={"compile": compiled, "epochs": 1, "checkpoint": "last"},
    )
    if batch is not None:
        recipe = recipe.replace(training={"batch_size": batch})
    return resolve_batch_size(recipe, device, images=1_000_000)


def training_of(recipe: Recipe, folder: Path, *, steps: int) -> ClassifierTraining:
    """A training on noise, which has as many batches as are to be timed."""
    torch.manual_seed(0)
    backbone = create_backbone(recipe.model.backbone, weights="random")
    head = create_head(recipe.model.head, embedding_dim=backbone.embedding_dim, num_classes=CLASSES)
    size_px = backbone.preprocess.size_px
    images = (WARMUP_STEPS + steps) * recipe.training.resolved_batch_size
    recipe = recipe.replace(training={"progressive_sizes_px": [size_px]})
    data = TrainingData(
        source=RepeatedPixels(size_px, images=images),  # type: ignore[arg-type]
        train_rows=np.arange(images),
        val_rows=np.arange(0),
        targets=np.arange(images) % CLASSES,
        num_classes=CLASSES,
        class_weights=None,
        extra=None,
        fill=WHITE,
    )
    model = ProductModel(backbone.module, head, backbone.preprocess)
    return ClassifierTraining(
        model, backbone.stages, data, recipe, RunFolder(folder), first_rows=[]
    )


def training_images_per_s(
    recipe: Recipe, device: torch.device, *, steps: int, loaded: bool
) -> float:
    """Time the steps of the training loop that `shopsight train` runs.

    Args:
        recipe: see `recipe_of`.
        device: where.
        steps: after the warm-up, which compiles.
        loaded: by the loader, which augments each batch anew; else the first one is repeated.
    """
    precision = pick_precision(recipe.training.precision, device)
    timed = TimedSteps(device, steps)
    with tempfile.TemporaryDirectory() as folder:
        module = training_of(recipe, Path(folder), steps=steps)
        if not loaded:
            _repeat_first_batch(module, device)
        optimize_network(module.model, module.recipe, device, precision)
        module.train()
        with quiet_lightning(), training_arithmetic(recipe.hardware, device), _as_in_training():
            trainer = Trainer(
                accelerator=device.type,
                devices=1,
                precision=LIGHTNING_PRECISION[precision],  # type: ignore[arg-type]
                max_epochs=1,
                limit_val_batches=0,
                gradient_clip_val=recipe.training.gradient_clip,
                callbacks=[timed],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                default_root_dir=folder,
            )
            trainer.fit(module)
    return steps * recipe.training.resolved_batch_size / timed.seconds


def training_flops(recipe: Recipe, device: torch.device) -> float:
    """Operations of one image's part in a step, without what frozen stages do not need."""
    with tempfile.TemporaryDirectory() as folder:
        module = training_of(recipe, Path(folder), steps=1).to(device).train()
        size_px = module.model.preprocess.size_px
        images = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8, device=device)
        with FlopCounterMode(display=False) as counter:
            embedding, logits = module.model.embed_and_classify(images)
            target = module.data.dense_targets(np.arange(2)).to(device)
            module.objective(embedding, logits, target).backward()
    return float(counter.get_total_flops()) / 2


def _repeat_first_batch(module: ClassifierTraining, device: torch.device) -> None:
    with single_threaded_opencv():
        batch = next(iter(module.train_dataloader()))
    if copies_from_pinned(device):
        batch = replace(batch, images=batch.images.pin_memory())
    repeated = RepeatedBatch(batch, len(module.train_dataloader()))
    module.train_dataloader = lambda: repeated  # type: ignore[method-assign,assignment,return-value]


@contextmanager
def _as_in_training() -> Iterator[None]:
    with retain_freed_memory(), single_threaded_opencv():
        yield


def device_of(name: str) -> torch.device | None:
    """The device to measure; None, with a line that says so, where there is no such GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        print("not run: no CUDA device")
        return None
    return torch.device(name)


def card(device: torch.device) -> str:
    """Name of the device, for tables."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that the benchmarks of GPUs have in common."""
    parser.add_argument("--device", default="cuda", help='"cpu" tries the script out')
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument(
        "--results", type=Path, help=f"append rows here; on CUDA {RESULTS.as_posix()} by default"
    )


def keep(path: Path | None, device: torch.device, bench: str, row: dict[str, Any]) -> None:
    """Append a row of figures, with the card and the versions that it was measured with."""
    if path is None and device.type == "cuda":
        path = RESULTS
    if path is None:
        return
    versions = library_versions()
    about = {
        "bench": bench,
        "card": card(device),
        "cores": os.cpu_count(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": versions["torch"],
        "timm": versions["timm"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(about | row) + "\n")
