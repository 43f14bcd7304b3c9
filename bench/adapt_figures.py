"""What a layer on kept embeddings brings to a search, for several seeds.

    python bench/adapt_figures.py --clothing FOLDER --groceries FOLDER --fashion [--seeds 0,1,2]

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

from catalogs import UNSURE, clothing, fashion, groceries

from shopsight.catalog.catalog import Catalog
from shopsight.commands.adapt import adapt
from shopsight.metrics.intervals import Interval
from shopsight.training.adapt_search import Change

MODEL = "embedded:tf_efficientnet_lite0"


FASHION = 5_000
"""Images of Fashion-MNIST."""


def add_catalogs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clothing")
    parser.add_argument("--groceries")
    parser.add_argument("--fashion", action="store_true")
    parser.add_argument("--seeds", default="0,1,2")


def chosen_catalogs(options: argparse.Namespace) -> dict[str, Catalog]:
    """By name; each seed divides them anew."""
    found = {}
    if options.groceries:
        found["groceries"] = groceries(options.groceries)
    if options.clothing:
        found["clothing"] = clothing(options.clothing, drop=UNSURE)
    if options.fashion:
        found["fashion-mnist"] = fashion(FASHION)
    return found


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
    add_catalogs(parser)
    parser.add_argument("--results", type=Path, default=Path("bench/results/adapt.jsonl"))
    options = parser.parse_args()
    sets = chosen_catalogs(options)
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
