"""Accuracy of a recipe on real data over several seeds, each a whole `shopsight train` of its own.

    python bench/accuracy.py clothing --root FOLDER --recipe fast --seeds 0 1 2

Every run starts from cold files (a cache of its own) unless --cache-dir is given. Prints each
seed's test accuracy with its interval, and their mean with the range over seeds and the interval of
all test images, in which the results of one image in several seeds, and of its family, vary
together; seconds are of the whole command, imports included. Appends to --results as JSON lines.

K folds that take an hour each need not be one sitting, nor one machine:

    python bench/accuracy.py clothing ... --seeds 0 --flag=--folds=5 --flag=--fold=0

and so on, then `python bench/accuracy.py --pool` says what the rows make together. One that was
cut off resumes when the same command is given with --resume.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shopsight.config.recipe import load_recipe
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval, wilson
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--pool", action="store_true", help="only put single folds together")
    parser.add_argument("--root")
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--drop", action="append", default=[])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument(
        "--flag", dest="flags", action="append", default=[], help="as --flag=--folds=5"
    )
    parser.add_argument("--cache-dir")
    parser.add_argument("--resume", action="store_true", help="resume the runs in --out")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/accuracy.jsonl"))
    options = parser.parse_args()
    if options.pool:
        pool(options.results)
        return
    if options.resume and options.cache_dir is None:
        parser.error("--resume needs the --cache-dir that the run began with")
    if options.data is None:
        parser.error("name the data")
    found = [run(options, seed) for seed in options.seeds]
    accuracies = [row["accuracy"] for row in found]
    images = sum(row["images"] for row in found)
    pooled = over_seeds([run_folder(options, seed) for seed in options.seeds])
    print(
        f"{options.recipe} on {options.data}: {pooled.value:.2%} (95 % interval {pooled.low:.2%} "
        f"to {pooled.high:.2%}, {images} tests of images over {len(found)} seeds; seeds "
        f"{min(accuracies):.2%} to {max(accuracies):.2%}), "
        f"{statistics.median(row['wall_s'] for row in found):.0f} s wall, "
        f"{statistics.median(row['cpu_s'] for row in found):.0f} s CPU each"
    )


def over_seeds(runs: Sequence[Path]) -> Interval:
    """The accuracy over the test images of all seeds; each seed may split them anew.

    An image that several seeds test is one family with itself, with its group and its copies:
    three seeds on the same images are not three times as many images.
    """
    tables = [Predictions.read(RunFolder(run).predictions_file(part_of(run))).table for run in runs]
    kept = [
        name
        for name in ("image", "group", "duplicate_group", "correct")
        if all(name in table.columns for table in tables)
    ]
    table = pl.concat([one.select(kept) for one in tables])
    links = [
        np.unique(table[name].cast(pl.String).fill_null(pl.lit("")), return_inverse=True)[1]
        - int(table[name].null_count() > 0)
        for name in kept[:-1]
    ]
    families = Families.linked(len(table), links)
    return interval_of(Estimate.share(table["correct"].to_numpy()), families)


def part_of(run: Path) -> str:
    """The part that a run is quoted by."""
    return "test" if RunFolder(run).predictions_file("test").is_file() else OUT_OF_FOLD


def pool(results: Path) -> None:
    """Print the out-of-fold accuracy of trainings whose folds are rows of their own."""
    trainings: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for line in results.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        fold = [word for word in row["settings"] if word.startswith("--fold=")]
        if fold:
            others = tuple(sorted(set(row["settings"]) - set(fold)))
            # A recipe that was changed between two folds is another.
            key = (row["data"], row["recipe"], others, row["seed"], row["recipe_sha256"])
            trainings.setdefault(key, {})[fold[0]] = row
    for (data, recipe, settings, seed, _), folds in trainings.items():
        images = sum(row["images"] for row in folds.values())
        right = sum(round(row["accuracy"] * row["images"]) for row in folds.values())
        ((low,), (high,)) = wilson(np.array([right]), np.array([images]))
        minutes = statistics.fmean(row["wall_s"] for row in folds.values()) / 60
        print(
            f"{recipe} on {data}, seed {seed}, {' '.join(settings)}: {right / images:.2%} "
            f"({low:.2%} to {high:.2%}) on {images} images out of {len(folds)} folds "
            f"({', '.join(sorted(folds))}), {minutes:.0f} min a fold"
        )


def recipe_hash(options: argparse.Namespace) -> str:
    """Of the recipe's settings."""
    settings = load_recipe(options.recipe).model_dump_json(exclude={"about"})
    return sha256(settings.encode()).hexdigest()


def run_folder(options: argparse.Namespace, seed: int) -> Path:
    """Each fold and setting has its own: --resume must not take one run for another."""
    asked = [options.data, options.root, options.drop, options.settings, options.flags]
    key = sha256(json.dumps([recipe_hash(options), *asked]).encode()).hexdigest()[:8]
    return options.out / f"{options.recipe}-seed{seed}-{key}"


def run(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train once, in a process of its own, and note what it took."""
    recipe_sha256, out = recipe_hash(options), run_folder(options, seed)
    begun = options.resume and RunFolder(out).state_file.is_file()
    if not begun:
        shutil.rmtree(out, ignore_errors=True)
    # What was done before a run was cut off counts too.
    earlier = list(RunFolder(out).state().get("seconds", {}).values()) if begun else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as cold:
        done = subprocess.run(
            resumption(out) if begun else command(options, seed, out, options.cache_dir or cold),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout)
    wall_s = time.perf_counter() - began + sum(stage["wall"] for stage in earlier)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cpu_s += sum(stage["cpu"] for stage in earlier)
    part = "test" if "test" in result["evaluations"] else "out-of-fold"
    evaluation = result["evaluations"][part]
    accuracy = evaluation["metrics"]["accuracy"]
    row = {
        "data": options.data,
        "recipe": options.recipe,
        "recipe_sha256": recipe_sha256,
        "settings": [*options.settings, *options.flags],
        "seed": seed,
        "images": evaluation["counts"]["images"],
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "peak_mb": round(after.ru_maxrss / 1000),
        "stages": result["seconds"],
    }
    print(
        f"seed {seed}: {row['accuracy']:.2%} ({row['low']:.2%} to {row['high']:.2%}) on "
        f"{row['images']} {part} images, {row['wall_s']:.0f} s wall, {row['cpu_s']:.0f} s CPU, "
        f"peak {row['peak_mb']} MB",
        flush=True,
    )
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row


def resumption(out: Path) -> list[str]:
    return [sys.executable, "-m", "shopsight", "train", "--resume", str(out), "--json"]


def command(options: argparse.Namespace, seed: int, out: Path, cache: str) -> list[str]:
    """The command line that a user would type."""
    words = [sys.executable, "-m", "shopsight", "train", options.data, "--out", str(out), "--json"]
    words += ["--recipe", options.recipe, "--seed", str(seed), "--cache-dir", cache]
    words += ["--root", options.root] if options.root else []
    for label in options.drop:
        words += ["--drop", label]
    for setting in options.settings:
        words += ["--set", setting]
    return words + options.flags


if __name__ == "__main__":
    main()
