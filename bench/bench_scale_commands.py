"""Time and memory of the commands themselves on many tiny images: from a table to compared runs.

    python bench/bench_scale_commands.py [--sizes 10k 100k 1m] [--only VERB] [--again]

`bench_scale.py` measures functions on inputs that are drawn; here a user's own commands run, each
in a process of its own, one on what the other wrote: audit, split, train, evaluate, predict into
each kind of file and into folders, compare (with a copy of the run). The images are gray, 8 x 8 px
and made of noise, in one IDX file; the network is the smallest there is, and an epoch trains on a
tenth of the images, nine tenths are measured. So what is seen is the work with rows, labels and
files. Not on Windows, which does not say what a child took.

Seconds are processor time of the command's threads; the records have the other, too. The peak is of
resident memory, libraries and files that are mapped included: 0.2 GB of a command without a
network, 1.0 GB of one with. Results are added to bench/results/scale.jsonl, as those of
`bench_scale.py`. OMP_NUM_THREADS=1 keeps threads of PyTorch that wait for one another from
counting as work where others use the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from bench_scale import RESULTS, rows
from scaling import Record, classes_of, newest, read_records

SIDE_PX = 8
CONTAINER = "train-images-idx3-ubyte"
SORTED_AT_MOST = 100_000
"""Images that are copied into folders: each is a file that is flushed to the disk."""
TRAIN = (
    "train split.parquet --recipe fashion-mnist-cnn --epochs 1 --set hardware.accelerator=cpu "
    f"--set preprocess.size_px={SIDE_PX} --set training.batch_size=512 --out "
)
START = (
    "import resource, runpy, sys; most = int(sys.argv.pop(1)); "
    "resource.setrlimit(resource.RLIMIT_DATA, (most, most)); "
    "runpy.run_module('shopsight', run_name='__main__', alter_sys=True)"
)
COMMANDS = {
    "audit": "audit shop.csv --out audited",
    "split": "split shop.csv --val 0.05 --test 0.85 --out split.parquet",
    "train": f"{TRAIN}run",
    "evaluate a run": "evaluate run --device cpu",
    "predict --out .parquet": "predict run shop.csv --out found.parquet --device cpu",
    "compare": "compare run second --out compared --device cpu",
    "evaluate on all images": "evaluate run shop.csv --out all.html --device cpu",
    "predict --out .csv": "predict run shop.csv --out found.csv --device cpu",
    "predict --out .jsonl": "predict run shop.csv --out found.jsonl --device cpu",
    "predict --sort-into": "predict run shop.csv --sort-into sorted --device cpu",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=rows, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", default=[], choices=COMMANDS, metavar="VERB")
    parser.add_argument("--memory-gb", type=float, default=12.0, help="of one command")
    parser.add_argument("--state", default="now", help="name of what is measured")
    parser.add_argument("--folder", type=Path, help="of the shops, kept; else one that vanishes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--again", action="store_true", help="measure also what is known")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shopsight-scale-") as name:
        for size in given.sizes:
            shop = (given.folder or Path(name)) / str(size)
            make_shop(shop, size)
            for verb in given.only or COMMANDS:
                if verb == "predict --sort-into" and size > SORTED_AT_MOST:
                    continue
                if verb == "compare":
                    # What comparing costs does not depend on how much two runs differ.
                    shutil.copytree(shop / "run", shop / "second", dirs_exist_ok=True)
                if not measure(verb, shop, size, given):
                    break


def make_shop(shop: Path, images: int) -> None:
    """An IDX file of noise and the table of its images: label, and products of three photos."""
    shop.mkdir(parents=True, exist_ok=True)
    if (shop / "shop.csv").exists():
        return
    rng = np.random.default_rng(0)
    with (shop / CONTAINER).open("wb") as file:
        file.write(struct.pack(">IIII", 0x803, images, SIDE_PX, SIDE_PX))
        file.write(rng.integers(0, 256, images * SIDE_PX**2, np.uint8).tobytes())
    # Commoner and rarer classes; the rarest of a million have about twenty images.
    classes = classes_of(images)
    code = (rng.beta(0.8, 1.4, images) * classes).astype(np.int64)
    number = pl.int_range(images, eager=True)
    pl.DataFrame({"number": number, "code": code}).select(
        pl.format("{}#{}", pl.lit(CONTAINER), "number").alias("image"),
        pl.format("class {}", "code").alias("label"),
        pl.format("p{}", pl.col("number") // 3).alias("group"),
    ).write_csv(shop / "shop.csv")


def measure(verb: str, shop: Path, images: int, given: argparse.Namespace) -> bool:
    """Run a command that is not known yet, or that makes what others need; False: it failed."""
    known = newest(read_records(given.results)).get((given.state, "commands", verb, images))
    made = COMMANDS[verb].split()[-1]
    there = verb.startswith(("split", "train")) and not (shop / made.split()[0]).exists()
    if known is not None and not given.again and not there:
        return True
    record = {
        "state": given.state,
        "area": "commands",
        "name": verb,
        "rows": images,
        **run(COMMANDS[verb].split(), shop, given.memory_gb),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
    }
    with given.results.open("a", encoding="utf-8") as out:
        out.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)
    return record["status"] == "ok"


def run(command: Sequence[str], folder: Path, memory_gb: float) -> Record:
    """Run one command to its end: its seconds and the peak of its memory.

    Args:
        command: after `shopsight`.
        folder: where it runs.
        memory_gb: it gets no more than this.
    """
    errors = folder / "stderr.txt"
    start = time.perf_counter()
    with errors.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", START, str(int(memory_gb * 1e9)), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    found = {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss * 1024 / 1e6, 1),
    }
    if child.returncode in (0, 1):
        return {"status": "ok", **found}
    reason = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"status": "failed", "reason": " ".join(reason[-3:])[:300], **found}


if __name__ == "__main__":
    main()
