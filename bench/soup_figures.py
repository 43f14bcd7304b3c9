"""What averaging weights brings: between a short fine-tuning and its start, and over three seeds.

    python bench/soup_figures.py --clothing FOLDER --work FOLDER

Clothing by contributor: a tenth of the photos validates, a fifth tests, and whole classes of a
further fifth are held out of training. Every run has this one split; the seed decides the order and
the augmentation. Finished runs in --work are taken as they are. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl

from shopsight import api
from shopsight.audit.audit import audit
from shopsight.audit.gate import gate
from shopsight.catalog.held_out_classes import HELD_OUT, held_out_rows
from shopsight.catalog.split import split_catalog
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder

BACKBONE = "embedded:tf_efficientnet_lite0"
DROP = ("Not sure", "Other", "Skip")
SEEDS = (0, 1, 2)
ALPHAS = tuple(round(0.1 * step, 1) for step in range(11))


def split_table(clothing: Path, out: Path) -> Path:
    """One split for all runs: val, test, and held-out classes."""
    catalog = api.open_catalog(
        "clothing", ReadOptions(root=str(clothing), drop=DROP, group="sender_id")
    )
    report = audit(catalog)
    usable = gate(catalog, report, accept={"split-leak", "group-leak"}, exclude={"label-conflict"})
    catalog, copies = catalog.take(usable.rows), report.duplicate_group[usable.rows]
    held = held_out_rows(catalog, fraction=0.2, seed=0, duplicate_group=copies)
    rows = np.flatnonzero(~held)
    inside, _ = split_catalog(
        catalog.take(rows), val=0.1, test=0.2, seed=0, duplicate_group=copies[rows]
    )
    parts = np.full(len(catalog), "test", object)
    parts[rows] = inside.table["split"].to_numpy()
    split = pl.Series("split", parts.tolist(), pl.String)
    table = catalog.table.with_columns(split, pl.Series(HELD_OUT, held))
    catalog.with_table(table).write(out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clothing", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("soup-figures.jsonl"))
    options = parser.parse_args()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    table = work / "clothing.parquet"
    if not table.is_file():
        split_table(options.clothing, table)
    runs = []
    for seed in SEEDS:
        run = work / f"seed{seed}"
        runs.append(run)
        if not (run / "report.html").is_file():
            begun = RunFolder(run).exists()
            trained = api.resume(run) if begun else _trained(table, run, seed, options.epochs)
            print(run, trained.seconds)
    for name, given, how, alphas in (
        ("wise-ft", runs[:1], "alpha", ALPHAS),
        ("between seeds", runs[:2], "alpha", (0.5,)),
        ("uniform", runs, "uniform", ()),
        ("greedy", runs, "greedy", ()),
    ):
        out = work / name.replace(" ", "-")
        if out.exists():
            continue
        begun_s = time.perf_counter()
        found = api.soup(given, out=out, how=how, alphas=alphas)
        line = {"what": name, "seconds": round(time.perf_counter() - begun_s), **found.to_json()}
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(name, found.average.measured.intervals(), found.gains())


def _trained(table: Path, run: Path, seed: int, epochs: int) -> api.TrainResult:
    return api.train(
        table,
        out=run,
        recipe="balanced",
        backbone=BACKBONE,
        epochs=epochs,
        seed=seed,
        # A contributor sends photos of most classes, of those that are held out too.
        accept=("group-leak",),
    )


if __name__ == "__main__":
    main()
