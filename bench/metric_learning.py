"""What metric learning brings to a search, for several seeds.

    python bench/metric_learning.py --clothing FOLDER --groceries FOLDER --fashion --work FOLDER

The embedded default as it is, and after `shopsight train` with ArcFace (six epochs):
recall@1 and mAP of held-out images, and of all images of labels that were held out; paired gains
with their intervals (clothing: by contributor). The same images and labels are held out as in
`bench/adapt_figures.py`, so that both can be compared; each seed holds out others. Runs in --work
that are finished are taken as they are. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
from adapt_figures import MODEL, add_catalogs, chosen_catalogs, figures

from shopsight import api
from shopsight.audit.file_info import inspect_all
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids
from shopsight.embeddings.store import read_embeddings
from shopsight.training.adapt_parts import TRAIN, VAL_IMAGES, AdaptParts, divide
from shopsight.training.adapt_search import changes_between

SETTINGS = (
    "data.val_classes=0.0",
    "data.test=0.0",
    "preprocess.size_px=160",
    "model.neck.kind=bnneck",
    "model.head.kind=cosine",
    "model.head.scale=16.0",
    "model.head.learned_scale=false",
    "training.mode=finetune",
    "training.label_smoothing=0.0",
    "training.loss=arcface",
    "training.sampling=pxk",
    "training.checkpoint=retrieval",
    "training.head_epochs=1",
    "training.frozen_batchnorm=true",
    "metric.margin=0.2",
    "metric.margin_step=0.05",
    "optimizer.lr=1e-4",
    "optimizer.head_lr_factor=20.0",
    "augment.affine_prob=0.0",
)


def vectors_of(model: str | Path, catalog: Catalog, out: Path) -> np.ndarray:
    """Unit vectors of all rows, in their order."""
    if not out.is_file():
        api.embed(model, catalog, out=out)
    found = read_embeddings(out)
    at = {name: row for row, name in enumerate(found.table["id"])}
    return found.vectors[[at[one] for one in item_ids(catalog)]]


def trained(catalog: Catalog, parts: AdaptParts, out: Path, seed: int, set_: list[str]) -> Path:
    """Classes that are held out to choose or to judge are in no part of the run."""
    if (out / "model" / "model.json").is_file():
        return out
    split = np.full(len(catalog), None, object)
    split[parts.rows(TRAIN)], split[parts.rows(VAL_IMAGES)] = "train", "val"
    rows = np.sort(parts.rows(TRAIN, VAL_IMAGES))
    divided = catalog.with_table(
        catalog.table.with_columns(split=pl.Series(split.tolist(), dtype=pl.String))
    )
    api.train(
        divided.take(rows),
        out=out,
        recipe="balanced",
        backbone=MODEL,
        seed=seed,
        settings=[*SETTINGS, *set_],
        accept=("group-leak", "imbalance", "rare-class", "split-leak", "near-duplicate"),
        exclude=api.FIXABLE_KINDS,
    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_catalogs(parser)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--results", type=Path, default=Path("bench/results/metric_learning.jsonl"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sets = chosen_catalogs(options)
    for seed in map(int, options.seeds.split(",")):
        for name, catalog in sets.items():
            found = inspect_all(catalog.refs(), access=catalog.access)
            parts = divide(catalog, found.files["sha256"], seed=seed)
            began = time.perf_counter()
            run = trained(catalog, parts, options.work / f"{name}-{seed}", seed, options.settings)
            seconds = round(time.perf_counter() - began)
            before = vectors_of(MODEL, catalog, options.work / f"{name}.npz")
            after = vectors_of(run, catalog, options.work / f"{name}-{seed}.npz")
            for part, metrics in changes_between(before, after, parts, seed=seed).items():
                for metric, change in metrics.items():
                    row = {
                        **figures(name, seed, part, metric, change),
                        "settings": options.settings,
                        "seconds": seconds,
                    }
                    print(json.dumps(row), flush=True)
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
