"""JPEG files to vectors: ours against a plain loop of Pillow and timm, the same network.

    python bench/bench_embed.py [--images FOLDER] [--rounds 3]

The loop is what a first script does: open, convert, timm's own transform, batches of 32, fp32.
Ours is `shopsight embed` without its files: threads that decode at the scale that is needed while
the batch before computes, BatchNorm folded, in fp32 and, where the machine multiplies in it, bf16.
Ways take turns; medians of images a second, wall time of the whole machine. Bar: 3x with
avx512_bf16. Peaks of memory are of this process, after all ways.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import timm
import torch
from photos import jpeg, photo
from PIL import Image

from shopsight.backbones.efficientnet_lite import load_lite
from shopsight.devices import computes_bf16
from shopsight.image_files.scan import scan_folder
from shopsight.inference.embedder import Embedder
from shopsight.inference.open_embedder import open_embedder

NAME, BATCH = "tf_efficientnet_lite0", 32
SIZES = {(600, 866): 192, (1500, 2000): 64}


def write_images(folder: Path) -> list[str]:
    files = []
    for (width, height), count in SIZES.items():
        for number in range(count):
            path = folder / f"{width}-{number}.jpg"
            path.write_bytes(jpeg(photo(width, height, seed=number)))
            files.append(str(path))
    return files


def plain_loop() -> Callable[[Sequence[str]], np.ndarray]:
    network = timm.create_model(NAME, pretrained=False, num_classes=0)
    load_lite(network, NAME)
    network.eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))

    def run(files: Sequence[str]) -> np.ndarray:
        found = []
        for start in range(0, len(files), BATCH):
            images = [Image.open(file).convert("RGB") for file in files[start : start + BATCH]]
            batch = torch.stack([transform(image) for image in images])
            with torch.inference_mode():
                vectors = torch.nn.functional.normalize(network(batch), dim=1)
            found.append(vectors.numpy())
        return np.concatenate(found)

    return run


def ours(embedder: Embedder) -> Callable[[Sequence[str]], np.ndarray]:
    def run(files: Sequence[str]) -> np.ndarray:
        return np.stack([one.vector for one in embedder.embed(list(files), on_error="raise")])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ways = {"Pillow and timm, fp32": plain_loop()}
    for precision in ("32", "bf16") if computes_bf16(torch.device("cpu")) else ("32",):
        embedder = open_embedder(f"embedded:{NAME}", precision=precision, resize="crop")
        ways[f"shopsight, {precision}"] = ours(embedder)
    with tempfile.TemporaryDirectory() as scratch:
        if options.images is None:
            files = write_images(Path(scratch))
        else:
            names = islice(scan_folder(str(options.images)).images, 1000)
            files = [str(options.images / name) for name in names]
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        vectors = {}
        for turn in range(options.rounds + 1):
            for name, way in ways.items():
                started = time.perf_counter()
                vectors[name] = way(files)
                if turn:  # The first one warms caches.
                    speeds[name].append(len(files) / (time.perf_counter() - started))
    first = next(iter(ways))
    base = statistics.median(speeds[first])
    print(f"{len(files)} JPEGs, {torch.get_num_threads()} threads")
    for name, found in speeds.items():
        speed = statistics.median(found)
        cosine = float((vectors[name] * vectors[first]).sum(axis=1).mean())
        print(f"{name:22}  {speed:7.1f} images/s  {speed / base:5.2f}x  cosine {cosine:.4f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
