"""Training-step throughput of each backbone on a GPU, as a fraction of what its matrix units reach.

    python bench/bench_backbones_gpu.py [--backbones A,B] [--batch 256] [--out figures.json]

224 px (or the backbone's own size), bf16 autocast, channels last, AdamW, eager and torch.compile.
The peak is the fastest bf16 matrix product of the same run; a step's operations are counted by
torch (forward, weight gradients, input gradients, attention). A batch that does not fit is halved.
Without CUDA it says so and ends; --device cpu tries the script out.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from shopsight.backbones.create import create_backbone
from shopsight.errors import ExtraMissingError
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel

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
CLASSES = 650
GEMM_SIDES = (4096, 8192, 16384)
WARMUP_STEPS, GEMM_ROUNDS = 5, 20


@dataclass(frozen=True)
class Figure:
    """What one network reached.

    Attributes:
        share: fraction of the measured bf16 matrix peak.
        memory_gib: most that was allocated.
    """

    backbone: str
    mode: str
    batch: int
    images_per_s: float
    tflops: float
    share: float
    memory_gib: float


class Step:
    """One training step of a fresh network, on images that lie on the device already."""

    def __init__(self, backbone: str, *, batch: int, device: torch.device, compiled: bool) -> None:
        torch.manual_seed(0)
        built = create_backbone(backbone, weights="random")
        head = create_head(HeadSettings(), embedding_dim=built.embedding_dim, num_classes=CLASSES)
        model = ProductModel(built.module, head, built.preprocess).train()
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run_model: Callable[..., torch.Tensor] = (
            torch.compile(self.model) if compiled else self.model
        )
        fused = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=fused)
        side = built.preprocess.size_px
        shape = (batch, side, side, 3)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        self.targets = torch.randint(0, CLASSES, (batch,), device=device)
        self.device = device

    def __call__(self) -> None:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            loss = functional.cross_entropy(self.run_model(self.images), self.targets)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_each(work: Callable[[], object], *, times: int, device: torch.device) -> list[float]:
    out = []
    for _ in range(times):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        out.append(time.perf_counter() - began)
    return out


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


def flops_per_image(backbone: str, device: torch.device) -> float:
    batch = 2
    step = Step(backbone, batch=batch, device=device, compiled=False)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / batch


def measure(
    backbone: str, mode: str, *, batch: int, steps: int, device: torch.device, peak: float
) -> Figure:
    """Halve the batch until it fits, warm up (compiling), and time steps."""
    flops = flops_per_image(backbone, device)
    while True:
        try:
            step = Step(backbone, batch=batch, device=device, compiled=mode == "compiled")
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            seconds_each(step, times=WARMUP_STEPS, device=device)
            seconds = statistics.median(seconds_each(step, times=steps, device=device))
            break
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
            step = None  # type: ignore[assignment]
            free(device)
    rate = batch / seconds
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return Figure(backbone, mode, batch, rate, rate * flops / 1e12, rate * flops / peak, memory)


def free(device: torch.device) -> None:
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing measured")
        return
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = gemm_peak(device)
    print(f"{name}, torch {torch.__version__}: bf16 matrix product {peak / 1e12:.1f} TFLOP/s")
    print("| backbone | mode | batch | images/s | TFLOP/s | fraction of the peak | memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    figures: list[Figure] = []
    for backbone in given.backbones.split(","):
        for mode in ("eager",) if given.no_compile else ("eager", "compiled"):
            try:
                figure = measure(
                    backbone, mode, batch=given.batch, steps=given.steps, device=device, peak=peak
                )
            except ExtraMissingError as error:
                print(f"| {backbone} | {error.what} | | | | | |")
                break
            finally:
                free(device)
            figures.append(figure)
            print(
                f"| {backbone} | {mode} | {figure.batch} | {figure.images_per_s:,.0f} "
                f"| {figure.tflops:.1f} | {figure.share:.0%} | {figure.memory_gib:.1f} |",
                flush=True,
            )
    if given.out:
        facts = {"device": name, "torch": torch.__version__, "peak_tflops": peak / 1e12}
        text = json.dumps(facts | {"figures": [asdict(f) for f in figures]}, indent=2)
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
