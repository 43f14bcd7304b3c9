"""Peak memory and time of training steps of a shipped recipe's true network, random weights.

    python bench/bench_training_memory.py --recipe vpr-vit-h14-arcface --batch 2

The step is the recipe's: its loss, head, optimizer and average, on noise. `--batch` images are in
memory at once; `training.grad_accumulation` makes the recipe's batch of several such.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from gpu import RepeatedPixels
from lightning.pytorch import Trainer

from shopsight.backbones.create import create_backbone
from shopsight.config.recipe import load_recipe
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import WHITE
from shopsight.runs.run_folder import RunFolder
from shopsight.runtime import retain_freed_memory, single_threaded_opencv
from shopsight.training.finetune import LIGHTNING_PRECISION, optimize_network, quiet_lightning
from shopsight.training.module import ClassifierTraining
from shopsight.training.training_data import TrainingData

KIB_OF_GB = 1e9 / 1024


def training_of(args: argparse.Namespace, folder: Path) -> ClassifierTraining:
    recipe = load_recipe(args.recipe, args.set)
    size_px = recipe.preprocess.size_px
    assert size_px != "auto"
    recipe = recipe.replace(
        training={
            "batch_size": args.batch,
            "precision": args.precision,
            "epochs": 1,
            "sampling": "plain",
            "progressive_sizes_px": [size_px],
        }
    )
    torch.manual_seed(0)
    backbone = create_backbone(
        recipe.model.backbone, weights="random", size_px=size_px, neck=recipe.model.neck
    )
    head = create_head(
        recipe.model.head, embedding_dim=backbone.embedding_dim, num_classes=args.classes
    )
    images = args.batch * args.steps
    data = TrainingData(
        source=RepeatedPixels(size_px, images=images),  # type: ignore[arg-type]
        train_rows=np.arange(images),
        val_rows=np.arange(0),
        targets=np.arange(images) % args.classes,
        num_classes=args.classes,
        class_weights=None,
        extra=None,
        fill=WHITE,
    )
    model = ProductModel(backbone.module, head, backbone.preprocess)
    module = ClassifierTraining(
        model, backbone.stages, data, recipe, RunFolder(folder), first_rows=[]
    )
    # Two gigabytes on the disk are not what is measured.
    module._keep_epoch = lambda _epoch: None  # type: ignore[method-assign]
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--classes", type=int, default=10_300)
    parser.add_argument("--precision", choices=["32", "bf16"], default="bf16")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, retain_freed_memory(), single_threaded_opencv():
        module = training_of(args, Path(folder))
        numbers = sum(one.numel() for one in module.model.parameters())
        optimize_network(module.model, module.recipe, torch.device("cpu"), args.precision)
        module.train()
        with quiet_lightning():
            trainer = Trainer(
                accelerator="cpu",
                precision=LIGHTNING_PRECISION[args.precision],  # type: ignore[arg-type]
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
            )
            began = time.perf_counter()
            trainer.fit(module)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_OF_GB
    (row,) = module.history
    print(f"{args.recipe}: {numbers / 1e6:.0f} M parameters, batch {args.batch}, {args.precision}")
    print(f"  peak {peak_gb:.1f} GB, {(time.perf_counter() - began) / args.steps:.0f} s a step")
    print(f"  {row.line()}")


if __name__ == "__main__":
    main()
