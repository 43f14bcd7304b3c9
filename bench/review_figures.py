"""Precision promised and reached by `shopsight review`, and how soon its list finds wrong labels.

    python bench/review_figures.py --clothing FOLDER --groceries FOLDER --work FOLDER

Products are made of photos as in `bench/by_product.py`, one to four of one class. They are written
as a Shopify export: of all products 30 % lose their category, and 5 % get a wrong one; the seed
draws which. A probe of the embedded Lite0 backbone is trained on the export, and the review is
compared with the categories that were taken away and the mistakes that were planted.

Each promise is asked for twice: of the categories as they are, where wrong ones count as mistakes
of the model, and after the owner corrected what is wrong in the first tenth of the list. Appends to
--results as JSON lines. Finished runs in --work are taken as they are.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from by_product import as_products, clothing, groceries

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.read_options import ReadOptions
from shopsight.review.cells import written_categories
from shopsight.review.decide import DOUBT, FILL, SAME, Review, decide
from shopsight.review.decisions import Decisions
from shopsight.review.new_answers import new_answers
from shopsight.review.out_of_fold import run_answers
from shopsight.review.shop_products import open_shop
from shopsight.runs.run_folder import RunFolder

SEEDS = (0, 1, 2)
MISSING, WRONG = 0.3, 0.05
PROMISES = (0.85, 0.9, 0.95, 0.98)
HEADER = ("Handle", "Title", "Product Category", "Image Src", "Image Position")


@dataclass(frozen=True)
class Export:
    """A shop with a known truth.

    Attributes:
        file: its export.
        truth: the category of each product.
        wrong: products with a planted mistake.
    """

    file: Path
    truth: dict[str, str]
    wrong: frozenset[str]


def write_export(catalog: Catalog, file: Path, *, seed: int) -> Export:
    """Write photos with their products as an export."""
    rng = np.random.default_rng(100 + seed)
    photos = pl.DataFrame(
        {
            "Handle": catalog.table["group"],
            "label": catalog.table["label"],
            "Image Src": catalog.refs(),
            "Image Position": catalog.table["position"],
        }
    ).sort("Handle", "Image Position")
    truth = dict(photos.select("Handle", "label").iter_rows())
    labels = sorted(set(truth.values()))
    given, wrong = dict[str, str](), set[str]()
    for name, label in truth.items():
        luck = rng.random()
        given[name] = "" if luck < MISSING else label
        if MISSING <= luck < MISSING + WRONG:
            others = [one for one in labels if one != label]
            given[name] = others[int(rng.integers(len(others)))]
            wrong.add(name)
    first = pl.col("Image Position") == 1
    names = photos["Handle"]
    table = photos.with_columns(
        pl.when(first).then(pl.col("Handle")).alias("Title"),
        pl.when(first)
        .then(pl.Series([given[name] for name in names]))
        .replace("", None)
        .alias("Product Category"),
    ).select(HEADER)
    file.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(file, line_terminator="\r\n")
    return Export(file, truth, frozenset(wrong))


def run_of(export: Export, root: Path, out: Path, seed: int) -> RunFolder:
    """The run that was trained on an export."""
    if not (out / "report.html").is_file():
        accept = ("split-leak", "label-conflict", "lost-class")
        read = ReadOptions(images_root=str(root))
        api.train(
            export.file,
            out=out,
            recipe="fast",
            settings=(f"seed={seed}", "framing.search=false"),
            accept=accept,
            read=read,
        )
    return RunFolder(out)


def measure(export: Export, root: Path, run: RunFolder) -> list[dict[str, object]]:
    """The figures of one shop."""
    shop = open_shop(str(export.file), ReadOptions(images_root=str(root))).as_trained(run)
    judged = run_answers(run)
    known = judged.answers
    new = new_answers(judged.for_others, shop.photos, known.names)
    cells = written_categories(shop, known.labels)

    def reviewed(precision: float, decided: Decisions) -> Review:
        return decide(
            shop,
            known,
            new.answers,
            precision=precision,
            not_answered=new.failed,
            decided=decided,
            cells=cells,
        )

    first = reviewed(PROMISES[0], Decisions())
    corrected, found, looked_at = corrections(first, export)
    rows: list[dict[str, object]] = []
    for promise in PROMISES:
        for name, decided in (("as given", Decisions()), ("corrected", Decisions(corrected))):
            review = reviewed(promise, decided)
            fills = review.of(FILL)
            right = sum(
                export.truth[product] == label
                for product, label in fills.select("product", "suggested").iter_rows()
            )
            rows.append(
                {
                    "labels": name,
                    "promised": promise,
                    "missing": review.num_missing,
                    "filled": len(fills),
                    "right": right,
                    "reached": right / len(fills) if len(fills) else None,
                    "measured": review.promise.measured.to_json(),
                    "threshold": review.promise.threshold if review.promise.is_kept else None,
                    "needed": review.promise.num_needed,
                    "labeled": review.promise.num_labeled,
                    "planted": len(export.wrong),
                    "planted in the first tenth": found,
                    "first tenth": looked_at,
                    "accuracy on missing": accuracy(review, export),
                }
            )
    return rows


def corrections(review: Review, export: Export) -> tuple[dict[str, str], int, int]:
    """What an owner corrects who looks at the first tenth of the list, and what that holds."""
    given = review.of(DOUBT, SAME).sort("loss", descending=True)
    tenth = given.head(len(given) // 10)["product"].to_list()
    wrong = [name for name in tenth if name in export.wrong]
    return {name: export.truth[name] for name in wrong}, len(wrong), len(tenth)


def accuracy(review: Review, export: Export) -> float:
    """Of all missing categories, filled in or not."""
    missing = review.table.filter(pl.col("given").is_null())
    hits = [
        export.truth[product] == label
        for product, label in missing.select("product", "suggested").iter_rows()
    ]
    return float(np.mean(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clothing", type=Path)
    parser.add_argument("--groceries", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("review.jsonl"))
    options = parser.parse_args()
    for name, opened in (("clothing", clothing), ("groceries", groceries)):
        folder = getattr(options, name)
        if folder is None:
            continue
        catalog, source, together = opened(folder)
        for seed in SEEDS:
            products = as_products(catalog, source, together, seed=seed, details=False)
            place = options.work / f"{name}-{seed}"
            export = write_export(products, place / "products_export.csv", seed=seed)
            run = run_of(export, folder, place / "run", seed)
            with options.results.open("a", encoding="utf-8") as file:
                for row in measure(export, folder, run):
                    file.write(json.dumps({"data": name, "seed": seed} | row) + "\n")
                    print(name, seed, row, flush=True)


if __name__ == "__main__":
    main()
