"""What a layer on kept embeddings brings to a search, for several seeds.

    python bench/adapt_figures.py --clothing FOLDER --groceries FOLDER [--seeds 0,1,2]

The embedded default as it is, and adapted: recall@1 and mAP of held-out images, and of all images
of labels that were held out; paired gains with their intervals (clothing: by contributor). Each
seed holds out other images and labels. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.commands.adapt import adapt
from shopsight.datasets.open import open_catalog
from shopsight.metrics.intervals import Interval
from shopsight.read_options import ReadOptions
from shopsight.training.adapt_search import Change

MODEL = "embedded:tf_efficientnet_lite0"


def clothing(root: str) -> Catalog:
    catalog = open_catalog(root, ReadOptions(drop=("Not sure", "Skip"), on_missing_image="skip"))
    catalog = catalog.with_table(catalog.table.filter(pl.col("label").is_not_null()))
    return catalog.take(np.flatnonzero([Path(ref).is_file() for ref in catalog.refs()]))


def groceries(root: str) -> Catalog:
    """Both parts together: each seed divides them anew."""
    catalog = open_catalog(root, ReadOptions(skip_folder=("iconic-images-and-descriptions",)))
    return catalog.with_table(catalog.table.drop("split", strict=False))


def text(score: Interval, *, sign: str = "") -> str:
    if not score.is_known:
        return f"{100 * score.value:{sign}.1f} ({score.reason})"
    low, high = (f"{100 * end:{sign}.1f}" for end in (score.low, score.high))
    return f"{100 * score.value:{sign}.1f} ({low} to {high})"


def figures(data: str, seed: int, part: str, metric: str, change: Change) -> dict[str, Any]:
    """What every row of results says."""
    return {
        "data": data,
        "seed": seed,
        "part": part,
        "metric": metric,
        "images": change.images,
        "classes": change.classes,
        "before": text(change.before),
        "after": text(change.after),
        "gain": text(change.gain, sign="+"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing")
    parser.add_argument("--groceries")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--results", type=Path, default=Path("bench/results/adapt.jsonl"))
    options = parser.parse_args()
    sets = {}
    if options.groceries:
        sets["groceries"] = groceries(options.groceries)
    if options.clothing:
        sets["clothing"] = clothing(options.clothing)
    scratch = Path(tempfile.mkdtemp())
    try:
        for seed in map(int, options.seeds.split(",")):
            for name, catalog in sets.items():
                done = adapt(MODEL, catalog, out=scratch / f"{name}-{seed}", seed=seed)
                for part, metrics in done.changes.items():
                    for metric, change in metrics.items():
                        row = {
                            **figures(name, seed, part, metric, change),
                            "chosen": done.chosen,
                            "seconds": round(done.seconds),
                        }
                        print(json.dumps(row), flush=True)
                        with options.results.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(row) + "\n")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
