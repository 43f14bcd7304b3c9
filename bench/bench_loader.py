"""Loading: the cache a batch at a time, against a Pillow DataLoader with two worker processes.

    python bench/bench_loader.py [--images FOLDER]

Without a folder it renders JPEGs, half of 600x866 and half of 1500x2000 pixels, quality 90. The
Pillow loader counts as what it reached or as what two idle cores would reach, whichever is more.
What runs in one thread here is timed in processor time, so that other work counts little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.config.augment_settings import AugmentSettings
from shopsight.config.data_settings import CacheSettings
from shopsight.images.kinds import IMAGE_SUFFIXES
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.loader import OrderedBatches, TrainingBatches
from shopsight.preprocess import Preprocess
from shopsight.runtime import single_threaded_opencv

SIDE_PX, BATCH, WORKERS = 224, 32, 2
LEAST_S = 2.0
RENDERED_FILES, RENDERED_SIZES = 96, ((600, 866), (1500, 2000))
# Each file enters the cache with this many boxes: the cache outgrows the processor's own.
BOXES = 16


class PillowImages(Dataset[torch.Tensor]):
    """What a first training script does: decode, resize, pad, one image at a time."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            rgb = image.convert("RGB")
        scale = SIDE_PX / max(rgb.size)
        small = rgb.resize(
            (round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BICUBIC
        )
        square = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
        square.paste(small, ((SIDE_PX - small.width) // 2, (SIDE_PX - small.height) // 2))
        return torch.from_numpy(np.array(square))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of JPEGs instead of rendered ones")
    arguments = parser.parse_args()
    # As while training: the loader has threads of its own.
    with tempfile.TemporaryDirectory() as scratch, single_threaded_opencv():
        folder = arguments.images or render(Path(scratch) / "synthetic")
        files = [str(p) for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
        compare(files[:: max(1, len(files) // 400)], Path(scratch) / "cache")


def compare(files: list[str], cache: Path) -> None:
    reached, at_best = pillow_rate(files), WORKERS / pillow_cpu_s(files)
    peer = max(reached, at_best)
    sources = {mode: source(files, cache, mode) for mode in ("off", "raw", "jpeg")}
    rates = {
        "decode each time, 2 threads": passes(ordered(sources["off"], threads=2), len(files)),
        "JPEG cache, 2 threads": passes(ordered(sources["jpeg"], threads=2), len(sources["jpeg"])),
        "raw cache, a batch at a time": passes(
            gathered(sources["raw"]), len(sources["raw"]), clock=time.process_time
        ),
        "raw cache, Batch objects, 2 threads": passes(
            ordered(sources["raw"], threads=2), len(sources["raw"])
        ),
        "raw cache, augmented, 2 threads": passes(training(sources["raw"]), len(sources["raw"])),
    }
    print(f"{len(files)} files, {SIDE_PX} px, batch {BATCH}, {os.cpu_count()} cores")
    print(f"{'Pillow DataLoader, 2 worker processes':40s} {reached:10,.0f} img/s")
    print(f"{'  by its processor time, at best':40s} {at_best:10,.0f} img/s")
    for name, rate in rates.items():
        print(f"{name:40s} {rate:10,.0f} img/s {rate / peer:8.1f}x")
    bound = memcpy_rate()
    of_it = rates["raw cache, a batch at a time"] / bound
    print(f"{'memcpy of as many bytes':40s} {bound:10,.0f} img/s; the gather has {of_it:.0%} of it")


def source(files: list[str], cache: Path, mode: str) -> PixelSource:
    """The files; for the caches many times each, with other boxes."""
    table = pl.DataFrame({"image": files})
    if mode != "off":
        sizes = np.array([Image.open(file).size for file in files], float)
        parts = []
        for box in range(BOXES):
            x, y = (sizes * 0.02 * box / BOXES).T
            w, h = (sizes * 0.98).T
            parts.append(table.with_columns(box_x=x, box_y=y, box_w=w, box_h=h))
        table = pl.concat(parts)
    settings = CacheSettings.model_validate({"mode": mode})
    catalog = Catalog(table, name="bench")
    with use_cache_dir(cache):
        return open_cache(catalog, Preprocess(size_px=SIDE_PX), settings=settings)


def pillow_rate(files: list[str]) -> float:
    loader = DataLoader(
        PillowImages(files), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    return passes(lambda: sum(len(batch) for batch in loader), len(files))


def pillow_cpu_s(files: list[str]) -> float:
    """Processor seconds per image, without the cost of worker processes."""
    images, some = PillowImages(files), range(0, len(files), 3)
    started = time.process_time()
    for index in some:
        images[index]
    return (time.process_time() - started) / len(some)


def ordered(images: PixelSource, *, threads: int) -> Callable[[], int]:
    rows = np.random.default_rng(0).permutation(len(images))
    batches = OrderedBatches(images, rows, batch_size=BATCH, threads=threads)
    return lambda: sum(len(batch.rows) for batch in batches)


def gathered(images: PixelSource) -> Callable[[], int]:
    rows = np.random.default_rng(0).permutation(len(images))
    parts = np.array_split(rows, -(-len(rows) // BATCH))
    return lambda: sum(len(images.gather(part)) for part in parts)


def training(images: PixelSource) -> Callable[[], int]:
    batches = TrainingBatches(
        images,
        np.arange(len(images)),
        augment=AugmentSettings(),
        seed=0,
        batch_size=BATCH,
        threads=2,
    )
    return lambda: sum(len(batch.rows) for batch in batches)


def passes(
    run: Callable[[], int], count: int, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Images per second, the median of at least three passes after one to warm up."""
    run()
    rates: list[float] = []
    started = clock()
    while len(rates) < 3 or clock() - started < LEAST_S:
        begun = clock()
        done = run()
        rates.append(done / (clock() - begun))
        assert done >= count - BATCH
    return statistics.median(rates)


def memcpy_rate() -> float:
    # A batch at a time from a large array, into memory that is used again.
    pixels = np.ones((1024, SIDE_PX, SIDE_PX, 3), np.uint8)
    out = np.empty((BATCH, SIDE_PX, SIDE_PX, 3), np.uint8)

    def run() -> int:
        for start in range(0, len(pixels), BATCH):
            out[:] = pixels[start : start + BATCH]
        return len(pixels)

    return passes(run, len(pixels), clock=time.process_time)


def render(folder: Path) -> Path:
    """Blurred noise in octaves: about as many bytes as photos of these sizes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(RENDERED_FILES):
        width, height = RENDERED_SIZES[number % 2]
        total = np.zeros((height, width, 3), np.float32)
        for octave in range(2, 9):
            small = rng.normal(0, 1.8**-octave, (2**octave, 2**octave, 3)).astype(np.float32)
            total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 2.5, (height, width, 1)).astype(np.float32)
        pixels = np.clip(128 + 160 * total + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
