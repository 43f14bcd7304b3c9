"""Engines of exported networks against timm in fp32: time, throughput, and whether labels stay.

    python bench/engines.py [--photos FOLDER] [--networks NAME ...] [--rounds 5]

Each network has its ImageNet classifier; Lite0 and Lite2 have their published weights, the others
random ones (their time is the same). The peer is timm's own network in fp32, eager, channels last.
Engines take turns, round by round, so that a busy machine is busy for all; the best round counts.
--photos: JPEGs. 200 of them calibrate int8; the others are labeled by every engine, and from bytes
on disk by a loop of Pillow and timm. Prints what instructions the processor has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from shopsight.backbones.classifiers import published_classes
from shopsight.backbones.create import create_backbone
from shopsight.export.onnx_graph import write_graph
from shopsight.export.parity import run_all
from shopsight.export.quantize import quantize
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_image
from shopsight.inference.cpu_features import has_bf16, has_vnni
from shopsight.inference.engine import Engine, Images
from shopsight.inference.onnxruntime_engine import OnnxRuntimeEngine
from shopsight.inference.openvino_engine import OpenVinoEngine
from shopsight.inference.torch_engine import TorchEngine
from shopsight.metrics.intervals import wilson
from shopsight.models.product_model import ProductModel
from shopsight.prefetch import core_count, prefetch
from shopsight.preprocess import Preprocess

NETWORKS = (
    "embedded:tf_efficientnet_lite0",
    "embedded:tf_efficientnet_lite2",
    "timm:resnet18",
    "timm:vit_base_patch16_224",
)
CALIBRATING = 200
BATCHES = (1, 32)
Run = Callable[[Images], np.ndarray]


def with_classifier(name: str) -> ProductModel:
    embedded = name.startswith("embedded:")
    backbone = create_backbone(name, weights="pretrained" if embedded else "random")
    found = published_classes(name) if embedded else None
    head = torch.nn.Linear(backbone.embedding_dim, 1000)
    if found is not None:
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(found[1]))
            head.bias.zero_()
    return ProductModel(backbone.module, head, backbone.preprocess).eval()


def as_timm(model: ProductModel) -> Run:
    """What a script does: a float tensor, normalized, through timm's network, eager."""
    network = torch.nn.Sequential(model.backbone, model.head).eval()
    network = network.to(memory_format=torch.channels_last)
    mean = torch.tensor(model.preprocess.mean).view(1, 3, 1, 1)
    std = torch.tensor(model.preprocess.std).view(1, 3, 1, 1)

    @torch.inference_mode()
    def run(pixels: Images) -> np.ndarray:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        return network((images - mean) / std).numpy()

    return run


def logits_of(engine: Engine) -> Run:
    return lambda pixels: engine.run(pixels)[1]


def photos(paths: Sequence[Path], preprocess: Preprocess) -> Images:
    def make(path: Path) -> Images:
        return preprocess_image(read_bytes(str(path)), preprocess)

    return np.stack(list(prefetch(make, paths, threads=core_count())))


