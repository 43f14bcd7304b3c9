"""Inference on a CPU: what folding BatchNorm, bf16 and kept memory gain, and how far bf16 strays.

    python bench/bench_inference.py [--images FOLDER] [--threads 1] [--rounds 5]

Speed is of the network alone, batch 32; variants take turns, and times are medians of processor
time per thread. The errors are those that loading a bundle checks: largest distance of an image's
embedding from the golden one, as a fraction of the golden embeddings' spread. Those of a wrong
preprocessing show how much room the tolerances leave. Without a folder the images are rendered.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from photos import jpeg, photo

from shopsight.backbones.create import create_backbone
from shopsight.backbones.spec import Backbone
from shopsight.devices import computes_bf16
from shopsight.head_settings import HeadSettings
from shopsight.image_files.scan import scan_folder
from shopsight.inference.fuse_batchnorm import fuse_batchnorm
from shopsight.inference.golden import TOLERANCE, make_golden, verify_golden
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.runtime import retain_freed_memory

BACKBONES = ("embedded:tf_efficientnet_lite0", "timm:resnet18")
BATCH, CLASSES, GOLDEN_IMAGES = 32, 18, 8
KEPT = "memory kept"
WRONG = {
    "bilinear for bicubic": {"interpolation": "bilinear"},
    "black padding for white": {"pad_color": (0, 0, 0)},
    "squash for pad": {"resize": "squash"},
    "another mean and std": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}


def model_of(backbone: Backbone, preprocess: Preprocess | None = None) -> ProductModel:
    torch.manual_seed(0)
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=CLASSES)
    return ProductModel(backbone.module, head, preprocess or backbone.preprocess).eval()


def plain(model: ProductModel, *, bf16: bool) -> Callable[[np.ndarray], None]:
    """What a script does: channels last, no folding."""
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(images: np.ndarray) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            model(torch.from_numpy(images))

    return run


def speed(name: str, *, rounds: int, threads: int) -> None:
    backbone = create_backbone(name, weights="random")
    size_px = backbone.preprocess.size_px
    folded = TorchEngine(model_of(backbone), device="cpu", precision="32")
    ways: dict[str, Callable[[np.ndarray], object]] = {
        "fp32": plain(model_of(backbone), bf16=False),
        "fp32, folded": folded.run,
        f"fp32, folded, {KEPT}": folded.run,
    }
    if computes_bf16(torch.device("cpu")):
        ways |= {
            "bf16": plain(model_of(backbone), bf16=True),
            "bf16, folded": folded.at("bf16").run,
            f"bf16, folded, {KEPT}": folded.at("bf16").run,
        }
    assert fuse_batchnorm(backbone.module, size_px=size_px) is not backbone.module
    images = np.random.default_rng(0).integers(0, 256, (BATCH, size_px, size_px, 3), np.uint8)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            with retain_freed_memory() if KEPT in way else nullcontext():
                run(images)  # untimed: after a change of mode, it has all pages to fetch
                start = time.process_time()
                run(images)
                seconds[way].append((time.process_time() - start) / threads)
    print(f"\n{name}, {size_px} px, batch {BATCH}")
    first = statistics.median(seconds["fp32"])
    for way, taken in seconds.items():
        median = statistics.median(taken)
        print(
            f"  {way:28} {BATCH / median / threads:7.1f} images/s per core, {first / median:4.2f}x"
        )


def errors(files: Sequence[bytes]) -> None:
    backbone = create_backbone(BACKBONES[0])
    model = model_of(backbone)
    golden = make_golden(reference_engine(model), files, backbone.preprocess)
    print(f"\n{BACKBONES[0]}, ImageNet weights: error of embeddings on {len(files)} images")
    engine = TorchEngine(model, device="cpu", precision="32")
    for each in (engine, engine.at("bf16")):
        found = verify_golden(each, golden, backbone.preprocess)
        print(f"  {each.precision:28} {found.embedding_error:.2g} (tolerance {found.tolerance:g})")
    for what, changes in WRONG.items():
        wrong = Preprocess.model_validate(backbone.preprocess.model_dump() | changes)
        other = TorchEngine(model_of(backbone, wrong), device="cpu", precision="32")
        found = verify_golden(other, golden, wrong)
        times = found.embedding_error / TOLERANCE["32"]
        print(f"  {what:28} {found.embedding_error:.2g} ({times:.0f} times fp32's tolerance)")


def golden_files(folder: Path | None) -> list[bytes]:
    if folder is None:
        return [jpeg(photo(400, 533, seed=seed)) for seed in range(GOLDEN_IMAGES)]
    names = scan_folder(str(folder)).images
    step = max(1, len(names) // GOLDEN_IMAGES)
    return [(folder / name).read_bytes() for name in islice(names, 0, GOLDEN_IMAGES * step, step)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not computes_bf16(torch.device("cpu")):
        print("this processor has no bf16 instructions: speed is measured in fp32 only")
    for name in BACKBONES:
        speed(name, rounds=given.rounds, threads=given.threads)
    errors(golden_files(given.images))


if __name__ == "__main__":
    main()
