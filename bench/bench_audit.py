"""The audit against cleanvision (CPU time per image), and how much damage is noticed.

    python bench/bench_audit.py [--images FOLDER]

Without a folder it renders JPEGs of about 330 kB. Bars: at least 5x cleanvision per core, and
at least 95 % of files with 16 overwritten bytes noticed without a false alarm.

A JPEG has no checksum: damage shows where the bits no longer fit. In a detailed image they
almost never do. In a plain or strongly compressed one the decoder often finds its step again
after a few blocks, and the file is a valid JPEG of another image.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import polars as pl
import torch
from photos import jpeg, photo, product_on_white
from PIL import Image

from shopsight.audit.audit import audit
from shopsight.audit.inspect_file import inspect
from shopsight.catalog.catalog import Catalog
from shopsight.images.kinds import IMAGE_SUFFIXES

# Of a detailed image: fabric, foliage, high sensitivity.
DETAILED_GRAIN_LEVELS = 24.0
DRAWN_FILES, FOLDER_FILES, DAMAGED_FILES = 60, 400, 200


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process and its children."""

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    start = spent()
    work()
    return spent() - start


def compare_speed(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    size = np.mean([(folder / name).stat().st_size for name in names]) / 1000
    catalog = Catalog(pl.DataFrame({"image": names}), "bench", root=str(folder))
    ours = cpu_seconds(lambda: audit(catalog, threads=1, remember=False))
    print(f"\n{len(names)} images of {size:,.0f} kB, images per second of CPU")
    print(f"  shopsight    {len(names) / ours:8.1f}   (strict decode, sha256, near duplicates)")
    try:
        from cleanvision import Imagelab
    except ImportError:
        print("  cleanvision: not installed (pip install 'shopsight[bench]')")
        return

    def theirs() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            Imagelab(data_path=str(folder)).find_issues(n_jobs=1)

    taken = cpu_seconds(theirs)
    print(f"  cleanvision  {len(names) / taken:8.1f}   ours is {taken / ours:.1f}x")


def overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    """16 random bytes at a random place after the header."""
    at = int(rng.integers(data.index(b"\xff\xda") + 14, len(data) - 18))
    return data[:at] + rng.bytes(16) + data[at + 16 :]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) // 10, len(data) - 2))]


def zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(data.index(b"\xff\xda") + 14, len(data) - 1026))
    return data[:at] + bytes(1000) + data[at + 1000 :]


def noticed_by_us(path: Path) -> bool:
    return inspect(str(path)).status != "ok"


def noticed_by_pillow(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return True
    return False


def compare_detection(title: str, files: Sequence[bytes]) -> None:
    kinds = {
        "clean": lambda data, _: data,
        "16 bytes": overwritten,
        "cut": cut,
        "1 kB of 0": zeroed,
    }
    ways = {
        "shopsight": noticed_by_us,
        "Pillow load()": noticed_by_pillow,
    }
    print(f"\n{title}: {len(files)} JPEGs of {np.mean([len(f) for f in files]) / 1000:,.0f} kB")
    print("  noticed, %       " + "".join(f"{kind:>11}" for kind in kinds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        hits = {way: dict.fromkeys(kinds, 0) for way in ways}
        for kind, damage in kinds.items():
            rng = np.random.default_rng(0)
            for data in files:
                path.write_bytes(damage(data, rng))
                for way, noticed in ways.items():
                    hits[way][kind] += noticed(path)
        for way, found in hits.items():
            shares = "".join(f"{100 * count / len(files):>11.1f}" for count in found.values())
            print(f"  {way:<17}{shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of JPEGs, searched for more folders")
    given: Path | None = parser.parse_args().images
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given is None:
            files = [
                jpeg(photo(1200, 1600, seed=seed, grain_levels=3)) for seed in range(DRAWN_FILES)
            ]
            for number, data in enumerate(files):
                (folder / f"{number}.jpg").write_bytes(data)
            compare_speed(folder)
            size, seeds = (600, 866), range(DAMAGED_FILES)
            detailed = [photo(*size, seed=k, grain_levels=DETAILED_GRAIN_LEVELS) for k in seeds]
            compare_detection("detailed", [jpeg(pixels) for pixels in detailed])
            compare_detection("on white", [jpeg(product_on_white(*size, seed=k)) for k in seeds])
            compare_detection("plain", [jpeg(photo(*size, seed=k)) for k in seeds])
            return
        paths = sorted(path for path in given.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        for number, path in enumerate(paths[:: max(1, len(paths) // FOLDER_FILES)]):
            shutil.copy(path, folder / f"{number}{path.suffix}")
        compare_speed(folder)
        data = [path.read_bytes() for path in sorted(folder.glob("*.[jJ]*"))]
        compare_detection(str(given), data)


if __name__ == "__main__":
    main()