def timed(runs: dict[str, Run], pixels: Images, rounds: int) -> dict[str, float]:
    """Milliseconds an image: the best round of each, the engines taking turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            run(pixels[:1] if len(pixels) == 1 else pixels)
            began = time.perf_counter()
            repeats = max(1, 16 // len(pixels))
            for _ in range(repeats):
                run(pixels)
            best[name] = min(best[name], (time.perf_counter() - began) / repeats / len(pixels))
    return {name: 1000 * seconds for name, seconds in best.items()}


def engines(model: ProductModel, folder: Path, calibrating: Images | None) -> dict[str, Run]:
    exact = TorchEngine(model, device="cpu", precision="32")
    graph = folder / "fp32.onnx"
    write_graph(exact.model, graph, name="network")
    runs: dict[str, Run] = {
        "timm fp32": as_timm(model),
        "torch fp32": logits_of(exact),
        "onnxruntime fp32": logits_of(OnnxRuntimeEngine(graph, precision="32")),
        "openvino fp32": logits_of(OpenVinoEngine(graph, precision="32")),
    }
    if has_bf16():
        runs["torch bf16"] = logits_of(exact.at("bf16"))
        runs["openvino bf16"] = logits_of(OpenVinoEngine(graph, precision="bf16"))
    if calibrating is not None:
        rounded = folder / "int8.onnx"
        quantize(
            graph,
            rounded,
            calibrating,
            run_all(exact, calibrating),
            reduce_range=has_vnni() is False,
        )
        runs["onnxruntime int8"] = logits_of(OnnxRuntimeEngine(rounded, precision="int8"))
        runs["openvino int8"] = logits_of(OpenVinoEngine(rounded, precision="int8"))
    return runs


def show_times(runs: dict[str, Run], size_px: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        pixels = rng.integers(0, 256, (batch, size_px, size_px, 3), dtype=np.uint8)
        found = timed(runs, pixels, rounds)
        peer = found["timm fp32"]
        for name, each in found.items():
            print(
                f"  batch {batch:2d}  {name:18s} {each:7.2f} ms  {1000 / each:7.1f} images/s  "
                f"x {peer / each:.2f}",
                flush=True,
            )


def show_labels(runs: dict[str, Run], pixels: Images) -> None:
    def labels(run: Run) -> np.ndarray:
        pieces = [run(pixels[at : at + 16]).argmax(1) for at in range(0, len(pixels), 16)]
        return np.concatenate(pieces)

    expected = labels(runs["timm fp32"])
    for name, run in runs.items():
        same = labels(run) == expected
        low, high = wilson(np.array([same.sum()]), np.array([len(same)]))
        print(
            f"  same label as timm fp32  {name:18s} {same.mean():.2%} "
            f"({low[0]:.2%} to {high[0]:.2%}) of {len(same):,} photos",
            flush=True,
        )


def show_from_disk(model: ProductModel, runs: dict[str, Run], paths: Sequence[Path]) -> None:
    """From the bytes of files to labels: ours by threads, and a loop of Pillow and timm."""
    preprocess = model.preprocess
    transform = timm.data.create_transform(
        input_size=preprocess.size_px, mean=preprocess.mean, std=preprocess.std, crop_pct=1.0
    )
    network = torch.nn.Sequential(model.backbone, model.head).eval()

    @torch.inference_mode()
    def peer(some: Sequence[Path]) -> None:
        for start in range(0, len(some), 32):
            images = []
            for path in some[start : start + 32]:
                with Image.open(path) as image:
                    images.append(transform(image.convert("RGB")))
            network(torch.stack(images)).argmax(1)

    def ours(run: Run) -> None:
        def make(path: Path) -> Images:
            return preprocess_image(read_bytes(str(path)), preprocess)

        some: list[Images] = []
        for square in prefetch(make, paths, threads=core_count()):
            some.append(square)
            if len(some) == 32:
                run(np.stack(some)).argmax(1)
                some = []
        if some:
            run(np.stack(some)).argmax(1)

    few = paths[: max(64, len(paths) // 4)]
    began = time.perf_counter()
    peer(few)
    slow = len(few) / (time.perf_counter() - began)
    print(f"  bytes to labels  Pillow, timm fp32  {slow:.1f} images/s")
    for name, run in runs.items():
        if name == "timm fp32":
            continue
        began = time.perf_counter()
        ours(run)
        fast = len(paths) / (time.perf_counter() - began)
        print(f"  bytes to labels  {name:18s} {fast:.1f} images/s  x {fast / slow:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--most", type=int, default=1_000, help="photos that are labeled")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(core_count())
    print(f"{core_count()} cores, bf16: {has_bf16()}, VNNI: {has_vnni()}")
    paths = sorted(options.photos.rglob("*.jpg")) if options.photos else []
    order = np.random.default_rng(0).permutation(len(paths))[: CALIBRATING + options.most]
    paths = [paths[at] for at in order]
    for name in options.networks:
        print(name, flush=True)
        model = with_classifier(name)
        real = name.startswith("embedded:") and len(paths) > CALIBRATING
        size_px = model.preprocess.size_px
        calibrating = (
            photos(paths[:CALIBRATING], model.preprocess)
            if real
            else np.random.default_rng(0).integers(0, 256, (32, size_px, size_px, 3), np.uint8)
        )
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            runs = engines(model, Path(folder), calibrating)
            show_times(runs, size_px, options.rounds)
            if real:
                show_labels(runs, photos(paths[CALIBRATING:], model.preprocess))
                show_from_disk(model, runs, paths[CALIBRATING:])


if __name__ == "__main__":
    main()
