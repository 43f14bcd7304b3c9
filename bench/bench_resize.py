"""Resize RGB pixels of 8 bits: ours against other libraries, CPU time of one core.

    python bench/bench_resize.py [--images FOLDER]

The peers are torch (`interpolate` on uint8 with antialias), Pillow (also with `reducing_gap`),
OpenCV, and those of kornia-rs, pyvips and zignal that are installed
(`pip install kornia-rs pyvips pyvips-binary zignal-processing`). Beside the time stands the
difference from Pillow's result, in levels of 255. With a folder of photos, their middle size is
used instead of the seeded images'.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["VIPS_CONCURRENCY"] = "1"

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from photos import photo
from PIL import Image
from torch.nn.functional import interpolate

from shopsight.images.decode import decode
from shopsight.images.kinds import IMAGE_SUFFIXES
from shopsight.images.model_input import resize
from shopsight.preprocess import Interpolation

Pixels = UInt8[np.ndarray, "h w 3"]
Way = Callable[[Pixels, int, int, Interpolation], Pixels]

# Source and target, width and height: a photo decoded near its target, a squashed one, a large one
# that was not a JPEG, and one that is enlarged.
CASES = {
    (300, 433): (155, 224),
    (600, 450): (224, 224),
    (1500, 2000): (168, 224),
    (28, 28): (224, 224),
}
METHODS: tuple[Interpolation, ...] = ("bilinear", "bicubic")
ROUNDS, ROUND_SECONDS = 11, 0.02


def by_torch(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    batch = torch.from_numpy(rgb)[None].permute(0, 3, 1, 2)
    resized = interpolate(batch, (height, width), mode=method, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def by_pillow(
    rgb: Pixels, width: int, height: int, method: Interpolation, gap: float | None = None
) -> Pixels:
    resample = Image.Resampling[method.upper()]
    return np.array(Image.fromarray(rgb).resize((width, height), resample, reducing_gap=gap))


def by_pillow_with_gap(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    return by_pillow(rgb, width, height, method, gap=2.0)


def by_opencv(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    """Without antialiasing."""
    flag = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[method]
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=flag))


def by_opencv_area(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    """The mean of an area, whatever the method."""
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))


def by_kornia(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    """Antialiased for "bicubic" only."""
    from kornia_rs.imgproc import resize as kornia_resize

    return np.asarray(kornia_resize(rgb, (height, width), method, antialias=True))


def by_vips(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    import pyvips

    image = pyvips.Image.new_from_memory(rgb.data, rgb.shape[1], rgb.shape[0], 3, "uchar")
    kernel = {"bilinear": "linear", "bicubic": "cubic"}[method]
    image = image.resize(width / rgb.shape[1], vscale=height / rgb.shape[0], kernel=kernel)
    return np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, 3)


def by_zignal(rgb: Pixels, width: int, height: int, method: Interpolation) -> Pixels:
    import zignal

    name = {"bilinear": "BILINEAR", "bicubic": "CATMULL_ROM"}[method]
    image = zignal.Image.from_numpy(rgb)
    return np.asarray(image.resize((height, width), zignal.Interpolation[name]).to_numpy())


WAYS: dict[str, Way] = {
    "shopsight": resize,
    "torch": by_torch,
    "Pillow": by_pillow,
    "Pillow, reducing_gap": by_pillow_with_gap,
    "OpenCV, not antialiased": by_opencv,
    "OpenCV, area": by_opencv_area,
}
OPTIONAL_WAYS: dict[str, Way] = {
    "kornia_rs": by_kornia,
    "pyvips": by_vips,
    "zignal": by_zignal,
}


def measure(
    ways: dict[str, Way], rgb: Pixels, width: int, height: int, method: Interpolation
) -> dict[str, float]:
    """Milliseconds of CPU per call: the median of rounds in which the ways take turns."""
    calls = {}
    for name, way in ways.items():
        start = time.process_time()
        way(rgb, width, height, method)
        way(rgb, width, height, method)
        calls[name] = max(1, round(2 * ROUND_SECONDS / (time.process_time() - start + 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            for _ in range(calls[name]):
                way(rgb, width, height, method)
            seconds[name].append((time.process_time() - start) / calls[name])
    return {name: 1000 * float(np.median(taken)) for name, taken in seconds.items()}


def report(ways: dict[str, Way], rgb: Pixels, width: int, height: int) -> None:
    """Time of each way, as a multiple of ours, and its difference from Pillow's result."""
    print(f"\n{rgb.shape[1]}x{rgb.shape[0]} to {width}x{height}")
    for method in METHODS:
        taken = measure(ways, rgb, width, height, method)
        reference = by_pillow(rgb, width, height, method).astype(int)
        for name, way in ways.items():
            apart = np.abs(way(rgb, width, height, method).astype(int) - reference)
            print(
                f"  {method:<8} {name:<24} {taken[name]:8.3f} ms  "
                f"{taken[name] / taken['shopsight']:5.2f} x ours  "
                f"difference {apart.mean():.3f}, at most {apart.max()}"
            )


def report_threads(ways: dict[str, Way], rgb: Pixels, width: int, height: int) -> None:
    """How many times the work of one thread two threads do, which the interpreter lock limits."""

    def rate(way: Way, threads: int) -> float:
        calls = 100 * threads
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(lambda _: way(rgb, width, height, "bilinear"), range(calls)))
            return calls / (time.perf_counter() - start)

    print("\nTwo threads, times the work of one")
    for name, way in ways.items():
        ratios = [rate(way, 2) / rate(way, 1) for _ in range(ROUNDS)]
        print(f"  {name:<24} {np.median(ratios):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of photos, searched for more folders")
    folder: Path | None = parser.parse_args().images
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ways = WAYS | {name: way for name, way in OPTIONAL_WAYS.items() if find_spec(name)}
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        rgb = decode(paths[len(paths) // 2].read_bytes(), at_least_px=224)
        scale = 224 / max(rgb.shape[:2])
        report(ways, rgb, round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
        return
    for (width, height), target in CASES.items():
        large = photo(max(64, width), max(64, height), seed=1)
        report(ways, np.ascontiguousarray(large[:height, :width]), *target)
    report_threads(ways, photo(300, 433, seed=1), 155, 224)


if __name__ == "__main__":
    main()
