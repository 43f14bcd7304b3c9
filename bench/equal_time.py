"""`shopsight train` and a plain script at equal wall time, on the same photos.

    python bench/equal_time.py --clothing FOLDER --groceries FOLDER --work FOLDER [--seconds 300]

Clothing is divided by contributor, groceries by look, a fifth to test with. Ours is one command,
from the audit to the report, with `--time-limit`; the peer is `bench/plain_script.py`, which
trains on the validation part too. Each in a process of its own, one after the other. Prints both
accuracies with their paired difference, by contributor or look. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from catalogs import by_look, clothing, groceries, without

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.families import Families
from shopsight.runs.run_folder import RunFolder

PLAIN = Path(__file__).with_name("plain_script.py")


def divided(catalog: Catalog, seed: int) -> Catalog:
    return api.split(catalog, test=0.2, seed=seed, accept=("lost-class",)).catalog


def tree(catalog: Catalog, parts: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Links to the photos of some parts, a folder a class; which photo each one is."""
    shown = {}
    for row in np.concatenate([catalog.rows_of(part) for part in parts]):
        source = Path(catalog.refs()[row])
        label = str(catalog.table["label"][int(row)]).replace("/", "-")
        link = folder / label / f"{row}{source.suffix.lower()}"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(source.resolve())
        shown[str(link)] = str(catalog.table["image"][int(row)])
    return shown


def ours(catalog: Catalog, work: Path, options: argparse.Namespace) -> tuple[pl.DataFrame, float]:
    table, run = work / "photos.parquet", work / "run"
    api.split(catalog, out=table)
    began = time.perf_counter()
    command = [
        *(sys.executable, "-m", "shopsight", "train", str(table), "--out", str(run)),
        *("--backbone", options.backbone, "--seed", str(options.seed)),
        *("--time-limit", f"{options.seconds:g}s"),
        *(f"--exclude={kind}" for kind in api.FIXABLE_KINDS),
        *(f"--accept={kind}" for kind in ("group-leak", "imbalance", "rare-class")),
    ]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - began
    found = Predictions.read(RunFolder(run).predictions_file("test")).table
    return found.select("image", mine="correct"), seconds


def plain(catalog: Catalog, work: Path, options: argparse.Namespace) -> tuple[pl.DataFrame, float]:
    tree(catalog, ("train", "val"), work / "train")
    shown = tree(catalog, ("test",), work / "test")
    answers = work / "plain.jsonl"
    began = time.perf_counter()
    command = [
        *(sys.executable, str(PLAIN), "--data", str(work / "train"), "--test", str(work / "test")),
        *("--backbone", options.backbone, "--seed", str(options.seed)),
        *("--seconds", f"{options.seconds:g}", "--answers", str(answers)),
    ]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - began
    found = pl.read_ndjson(answers)
    images = [shown[link] for link in found["image"]]
    return found.select(pl.Series("image", images), other="correct"), seconds


def compared(name: str, catalog: Catalog, options: argparse.Namespace) -> dict[str, Any]:
    work = options.work / f"{name}-{options.seed}"
    work.mkdir(parents=True, exist_ok=True)
    catalog = divided(catalog, options.seed)
    mine, our_seconds = ours(catalog, work, options)
    other, their_seconds = plain(catalog, work, options)
    groups = catalog.table.select("image", "group")
    both = mine.join(other, on="image").join(groups, on="image")
    shares = [Estimate.share(both[column].to_numpy()) for column in ("mine", "other")]
    families = Families.by(both["group"].cast(pl.String).to_numpy())
    gain = difference_of(shares[0], shares[1], families)
    return {
        "data": name,
        "backbone": options.backbone,
        "seed": options.seed,
        "images": len(both),
        "ours": round(100 * both["mine"].mean(), 1),
        "plain": round(100 * both["other"].mean(), 1),
        "gain": f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})",
        "our_seconds": round(our_seconds),
        "their_seconds": round(their_seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing")
    parser.add_argument("--groceries")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--backbone", default="embedded:tf_efficientnet_lite0")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("bench/results/equal_time.jsonl"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    catalogs = {}
    if options.groceries:
        photos = without(groceries(options.groceries), "group")
        catalogs["groceries"] = by_look(photos, options.work)
    if options.clothing:
        catalogs["clothing"] = clothing(options.clothing)
    for name, catalog in catalogs.items():
        row = compared(name, catalog, options)
        print(json.dumps(row), flush=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
