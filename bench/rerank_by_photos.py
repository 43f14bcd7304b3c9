"""From how many photos of a product on re-ranking helps, and with how many neighbors.

    python bench/rerank_by_photos.py --groceries FOLDER [--resize crop] [--photos 1 2 3 5 10 20]

The gallery has the same number of official training photos of each product (seeded draws). Queries
are the official validation photos, of other visits to the shops, and up to five of the training
photos that were not drawn, where those of one visit are alike. Gains are to plain search on the
same queries; all draws together, a product's queries vary together.

Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from retrieval_figures import MODEL, embedded, text

from shopsight.datasets.open import open_catalog
from shopsight.metrics.estimates import difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.retrieval import RankedQueries
from shopsight.read_options import ReadOptions
from shopsight.search.evaluate_index import rank_queries
from shopsight.search.retrieval_set import RetrievalSet

DRAWS, MOST_ASKED, FEWEST_PHOTOS = 5, 5, 21
METRICS = ("recall_at_1", "mean_average_precision")
RERANKINGS = ((6, 2), (10, 3), (20, 6))


def as_set(
    vectors: np.ndarray, products: np.ndarray, queries: np.ndarray, gallery: np.ndarray
) -> RetrievalSet:
    return RetrievalSet(
        relevant_by="product",
        query_ids=[str(row) for row in queries],
        queries=vectors[queries],
        query_groups=products[queries],
        gallery=vectors[gallery],
        gallery_groups=products[gallery],
        query_contents=np.full(len(queries), -1),
        gallery_contents=np.full(len(gallery), -2),
        families=Families.by(products[queries]),
        left_out=False,
        failed={},
        num_all=len(queries),
    )


def drawn(
    vectors: np.ndarray, products: np.ndarray, is_train: np.ndarray, photos: int, seed: int
) -> dict[str, RetrievalSet]:
    """Photos of each product that has enough, and who asks for them."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(products[is_train])
    usable = np.flatnonzero(counts >= FEWEST_PHOTOS)
    orders = [rng.permutation(np.flatnonzero(is_train & (products == one))) for one in usable]
    gallery = np.sort(np.concatenate([order[:photos] for order in orders]))
    asked = {
        "other visits": np.flatnonzero(~is_train & np.isin(products, usable)),
        "same visits": np.concatenate([order[photos : photos + MOST_ASKED] for order in orders]),
    }
    return {name: as_set(vectors, products, rows, gallery) for name, rows in asked.items()}


def together(ranked: list[RankedQueries], asked: list[RetrievalSet]) -> RankedQueries:
    """The queries of all draws, numbered as those of one set."""
    starts = np.cumsum([0, *(len(one.queries) for one in asked[:-1])])
    return RankedQueries(
        np.concatenate([one.queries + start for one, start in zip(ranked, starts, strict=True)]),
        {name: np.concatenate([one.values[name] for one in ranked]) for name in ranked[0].values},
        sum(one.num_without for one in ranked),
    )


def rows_of(name: str, photos: int, asked: list[RetrievalSet]) -> Iterator[dict[str, object]]:
    families = Families.by(np.concatenate([one.query_groups for one in asked]))
    plain = together([rank_queries(one) for one in asked], asked)
    row: dict[str, object] = {"queries": name, "photos": photos, "asked": len(plain.queries)}
    for metric in METRICS:
        row[metric] = text(interval_of(plain.estimate(metric), families.take(plain.queries)))
    yield row | {"how": "plain"}
    for k1, k2 in RERANKINGS:
        new = together([rank_queries(one, rerank=True, k1=k1, k2=k2) for one in asked], asked)
        gains = {
            f"{metric} gain": text(
                difference_of(
                    new.estimate(metric), plain.estimate(metric), families.take(plain.queries)
                )
            )
            for metric in METRICS
        }
        yield {"queries": name, "photos": photos, "how": f"k1 {k1}, k2 {k2}", **gains}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groceries", required=True)
    parser.add_argument("--photos", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20])
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--results", type=Path, default=Path("bench/results/rerank.jsonl"))
    options = parser.parse_args()
    catalog = open_catalog(
        options.groceries, ReadOptions(skip_folder=("iconic-images-and-descriptions",))
    )
    vectors = embedded(catalog, options.resize)
    _, products = np.unique(catalog.table["label"].to_numpy(), return_inverse=True)
    is_train = (catalog.table["split"] == "train").to_numpy()
    for photos in options.photos:
        draws = [drawn(vectors, products, is_train, photos, seed) for seed in range(DRAWS)]
        for name in draws[0]:
            for row in rows_of(name, photos, [one[name] for one in draws]):
                row |= {"model": MODEL, "resize": options.resize or "own"}
                print(json.dumps(row), flush=True)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
