"""A small student taught by a probe of the embedded default, and the same student alone.

    python bench/distill_figures.py --clothing FOLDER [--seeds 0] [--epochs 12] [--most 0]

Both begin with random weights and see the same images; the test images are the same, of other
contributors than those that trained. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from shopsight import api
from shopsight.bundle.read import read_info
from shopsight.catalog.catalog import Catalog
from shopsight.commands.compare import compare
from shopsight.datasets.open import open_catalog
from shopsight.read_options import ReadOptions

TEACHER = ["training.mode=probe", "preprocess.size_px=128"]
STUDENT = [
    "model.backbone=timm:mobilenetv3_small_050",
    "training.mode=scratch",
    "preprocess.size_px=96",
    "optimizer.lr=2e-3",
    "training.checkpoint=last",
]
TAUGHT = ["distill.views=2", "distill.embedding_weight=5", "distill.hard_weight=0.5"]


def clothing(root: str, most: int) -> Catalog:
    catalog = open_catalog(root, ReadOptions(drop=("Not sure", "Skip"), on_missing_image="skip"))
    catalog = catalog.with_table(catalog.table.filter(pl.col("label").is_not_null()))
    catalog = catalog.take(np.flatnonzero([Path(ref).is_file() for ref in catalog.refs()]))
    if not most:
        return catalog
    rows = np.random.default_rng(0).choice(len(catalog), min(most, len(catalog)), replace=False)
    return catalog.take(np.sort(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing", required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--most", type=int, default=0, help="photos; 0: all")
    parser.add_argument("--results", type=Path, default=Path("bench/results/distill.jsonl"))
    options = parser.parse_args()
    catalog = clothing(options.clothing, options.most)
    with tempfile.TemporaryDirectory() as folder:
        for seed in map(int, options.seeds.split(",")):
            runs = Path(folder) / str(seed)
            common = {"seed": seed, "exclude": api.FIXABLE_KINDS}
            api.train(catalog, out=runs / "teacher", settings=TEACHER, **common)
            epochs = {"epochs": options.epochs, **common}
            api.train(catalog, out=runs / "alone", settings=STUDENT, **epochs)
            taught = [*STUDENT, *TAUGHT, f"distill.teacher={runs / 'teacher'}"]
            api.train(catalog, out=runs / "taught", settings=taught, **epochs)
            names = ("taught", "alone", "teacher")
            found = compare([runs / name for name in names], measure=False)
            both = compare([runs / name for name in names[:2]], measure=False)
            (into,) = read_info(runs / "taught" / "model").embeds_into
            row = {
                "data": "clothing",
                "seed": seed,
                "images": len(catalog),
                "epochs": options.epochs,
                "recall_in_gallery": into.recall,
                "gallery_queries": into.num_queries,
                "test_images": found.images,
                "accuracy": {one.name: one.score.to_json() for one in found.entries},
                "best_student": both.entries[0].name,
                "other_less_best": (both.entries[1].difference or both.entries[1].score).to_json(),
            }
            print(json.dumps(row), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
