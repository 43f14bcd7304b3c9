"""How many of the pairs that `shopsight duplicates` finds show one product, on real photos.

    python bench/bench_duplicates.py --groceries FOLDER --clothing FOLDER

Groceries: a kind (81) stands for a product, its official training and validation photos, of other
visits to shops, for two listings. Pairs of a training and a validation photo, by threshold; what
the command drops with the threshold that it takes by itself, from the training photos' kinds; and
the same in one catalog whose photos are dealt to two listings at random, where photos of one visit
are in both. Clothing: no products, but a pair of two contributors or two labels is a wrong one, so
that the share of the others is the most that precision can be.

Intervals: by kinds of groceries, by contributors of clothing. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import catalogs
import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.inference.embedder import Embedder
from shopsight.inference.open_embedder import DEFAULT_MODEL, open_embedder
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.read_options import ReadOptions
from shopsight.search.duplicate_pairs import DEFAULT_THRESHOLD, mutual_pairs
from shopsight.search.duplicate_products import DuplicateProducts, find_duplicates

THRESHOLDS = (0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8, 0.75, 0.7)


def share(is_right: np.ndarray, families: np.ndarray) -> str:
    """A share of pairs with its interval."""
    if not len(is_right):
        return "no pair"
    score = interval_of(Estimate.share(is_right), Families.by(families))
    ends = f"{100 * score.low:.1f}-{100 * score.high:.1f}" if score.is_known else score.reason
    return f"{100 * score.value:.1f} ({ends})"


def embedded(catalog: Catalog, embedder: Embedder) -> np.ndarray:
    return np.stack([one.vector for one in embedder.embed(catalog, on_error="raise")])


def by_threshold(
    name: str, vectors: np.ndarray, apart: np.ndarray, same: np.ndarray, families: np.ndarray
) -> Iterator[dict[str, object]]:
    """Precision of mutual pairs above each threshold; `same` is equal where a pair is right."""
    pairs, scores = mutual_pairs(vectors, apart)
    right = same[pairs[:, 0]] == same[pairs[:, 1]]
    for threshold in THRESHOLDS:
        above = scores >= threshold
        yield {
            "data": name,
            "threshold": threshold,
            "pairs": int(above.sum()),
            "right": share(right[above], families[pairs[above, 0]]),
            "products with a right pair": len(np.unique(same[pairs[above & right, 0]])),
        }


def proposed(name: str, found: DuplicateProducts, started: float) -> dict[str, object]:
    """What is found as other photos of one product: is it of the kind of what is kept."""
    kept = found.table.group_by("cluster", maintain_order=True).agg(pl.col("label").first())
    lines = found.table.join(kept, on="cluster", suffix="_kept")
    is_first = pl.int_range(pl.len()).over("cluster") == 0
    last = len(found.sides) - 1
    lines = lines.filter(~is_first & (pl.col("side") == last) & (pl.col("kind") == "same product"))
    right = (lines["label"] == lines["label_kept"]).to_numpy()
    return {
        "data": name,
        "threshold": round(found.threshold.score, 3),
        "from": found.threshold.source,
        "other photos": len(right),
        "right": share(right, lines["label_kept"].to_numpy()),
        "clusters": found.counts(),
        "seconds": round(time.perf_counter() - started),
    }


def groceries(root: Path, embedder: Embedder) -> Iterator[dict[str, object]]:
    # One root for both: `val` alone is read as its three folders, not as its kinds.
    photos = open_catalog(str(root), ReadOptions(skip_folder=("iconic-images-and-descriptions",)))
    train, val = (without_split(photos.take(photos.rows_of(part))) for part in ("train", "val"))
    assert set(val.labels) <= set(train.labels)
    vectors = np.concatenate([embedded(train, embedder), embedded(val, embedder)])
    kinds = np.concatenate([train.table["label"].to_numpy(), val.table["label"].to_numpy()])
    apart = np.repeat([0, 1], [len(train), len(val)])
    yield from by_threshold("groceries, other visits", vectors, apart, kinds, kinds)
    rng = np.random.default_rng(0)
    listing = pl.format(
        "{}#{}", pl.col("label"), pl.lit(pl.Series(rng.integers(2, size=len(train))))
    )
    known = {
        "groceries, other visits": (train.with_table(grouped(train, pl.col("label"))), val),
        "groceries, two listings": (train.with_table(grouped(train, listing)), None),
        "groceries, nothing known": (train, val),
    }
    for name, (one, other) in known.items():
        started = time.perf_counter()
        yield proposed(name, find_duplicates(one, embedder, other=other), started)


def without_split(catalog: Catalog) -> Catalog:
    return catalog.with_table(catalog.table.drop("split"))


def grouped(catalog: Catalog, group: pl.Expr) -> pl.DataFrame:
    return catalog.table.with_columns(group.alias("group"))


def clothing(root: str, embedder: Embedder) -> Iterator[dict[str, object]]:
    catalog = catalogs.clothing(root, drop=catalogs.UNSURE)
    who = catalog.table["group"].cast(pl.String).to_numpy()
    what = catalog.table["label"].to_numpy()
    possible = np.array([f"{one}/{two}" for one, two in zip(who, what, strict=True)])
    vectors = embedded(catalog, embedder)
    name = "clothing, same contributor and label"
    yield from by_threshold(name, vectors, np.arange(len(catalog)), possible, who)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groceries", type=Path)
    parser.add_argument("--clothing")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--results", type=Path, default=Path("bench/results/duplicates.jsonl"))
    options = parser.parse_args()
    embedder = open_embedder(options.model, resize=options.resize)
    rows: list[Iterator[dict[str, object]]] = []
    if options.groceries:
        rows.append(groceries(options.groceries, embedder))
    if options.clothing:
        rows.append(clothing(options.clothing, embedder))
    print(f"the default without known pairs is {DEFAULT_THRESHOLD}")
    for some in rows:
        for row in some:
            row |= {"model": options.model, "resize": options.resize or "own"}
            print(json.dumps(row), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
