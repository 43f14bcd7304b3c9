"""Recipes judged on many catalogs at once: a recipe that wins on one data set alone has not won.

    python bench/recipes.py --clothing FOLDER --groceries FOLDER --work FOLDER \
        --recipe fast --recipe balanced --recipe "balanced optimizer.lr=1e-3 augment.scale=[0.5,1]"

The catalogs: GroceryStore (train and val divided anew, photos that look alike on one side, as of
one visit to the shop), clothing divided by contributor and by image, two cuts of clothing, one with
a long tail and one of ten images a class, and Fashion-MNIST (28 px). Each seed divides and trains
anew; all recipes of a seed have the same split. Prints, for each catalog, the test accuracy of each
recipe over the seeds, its paired gain on the first one with its interval, and the mean ranks.
Finished runs in --work are taken as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
from catalogs import by_look, clothing, fashion, groceries, sample, without

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.evaluation.predictions import Predictions
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.runs.run_folder import RunFolder

FEWEST = 8
"""Images of a class, where each part is to have some."""


@dataclass(frozen=True)
class Contest:
    """A catalog, and how it is divided."""

    catalog: Catalog
    settings: tuple[str, ...] = ()


def cut(catalog: Catalog, images_of_rank: Callable[[int], int]) -> Catalog:
    """Of each class as many images as its rank by size allows."""
    labels = catalog.table["label"].to_numpy()
    names, counts = np.unique(labels, return_counts=True)
    rng = np.random.default_rng(0)
    kept = []
    for rank, at in enumerate(np.argsort(-counts, kind="stable")):
        rows = rng.permutation(np.flatnonzero(labels == names[at]))
        kept.append(rows[: max(FEWEST, images_of_rank(rank))])
    return catalog.take(np.sort(np.concatenate(kept)))


def contests(options: argparse.Namespace) -> dict[str, Contest]:
    most: int = options.most
    found = {}
    if options.groceries:
        store = without(groceries(options.groceries), "group")
        found["groceries"] = Contest(by_look(store, options.work))
    if options.clothing:
        photos = clothing(options.clothing)
        alone = without(photos, "group")
        found["clothing by image"] = Contest(sample(alone, most))
        found["clothing by contributor"] = Contest(sample(photos, most))
        found["clothing, long tail"] = Contest(
            cut(alone, lambda rank: int(300 / (1 + rank) ** 1.2))
        )
        found["clothing, ten a class"] = Contest(cut(alone, lambda _: 10))
    if not options.without_fashion:
        found["Fashion-MNIST"] = Contest(fashion(min(most, 5_000)))
    return found


def run_of(
    work: Path, name: str, contest: Contest, recipe: str, seed: int, set_: list[str]
) -> Path:
    key = sha256(json.dumps([name, len(contest.catalog), recipe, seed, set_]).encode()).hexdigest()
    out = work / f"{key[:12]}"
    if (out / "report.html").is_file():
        return out
    shutil.rmtree(out, ignore_errors=True)
    title, *changes = recipe.split()
    began = time.perf_counter()
    result = api.train(
        contest.catalog,
        out=out,
        recipe=title,
        seed=seed,
        settings=[*contest.settings, *set_, *changes],
        exclude=api.FIXABLE_KINDS,
        accept=("group-leak", "imbalance", "rare-class"),
    )
    accuracy = result.evaluations["test"].metrics["accuracy"]
    print(
        f"{name}, {recipe}, seed {seed}: {accuracy:.2%}, {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    return out


def judged(run: Path) -> pl.DataFrame:
    return Predictions.read(RunFolder(run).predictions_file("test")).table


def gain(ours: list[pl.DataFrame], first: list[pl.DataFrame]) -> Interval:
    """What is gained, paired by image; an image that several seeds test is one family."""
    rows = []
    for mine, other in zip(ours, first, strict=True):
        both = mine.select("image", mine="correct").join(
            other.select("image", other="correct"), on="image", how="inner"
        )
        rows.append(both)
    table = pl.concat(rows)
    mine_share, other_share = (
        Estimate.share(table[column].to_numpy()) for column in ("mine", "other")
    )
    return difference_of(mine_share, other_share, Families.by(table["image"].to_numpy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing")
    parser.add_argument("--groceries")
    parser.add_argument("--without-fashion", action="store_true")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipe", dest="recipes", action="append", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--most", type=int, default=2_000, help="images of a catalog")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--results", type=Path, default=Path("bench/results/recipes.jsonl"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    ranks: dict[str, list[int]] = {recipe: [] for recipe in options.recipes}
    for name, contest in contests(options).items():
        tables = {
            recipe: [
                judged(run_of(options.work, name, contest, recipe, seed, options.settings))
                for seed in options.seeds
            ]
            for recipe in options.recipes
        }
        means = {
            recipe: float(np.mean([one["correct"].mean() for one in found]))
            for recipe, found in tables.items()
        }
        ordered = sorted(means, key=lambda one: -means[one])
        first = tables[options.recipes[0]]
        for recipe, found in tables.items():
            ranks[recipe].append(ordered.index(recipe) + 1)
            paired = gain(found, first)
            row = {
                "catalog": name,
                "images": len(contest.catalog),
                "recipe": recipe,
                "seeds": options.seeds,
                "settings": options.settings,
                "accuracy": round(means[recipe], 4),
                "gain": [round(value, 4) for value in (paired.value, paired.low, paired.high)],
            }
            print(
                f"{name} ({len(contest.catalog):,} images), {recipe}: {means[recipe]:.2%}, "
                f"{100 * paired.value:+.1f} ({100 * paired.low:+.1f} to {100 * paired.high:+.1f})",
                flush=True,
            )
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    for recipe, places in ranks.items():
        print(f"mean rank {np.mean(places):.2f}: {recipe}   {places}")


if __name__ == "__main__":
    main()
