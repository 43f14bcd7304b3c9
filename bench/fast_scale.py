"""Time, peak memory and cache of `shopsight train --recipe fast` on more and more photos.

    python bench/fast_scale.py --sizes 5k
    python bench/fast_scale.py --sizes 5k 50k 500k --folder FOLDER

The photos are made: middle parts of 500 seeded images with the statistics of photographs, each cut
elsewhere and lit otherwise, so that no two files are equal or nearly so, 100 classes, JPEG files of
160 px (about 8 kB). `--side-px` makes them larger. Each training runs in a process of its own, from
the table of files to the report, with a cache of its own, and begins where none is. What is printed
is kept in `bench/results/fast_scale.jsonl`: seconds, processor seconds, the peak of resident
memory, bytes of each part of the cache and of the run, seconds of each stage, and how time and what
is kept grow from one size to the next (the exponent: 1 is in proportion). 500,000 photos take 4 GB
and half an hour to make. Not on Windows, which does not say what a child took.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bench_scale import rows
from photos import jpeg, photo

RESULTS = Path(__file__).parent / "results" / "fast_scale.jsonl"
NUM_BASES, NUM_CLASSES, BASE_PX = 500, 100, 640
IN_FOLDER = 1000
"""Files: systems grow slow with more in one."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=rows, default=[5_000])
    parser.add_argument("--side-px", type=int, default=160, help="of a photo")
    parser.add_argument("--backbone", default="embedded:tf_efficientnet_lite0")
    parser.add_argument("--set", action="append", default=[], help="further settings of `train`")
    parser.add_argument("--folder", type=Path, help="of photos and runs, kept; else one that goes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shopsight-fast-") as name:
        home = given.folder or Path(name)
        before: dict[str, Any] | None = None
        for size in sorted(given.sizes):
            place = home / f"{size}-{given.side_px}px"
            make_photos(place, size, given.side_px)
            found = trained(place, given.backbone, given.set)
            record = {"photos": size, "side_px": given.side_px, **found}
            if before is not None:
                record["exponents"] = exponents(before, record)
            record |= {
                "settings": given.set,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }
            with given.results.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
            print(json.dumps(record, indent=1), flush=True)
            before = record


def make_photos(place: Path, number: int, side_px: int) -> None:
    """The files and their table; what is there stays."""
    table = place / "photos.csv"
    if table.is_file():
        return
    bases = [photo(BASE_PX, BASE_PX, seed=seed) for seed in range(NUM_BASES)]
    names, began = list[str](), time.monotonic()
    for at in range(number):
        rng = np.random.default_rng([1, at])
        base = bases[at % NUM_BASES]
        side = int(rng.integers(side_px, min(2 * side_px, BASE_PX) + 1))
        x, y = (int(rng.integers(0, BASE_PX - side + 1)) for _ in range(2))
        step = side / side_px
        cells = (np.arange(side_px) * step).astype(int)
        cut = base[y + cells][:, x + cells].astype(np.float32)
        lit = cut * rng.uniform(0.7, 1.3) + rng.uniform(-30, 30, 3)
        name = f"photos/{at // IN_FOLDER:04d}/{at:07d}.jpg"
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(lit.clip(0, 255).astype(np.uint8)))
        names.append(name)
        if at and at % 50_000 == 0:
            print(f"{at:,} photos made, {time.monotonic() - began:.0f} s", file=sys.stderr)
    labels = [f"class {at % NUM_BASES % NUM_CLASSES:03d}" for at in range(number)]
    pl.DataFrame({"image": names, "label": labels}).write_csv(table)


def trained(place: Path, backbone: str, settings: list[str]) -> dict[str, Any]:
    """Train in a process of its own, and say what it took and left."""
    number = sum(1 for _ in place.glob("run-*"))
    run, cache = place / f"run-{number}", place / f"cache-{number}"
    command = ["train", "photos.csv", "--recipe", "fast", "--out", run.name]
    command += ["--set", f"model.backbone={backbone}", "--cache-dir", str(cache.absolute())]
    for setting in settings:
        command += ["--set", setting]
    log = place / f"log-{number}.txt"
    began = time.perf_counter()
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "shopsight", *command],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = code = os.waitstatus_to_exitcode(status)
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"the training failed ({code}); {log}:\n{tail}")
    state = json.loads((run / "run.json").read_text(encoding="utf-8"))
    kept = {one.name: bytes_in(one) for one in sorted(cache.iterdir()) if one.is_dir()}
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss * 1024 / 1e6, 1),
        "cache_bytes": {name: size for name, size in kept.items() if size},
        "cache_total_bytes": bytes_in(cache),
        "run_bytes": bytes_in(run),
        "photos_bytes": bytes_in(place / "photos"),
        "stages": {name: round(one["wall"], 1) for name, one in state["seconds"].items()},
        "framing": state.get("framing", {}).get("chosen", ""),
    }


def bytes_in(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


def exponents(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Of what grows as a power of the number of photos, the power."""
    ratio = math.log(after["photos"] / before["photos"])
    names = ("seconds", "cpu_seconds", "peak_mb", "cache_total_bytes", "run_bytes")
    return {name: round(math.log(after[name] / before[name]) / ratio, 2) for name in names}


if __name__ == "__main__":
    main()
