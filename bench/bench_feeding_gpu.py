"""Whether a GPU waits for its images: in training from the pixel cache, in predicting from files.

    python bench/bench_feeding_gpu.py [--backbones A,B] [--size 600x866] [--files 2000]

Training: images/s of the recipe's loop with the loader, which augments each batch anew, and with
one batch that is repeated. Predicting: `Predictor.predict` over JPEG files, and the same engine on
pixels that are ready. A fraction of 1 means that the GPU never waits. Without CUDA nothing is
measured; --device cpu tries the script out. Rows are appended to bench/results/gpu.jsonl.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from bench_backbones_gpu import free, model_of
from gpu import add_arguments, card, device_of, keep, recipe_of, training_images_per_s
from photos import jpeg, photo

from shopsight.bundle.format import BundleInfo
from shopsight.inference.batches import batch_size_of, run_batches
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.prefetch import core_count

BACKBONES = ("embedded:tf_efficientnet_lite0", "timm:resnet50")
DISTINCT_FILES = 32


def training(backbone: str, device: torch.device, given: argparse.Namespace) -> tuple[float, float]:
    """Images/s with the loader, and of a repeated batch."""
    recipe = recipe_of(given.recipe, backbone, device, batch=given.batch, compiled=False)
    rates = []
    for loaded in (True, False):
        rates.append(training_images_per_s(recipe, device, steps=given.steps, loaded=loaded))
        free(device)
    return rates[0], rates[1]


def predicting(
    backbone: str, device: torch.device, given: argparse.Namespace, folder: Path
) -> tuple[float, float]:
    """Images/s from files, and of the engine on pixels that are ready."""
    model = model_of(backbone)
    info = BundleInfo(
        backbone=backbone,
        weights="random",
        labels=tuple(f"label {number}" for number in range(650)),
        preprocess=model.preprocess,
        embedding_dim=model.head.classifier.in_features,  # type: ignore[union-attr,arg-type]
    )
    engine = TorchEngine(model, device=str(device))
    batch = batch_size_of(engine, None, default=32)
    size_px = model.preprocess.size_px
    images = np.zeros((batch, size_px, size_px, 3), np.uint8)
    count = -(-given.files // batch)
    for _ in run_batches(engine, repeat(images, 3)):
        pass
    began = time.perf_counter()
    for _ in run_batches(engine, repeat(images, count)):
        pass
    ready = count * batch / (time.perf_counter() - began)
    files = sorted(folder.iterdir())
    began = time.perf_counter()
    for _ in Predictor(engine, info).predict(
        files[number % len(files)] for number in range(given.files)
    ):
        pass
    return given.files / (time.perf_counter() - began), ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--batch", type=int, help="of training; without it the recipe's own")
    parser.add_argument("--size", default="600x866", help="of the files, in pixels")
    parser.add_argument("--files", type=int, default=5000)
    given = parser.parse_args()
    device = device_of(given.device)
    if device is None:
        return
    width, height = map(int, given.size.split("x"))
    print(f"{card(device)}, {core_count()} cores, torch {torch.__version__}")
    print("| backbone | what | images/s | never waiting | fraction |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(DISTINCT_FILES):
            (folder / f"{seed}.jpg").write_bytes(jpeg(photo(width, height, seed=seed)))
        for backbone in given.backbones.split(","):
            for what, (rate, ready) in (
                (f"train {given.recipe}, from the cache", training(backbone, device, given)),
                (f"predict, files of {given.size}", predicting(backbone, device, given, folder)),
            ):
                print(f"| {backbone} | {what} | {rate:,.0f} | {ready:,.0f} | {rate / ready:.2f} |")
                found = {"backbone": backbone, "what": what, "images_per_s": round(rate, 1)}
                found["never_waiting_images_per_s"] = round(ready, 1)
                keep(given.results, device, "feeding", found)
            free(device)


if __name__ == "__main__":
    main()
