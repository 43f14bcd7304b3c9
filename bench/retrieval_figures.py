"""How well the embedded backbone finds things: plain, with expansion, and re-ranked.

    python bench/retrieval_figures.py --clothing FOLDER --groceries FOLDER --fashion 10000

Clothing: leave one photo out, right is the same label; one contributor's photos vary together.
Groceries: a photo by phone among the studio pictures of 81 products; a photo among other photos.
Fashion-MNIST: test images among a seeded part of the training images, right is the same label.

Numbers of neighbors are chosen on the families of one half and reported on the other half, against
plain search on the same queries. Appends to --results as JSON lines.
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
from shopsight.catalog.linked_rows import codes_of, linked_rows
from shopsight.datasets.open import open_catalog
from shopsight.inference.open_embedder import open_embedder
from shopsight.metrics.estimates import difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.metrics.retrieval import RankedQueries
from shopsight.read_options import ReadOptions
from shopsight.search.evaluate_index import rank_queries
from shopsight.search.retrieval_set import RetrievalSet

MODEL = "embedded:tf_efficientnet_lite0"
METRICS = ("recall_at_1", "mean_average_precision")
EXPANSIONS = (1, 2, 3, 5)
RERANKINGS = ((20, 6), (10, 3), (6, 2))


def embedded(catalog: Catalog, resize: str | None) -> np.ndarray:
    found = open_embedder(MODEL, resize=resize).embed(catalog, on_error="raise")
    return np.stack([one.vector for one in found])


def as_set(
    queries: Catalog,
    gallery: Catalog | None,
    resize: str | None,
    families: list[pl.Series],
) -> RetrievalSet:
    """Queries and gallery by label; one catalog is searched in itself."""
    vectors = embedded(queries, resize)
    other = vectors if gallery is None else embedded(gallery, resize)
    labels = queries.table["label"]
    both = labels if gallery is None else pl.concat([labels, gallery.table["label"]])
    groups = codes_of(both)
    own = np.arange(len(queries))
    return RetrievalSet(
        relevant_by="label",
        query_ids=queries.table["image"].to_list(),
        queries=vectors,
        query_groups=groups[: len(queries)],
        gallery=other,
        gallery_groups=groups if gallery is None else groups[len(queries) :],
        query_contents=own if gallery is None else np.full(len(queries), -1),
        gallery_contents=own if gallery is None else np.full(len(other), -2),
        families=linked_rows(len(queries), families) if families else Families.alone(len(queries)),
        left_out=gallery is None,
        failed={},
        num_all=len(queries),
    )


def half(ranked: RankedQueries, families: Families, which: int) -> tuple[RankedQueries, Families]:
    rows = np.flatnonzero(families.of_image[ranked.queries] % 2 == which)
    values = {name: numbers[rows] for name, numbers in ranked.values.items()}
    queries = ranked.queries[rows]
    return RankedQueries(queries, values, ranked.num_without), families.take(queries)


def text(score: Interval) -> str:
    ends = f"{100 * score.low:.1f} to {100 * score.high:.1f}" if score.is_known else score.reason
    return f"{100 * score.value:.1f} ({ends})"


def best(asked: RetrievalSet, options: list[dict[str, object]]) -> tuple[str, RankedQueries]:
    """The options with the highest mAP on the first half of the families."""
    scored = []
    for one in options:
        ranked = rank_queries(asked, **one)
        first, _ = half(ranked, asked.families, 0)
        scored.append((first.values["mean_average_precision"].mean(), str(one), ranked))
    _, name, ranked = max(scored, key=lambda found: found[0])
    return name, ranked


def rows_of(name: str, asked: RetrievalSet) -> Iterator[dict[str, object]]:
    started = time.perf_counter()
    plain = rank_queries(asked)
    whole = {
        metric: text(interval_of(plain.estimate(metric), asked.families.take(plain.queries)))
        for metric in METRICS
    }
    yield {"data": name, "how": "plain", "queries": len(plain.queries), **whole}
    reference, families = half(plain, asked.families, 1)
    kinds = {
        "expanded": [{"expand": number} for number in EXPANSIONS],
        "re-ranked": [{"rerank": True, "k1": k1, "k2": k2} for k1, k2 in RERANKINGS],
    }
    for kind, options in kinds.items():
        chosen, ranked = best(asked, options)
        reported, _ = half(ranked, asked.families, 1)
        row: dict[str, object] = {"data": name, "how": f"{kind} {chosen}"}
        row["queries"] = len(reported.queries)
        for metric in METRICS:
            new, old = reported.estimate(metric), reference.estimate(metric)
            row[metric] = text(interval_of(new, families))
            row[f"{metric} gain"] = text(difference_of(new, old, families))
        yield row
    print(f"{name}: {time.perf_counter() - started:.0f} s")


def clothing(root: str, resize: str | None) -> RetrievalSet:
    catalog = catalogs.clothing(root, drop=catalogs.UNSURE)
    return as_set(catalog, None, resize, [catalog.table["group"]])


def groceries(root: str, resize: str | None) -> tuple[RetrievalSet, RetrievalSet]:
    photos = open_catalog(root, ReadOptions(skip_folder=("iconic-images-and-descriptions",)))
    classes = pl.read_csv(Path(root) / "classes.csv")
    studio = pl.DataFrame(
        {
            "image": classes["Iconic Image Path (str)"].str.strip_prefix("/"),
            "label": classes["Class Name (str)"],
        }
    )
    gallery = Catalog(studio, "studio", root, access=photos.access)
    return as_set(photos, gallery, resize, []), as_set(photos, None, resize, [])


def fashion(gallery: int, queries: int, resize: str | None) -> RetrievalSet:
    catalog = open_catalog("fashion-mnist")
    test, train = (
        _some(catalog.take(catalog.rows_of(part)), count)
        for part, count in (("test", queries), ("train", gallery))
    )
    return as_set(test, train, resize, [])


def _some(catalog: Catalog, count: int) -> Catalog:
    chosen = np.random.default_rng(0).permutation(len(catalog))[:count]
    return catalog.take(np.sort(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing")
    parser.add_argument("--groceries")
    parser.add_argument(
        "--fashion", type=int, nargs="?", const=10_000, help="training images that are searched"
    )
    parser.add_argument("--fashion-queries", type=int, default=10_000, help="test images that ask")
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--results", type=Path, default=Path("bench/results/retrieval.jsonl"))
    options = parser.parse_args()
    sets: list[tuple[str, RetrievalSet]] = []
    if options.clothing:
        sets.append(("clothing", clothing(options.clothing, options.resize)))
    if options.groceries:
        studio, photos = groceries(options.groceries, options.resize)
        sets += [("groceries, phone to studio", studio), ("groceries, photo to photo", photos)]
    if options.fashion:
        sets.append(
            ("fashion-mnist", fashion(options.fashion, options.fashion_queries, options.resize))
        )
    for name, asked in sets:
        for row in rows_of(name, asked):
            row["resize"] = options.resize or "own"
            print(json.dumps(row), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
