"""Throughput of each backbone on a GPU as recipes train it, and as `shopsight predict` runs it.

    python bench/bench_backbones_gpu.py [--backbones A,B] [--batch N] [--recipe balanced]

Training: Lightning's loop over the recipe's own step (loss, averaged weights, optimizer, clipping,
layout, precision and batch size), on a batch in page-locked memory that is copied in each step;
eager and compiled. A batch that does not fit is halved. Inference: the engine with its copies in
both directions, in each precision of the card, in the batches that it suggests. Time is waited for
at the ends of a block of steps only.

The peak is the fastest bf16 matrix product of the same run; operations are counted by torch:
forward, weight gradients, input gradients, attention, without what frozen stages leave out. Without
CUDA nothing is measured; --device cpu tries the script out. Rows are appended to
bench/results/gpu.jsonl with the name of the card.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import torch
from gpu import (
    CLASSES,
    add_arguments,
    card,
    device_of,
    keep,
    recipe_of,
    training_flops,
    training_images_per_s,
)
from torch.utils.flop_counter import FlopCounterMode

from shopsight.backbones.create import create_backbone
from shopsight.devices import computes_bf16, computes_tf32, empty_cache, synchronize
from shopsight.errors import ExtraMissingError
from shopsight.head_settings import HeadSettings
from shopsight.inference.batches import batch_size_of, run_batches
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.runtime import is_out_of_memory

BACKBONES = (
    "embedded:tf_efficientnet_lite0",
    "timm:efficientnet_b0",
    "timm:resnet18",
    "timm:resnet34",
    "timm:resnet50",
    "timm:vit_base_patch16_224",
    "timm:caformer_s36",
    "timm:caformer_b36",
    "fastervit:faster_vit_2_224",
    "fastervit:faster_vit_3_224",
    "open_clip:ViT-B-16",
    "open_clip:ViT-H-14",
)
COLUMNS = ("backbone", "what", "batch", "images_per_s", "tflops", "share", "memory_gib")
GEMM_SIDES, GEMM_ROUNDS = (4096, 8192, 16384), 20


def model_of(backbone: str) -> ProductModel:
    torch.manual_seed(0)
    built = create_backbone(backbone, weights="random")
    head = create_head(HeadSettings(), embedding_dim=built.embedding_dim, num_classes=CLASSES)
    return ProductModel(built.module, head, built.preprocess).eval()


def gemm_peak(device: torch.device) -> float:
    """Operations per second of the fastest bf16 matrix product, as a median of its runs."""
    best = 0.0
    for side in GEMM_SIDES if device.type == "cuda" else (512,):
        a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
        b = torch.randn(side, side, device=device, dtype=torch.bfloat16)
        out = torch.empty_like(a)

        def multiply(a=a, b=b, out=out) -> None:  # type: ignore[no-untyped-def]
            torch.mm(a, b, out=out)

        seconds_each(multiply, times=3, device=device)
        seconds = statistics.median(seconds_each(multiply, times=GEMM_ROUNDS, device=device))
        best = max(best, 2 * side**3 / seconds)
    return best


def seconds_each(work: Callable[[], object], *, times: int, device: torch.device) -> list[float]:
    out = []
    for _ in range(times):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        out.append(time.perf_counter() - began)
    return out


def flops_per_image(model: ProductModel) -> float:
    """Operations of a forward pass."""
    size_px = model.preprocess.size_px
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8))
    return float(counter.get_total_flops())


def training_rows(
    backbone: str, device: torch.device, given: argparse.Namespace
) -> Iterator[dict[str, object]]:
    for compiled in (False,) if given.no_compile else (False, True):
        batch = given.batch
        while True:
            recipe = recipe_of(given.recipe, backbone, device, batch=batch, compiled=compiled)
            size = recipe.training.resolved_batch_size
            try:
                rate = training_images_per_s(recipe, device, steps=given.steps, loaded=False)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
                batch = size // 2
            free(device)
        way = "compiled" if compiled else "eager"
        found = row(backbone, f"train {given.recipe}, {way}", size, rate, device)
        free(device)
        flops = training_flops(recipe, device)
        yield found | {"tflops": round(rate * flops / 1e12, 3)}
        free(device)


def inference_rows(
    backbone: str, device: torch.device, given: argparse.Namespace
) -> Iterator[dict[str, object]]:
    model = model_of(backbone)
    flops = flops_per_image(model)
    engine = TorchEngine(model, device=str(device), precision="32")
    precisions: list[EnginePrecision] = ["32"]
    precisions += ["tf32"] if computes_tf32(device) else []
    precisions += ["bf16"] if computes_bf16(device) else []
    size_px, batch = engine.model.preprocess.size_px, batch_size_of(engine, None, default=32)
    images = np.random.default_rng(0).integers(0, 256, (batch, size_px, size_px, 3), np.uint8)
    for precision in precisions:
        at = engine.at(precision)
        for _ in run_batches(at, repeat(images, 3)):
            pass
        began = time.perf_counter()
        for _ in run_batches(at, repeat(images, given.steps)):
            pass
        rate = given.steps * batch / (time.perf_counter() - began)
        found = row(backbone, f"predict, {precision}", batch, rate, device)
        yield found | {"tflops": round(rate * flops / 1e12, 3)}


def row(
    backbone: str, what: str, batch: int, rate: float, device: torch.device
) -> dict[str, object]:
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return {
        "backbone": backbone,
        "what": what,
        "batch": batch,
        "images_per_s": round(rate, 1),
        "memory_gib": round(memory, 2),
    }


def free(device: torch.device) -> None:
    torch._dynamo.reset()
    gc.collect()
    empty_cache(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--batch", type=int, help="of training; without it the recipe's own")
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args()
    device = device_of(given.device)
    if device is None:
        return
    peak = gemm_peak(device)
    print(f"{card(device)}, torch {torch.__version__}: bf16 product {peak / 1e12:.1f} TFLOP/s")
    print("| backbone | what | batch | images/s | TFLOP/s | fraction of the peak | memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    for backbone in given.backbones.split(","):
        for rows in (training_rows, inference_rows):
            free(device)
            try:
                for found in rows(backbone, device, given):
                    share = float(str(found["tflops"])) * 1e12 / peak
                    figures = found | {"share": f"{share:.0%}"}
                    print("| " + " | ".join(str(figures[name]) for name in COLUMNS) + " |")
                    kept = found | {"bf16_product_tflops": round(peak / 1e12, 1)}
                    keep(given.results, device, "backbones", kept)
            except ExtraMissingError as error:
                print(f"| {backbone} | {error.what} | | | | | |")
                break


if __name__ == "__main__":
    main()
