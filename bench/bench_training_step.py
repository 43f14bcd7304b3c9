"""One training step on a CPU: ours against eager fp32, and against what the cores can multiply.

    python bench/bench_training_step.py [--threads 1] [--rounds 5]

Network, loss and optimizer run on synthetic images; loading and augmentation are measured in
bench_loader.py and bench_augment.py. Ours is what training does: uint8 images, channels last,
bf16 autocast, slow depthwise convolutions in fp32. The fraction of the peak counts the step's
multiply-adds as torch does (forward, weight gradients, input gradients) against the fastest bf16
matrix product of the same run. Variants take turns, and times are medians of processor time per
thread, so that other work on the machine counts little. The first rows are of the allocator: the
same steps with what it does by itself, and with freed memory kept.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from bench_predict_memory import peak_bytes
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from shopsight.backbones.create import create_backbone
from shopsight.devices import computes_bf16
from shopsight.head_settings import HeadSettings
from shopsight.models.depthwise import depthwise_in_fp32
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.runtime import retain_freed_memory

BATCH, CLASSES = 32, 18
GEMM_SIDES = (1024, 2048, 3072)
# What the published training of the clothing data took: 50 epochs of four fifths of 5,163 images.
ORIGINAL_EPOCHS, CLOTHING_TRAINING_IMAGES = 50, 4131


@dataclass
class Variant:
    name: str
    step: Callable[[], None]
    seconds: list[float] = field(default_factory=list)

    @property
    def images_per_s(self) -> float:
        return BATCH / statistics.median(self.seconds)


def training_step(
    backbone: str, *, size_px: int, bf16: bool, channels_last: bool, fp32_depthwise: bool = False
) -> Callable[[], None]:
    """A function that makes one step of a fresh network."""
    torch.manual_seed(0)
    built = create_backbone(backbone, weights="random")
    head = create_head(HeadSettings(), embedding_dim=built.embedding_dim, num_classes=CLASSES)
    model = ProductModel(built.module, head, built.preprocess).train()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fp32_depthwise:
        depthwise_in_fp32(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    images = torch.randint(0, 256, (BATCH, size_px, size_px, 3), dtype=torch.uint8)
    targets = torch.randint(0, CLASSES, (BATCH,))
    if not channels_last:
        model = Contiguous(model)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class Contiguous(nn.Module):
    """Hands the backbone images as most scripts do: (batch, channels, height, width) in order."""

    def __init__(self, model: ProductModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = self.model.normalize(images).contiguous(memory_format=torch.contiguous_format)
        logits: torch.Tensor = self.model.classify(self.model.backbone(pixels))
        return logits


def timed_s(work: Callable[[], None], threads: int) -> float:
    """Seconds of one call: processor time per thread."""
    before = time.process_time()
    work()
    return (time.process_time() - before) / threads


def gemm_peak(dtype: torch.dtype, threads: int) -> float:
    """Most floating-point operations per second of any matrix product tried."""
    best = 0.0
    for side in GEMM_SIDES:
        a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
        torch.mm(a, b)
        seconds = min(timed_s(lambda a=a, b=b: torch.mm(a, b), threads) for _ in range(5))
        best = max(best, 2 * side**3 / seconds)
    return best


def flops_of(step: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def take_turns(variants: list[Variant], *, rounds: int, threads: int) -> None:
    for variant in variants:
        variant.step()
    for _ in range(rounds):
        for variant in variants:
            variant.seconds.append(timed_s(variant.step, threads))


def resnet18(rounds: int, threads: int) -> None:
    name, size = "timm:resnet18", 224
    fp32 = training_step(name, size_px=size, bf16=False, channels_last=False)
    variants = [
        Variant("eager fp32", fp32),
        Variant(
            "channels last, fp32",
            training_step(name, size_px=size, bf16=False, channels_last=True),
        ),
        Variant(
            "ours: channels last, bf16",
            training_step(name, size_px=size, bf16=True, channels_last=True, fp32_depthwise=True),
        ),
    ]
    flops = flops_of(fp32)
    take_turns(variants, rounds=rounds, threads=threads)
    peak = {
        "fp32": gemm_peak(torch.float32, threads) / threads,
        "bf16": gemm_peak(torch.bfloat16, threads) / threads,
    }
    print(f"ResNet18, {size} px, batch {BATCH}: {flops / BATCH / 1e9:.2f} GFLOP an image")
    for dtype, value in peak.items():
        print(f"  {dtype} matrix product    {value / 1e9:7.1f} GFLOP/s per core")
    first = variants[0].images_per_s
    for variant in variants:
        rate = variant.images_per_s * flops / BATCH / threads
        dtype = "bf16" if "bf16" in variant.name else "fp32"
        print(
            f"  {variant.name:28} {variant.images_per_s / threads:6.1f} images/s per core, "
            f"{variant.images_per_s / first:4.2f} x eager, "
            f"{rate / peak[dtype]:4.0%} of the {dtype} peak"
        )


def lite(name: str, size_px: int, rounds: int, threads: int) -> None:
    """An embedded network: as most scripts train it, and ours with and without its exception."""
    variants = [
        Variant(
            "eager fp32", training_step(name, size_px=size_px, bf16=False, channels_last=False)
        ),
        Variant(
            "fp32, channels last",
            training_step(name, size_px=size_px, bf16=False, channels_last=True),
        ),
        Variant("bf16", training_step(name, size_px=size_px, bf16=True, channels_last=True)),
        Variant(
            "bf16, slow depthwise in fp32",
            training_step(
                name, size_px=size_px, bf16=True, channels_last=True, fp32_depthwise=True
            ),
        ),
    ]
    take_turns(variants, rounds=rounds, threads=threads)
    eager, bf16 = variants[0].images_per_s, variants[2].images_per_s
    print(f"{name}, {size_px} px, batch {BATCH}")
    for variant in variants:
        print(
            f"  {variant.name:28} {variant.images_per_s / threads:6.1f} images/s per core, "
            f"{variant.images_per_s / eager:4.2f} x eager, "
            f"{variant.images_per_s / bf16:4.2f} x bf16"
        )
    hours = ORIGINAL_EPOCHS * CLOTHING_TRAINING_IMAGES / eager / 3600
    print(
        f"  {ORIGINAL_EPOCHS} epochs of {CLOTHING_TRAINING_IMAGES} images, eager fp32, on "
        f"{threads} core(s): {hours:.1f} h of steps alone"
    )


def allocator(name: str, size_px: int, rounds: int, threads: int) -> None:
    """The step that training makes, as glibc manages memory and with freed memory kept."""
    bf16 = computes_bf16(torch.device("cpu"))
    step = training_step(name, size_px=size_px, bf16=bf16, channels_last=True, fp32_depthwise=bf16)
    given_back, kept = Variant("freed memory given back", step), Variant("kept", step)
    peaks_mib = {}
    for _ in range(rounds):
        for variant in (given_back, kept):
            with retain_freed_memory() if variant is kept else nullcontext():
                step()  # untimed: after a change of mode, it has all pages to fetch
                variant.seconds.append(timed_s(step, threads))
            peaks_mib.setdefault(variant.name, peak_bytes() >> 20)
    print(f"{name}, {size_px} px, batch {BATCH}, {'bf16' if bf16 else 'fp32'}")
    for variant in (given_back, kept):
        print(
            f"  {variant.name:28} {variant.images_per_s / threads:6.1f} images/s per core, "
            f"{variant.images_per_s / given_back.images_per_s:4.2f} x, "
            f"peak of the process {peaks_mib[variant.name]:,} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not computes_bf16(torch.device("cpu")):
        print("this processor has no bf16 instructions: bf16 is emulated, and slower")
    # First and from small to large, while the peak of the process is theirs.
    for name, size_px in (
        ("timm:resnet18", 224),
        ("embedded:tf_efficientnet_lite0", 192),
        ("embedded:tf_efficientnet_lite2", 224),
    ):
        allocator(name, size_px, given.rounds, given.threads)
    resnet18(given.rounds, given.threads)
    for size_px in (128, 224):
        lite("embedded:tf_efficientnet_lite0", size_px, given.rounds, given.threads)
    lite("embedded:tf_efficientnet_lite2", 224, given.rounds, given.threads)


if __name__ == "__main__":
    main()
