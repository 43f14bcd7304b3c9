"""Decode and resize to 224 px: ours against Pillow, CPU time of one core.

    python bench/bench_decode.py [--images FOLDER]

Without a folder it makes JPEGs of quality 90 in three sizes. Bars: at least 4x a full Pillow
decode at 600x866 and 6x at 3000x4000.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from jaxtyping import UInt8
from photos import jpeg, photo
from PIL import Image

from shopsight.images.damage import find_damage
from shopsight.images.jpeg import is_jpeg
from shopsight.images.kinds import IMAGE_SUFFIXES
from shopsight.images.model_input import preprocess_image
from shopsight.preprocess import Preprocess

PREPROCESS = Preprocess(size_px=224, interpolation="bicubic")
SIZES = {(600, 866): 12, (1500, 2000): 6, (3000, 4000): 3}
ROUNDS, FOLDER_FILES = 9, 200

Pixels = UInt8[np.ndarray, "s s 3"]


def by_pillow(data: bytes, *, draft: bool = False) -> Pixels:
    """What a first script does; with `draft`, what a second one does."""
    with Image.open(io.BytesIO(data)) as image:
        size, scale = PREPROCESS.size_px, PREPROCESS.size_px / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        if draft:
            image.draft("RGB", (width, height))
        small = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size), "white")
    square.paste(small, ((size - width) // 2, (size - height) // 2))
    return np.array(square)


def with_verdict(data: bytes) -> Pixels:
    """What `predict` does: it also asks whether the file is damaged."""
    find_damage(data)
    return preprocess_image(data, PREPROCESS)


WAYS: dict[str, Callable[[bytes], Pixels]] = {
    "Pillow, full": by_pillow,
    "Pillow, draft": lambda data: by_pillow(data, draft=True),
    "shopsight": lambda data: preprocess_image(data, PREPROCESS),
    "with verdict": with_verdict,
}


def measure(files: Sequence[bytes]) -> dict[str, float]:
    """Milliseconds of CPU per file. Of each file the median round counts; the ways take turns."""
    seconds = {name: np.zeros((ROUNDS, len(files))) for name in WAYS}
    for turn in range(ROUNDS):
        for name, way in WAYS.items():
            for number, data in enumerate(files):
                start = time.process_time()
                way(data)
                seconds[name][turn, number] = time.process_time() - start
    return {name: 1000 * float(np.median(taken, axis=0).mean()) for name, taken in seconds.items()}


def report(title: str, files: Sequence[bytes]) -> None:
    taken = measure(files)
    print(f"\n{title}: {len(files)} files, {np.mean([len(f) for f in files]) / 1000:,.0f} kB each")
    full = [by_pillow(data).astype(int) for data in files]
    for name, way in WAYS.items():
        apart = np.mean([np.abs(way(d) - f).mean() for d, f in zip(files, full, strict=True)])
        ratio = taken["Pillow, full"] / taken[name]
        print(
            f"  {name:<14} {taken[name]:8.2f} ms  {ratio:5.1f}x  "
            f"mean abs. difference {apart:.2f} levels"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of JPEGs, searched for more folders")
    folder: Path | None = parser.parse_args().images
    if folder is None:
        for (width, height), count in SIZES.items():
            report(
                f"{width}x{height}",
                [jpeg(photo(width, height, seed=seed)) for seed in range(count)],
            )
        return
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    files = [path.read_bytes() for path in paths[:: max(1, len(paths) // FOLDER_FILES)]]
    report(str(folder), [data for data in files if is_jpeg(data)])


if __name__ == "__main__":
    main()
