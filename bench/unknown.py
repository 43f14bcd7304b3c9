"""What the answer "unknown" is worth: promised against reached, and every score against strangers.

    python bench/unknown.py --clothing FOLDER --groceries FOLDER --work FOLDER

Clothing by contributor. A fifth of the contributors is put aside: their photos come "later". Of the
rest a probe is trained (recipe `fast`, whole image), four times, each time without four other
classes. Of each: how well every score tells later photos from those of the four classes and from
photos of groceries, and which one `calibrate` chose, knowing none of these; coverage and accuracy
as `calibrate` promises them (measured on its test part) against those of the later photos; and how
often sets of labels hold the right one, asked against reached. Appends to --results as JSON lines,
and prints tables. Finished runs in --work are taken as they are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from catalogs import and_those_later, clothing

import shopsight
from shopsight import api
from shopsight.bundle.unknown_info import SCORES
from shopsight.catalog.catalog import Catalog
from shopsight.commands.calibrate_images import images_of_run
from shopsight.datasets.open import open_catalog
from shopsight.inference.predictor import Predictor
from shopsight.metrics.conformal import prediction_sets
from shopsight.metrics.selective import area_under_curve, threshold_for_coverage
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder
from shopsight.training.run_network import RunNetwork
from shopsight.training.unknown_scores import EmbeddedImages, fit_scores

DRAWS = 4
AWAY = 4
COVERAGES = (0.95, 0.8)
ACCURACIES = (0.85, 0.9, 0.95)
LEVELS = (0.8, 0.9, 0.95)


def of_labels(catalog: Catalog, labels: list[str]) -> Catalog:
    return catalog.take(np.flatnonzero(catalog.table["label"].is_in(labels).to_numpy()))


def trained(catalog: Catalog, away: list[str], out: Path) -> Path:
    if not (out / "report.html").is_file():
        kept = catalog.take(np.flatnonzero(~catalog.table["label"].is_in(away).to_numpy()))
        api.train(
            kept,
            out=out,
            recipe="fast",
            settings=["framing.search=false", "data.val=0.2", "data.test=0.2"],
            accept=("group-leak", "imbalance", "rare-class"),
            exclude=api.FIXABLE_KINDS,
        )
    return out


def embedded(predictor: Predictor, catalog: Catalog) -> EmbeddedImages:
    """What the model says of each image; -1 where its class is none of the model's."""
    pieces = [outputs for _, outputs in predictor.image_batches(catalog, on_error="raise")]
    number = {label: at for at, label in enumerate(predictor.labels)}
    targets = np.array([number.get(label, -1) for label in catalog.table["label"]], np.int64)
    return EmbeddedImages(
        np.concatenate([one for one, _ in pieces]),
        np.concatenate([one for _, one in pieces]),
        targets,
    )


def strangers_of(
    run: Path, predictor: Predictor, later: EmbeddedImages, others: dict[str, EmbeddedImages]
) -> list[dict[str, Any]]:
    """Every score against real strangers, beside what `calibrate` could know of it."""
    parts = images_of_run(RunNetwork.of(RunFolder(run), "cpu"))
    fitted = fit_scores(
        parts.train, parts.val, temperature=predictor.info.temperature, seed=parts.how.seed
    )
    judged = {one.score: one for one in api.calibrate(run).report.judged}
    chosen = next(iter(judged))
    rows = []
    for score in SCORES:
        part = fitted[score]
        val = part.scores(parts.val.embeddings, parts.val.logits)
        known = part.scores(later.embeddings, later.logits)
        for name, images in others.items():
            strange = part.scores(images.embeddings, images.logits)
            accepted = {
                str(coverage): float((strange >= threshold_for_coverage(val, coverage)).mean())
                for coverage in COVERAGES
            }
            rows.append(
                {
                    "kind": "strangers",
                    "score": score,
                    "chosen": score == chosen,
                    "strangers": name,
                    "images": len(images),
                    "judged": judged[score].strangers,
                    "area": area_under_curve(known, strange),
                    "right": area_under_curve(known[later.right], strange),
                    "accepted": accepted,
                }
            )
    return rows


def promises_of(run: Path, later: EmbeddedImages) -> list[dict[str, Any]]:
    """What is promised, and what becomes of it on later photos."""
    wishes: list[dict[str, float]] = [{"coverage": one} for one in COVERAGES]
    wishes += [{"accuracy": one} for one in ACCURACIES]
    rows = []
    for wish in wishes:
        coverage, accuracy = wish.get("coverage"), wish.get("accuracy")
        part = api.calibrate(run, coverage=coverage, accuracy=accuracy).report.part
        answered = part.scores(later.embeddings, later.logits) >= part.info.threshold
        rows.append(
            {
                "kind": "promise",
                "wish": wish,
                "score": part.info.score,
                "promised": [
                    None if one is None else one.model_dump()
                    for one in (part.info.coverage, part.info.accuracy)
                ],
                "reached": [float(answered.mean()), float(later.right[answered].mean())],
                "images": len(later),
            }
        )
    return rows


def sets_of(run: Path, predictor: Predictor, later: EmbeddedImages) -> list[dict[str, Any]]:
    rows = []
    for level in LEVELS:
        found = api.calibrate(run, sets=level).report.part.info.sets
        assert found is not None
        sets = prediction_sets(
            predictor.readout.probabilities(later.logits), found.least_probability
        )
        rows.append(
            {
                "kind": "sets",
                "level": level,
                "test": found.reached and found.reached.model_dump(),
                "later": float(sets[np.arange(len(later)), later.targets].mean()),
                "size": float(sets.sum(axis=1).mean()),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing", required=True)
    parser.add_argument("--groceries", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--results", type=Path, default=Path("bench/results/unknown.jsonl"))
    options = parser.parse_args()
    catalog, later_photos = and_those_later(clothing(options.clothing))
    store = open_catalog(
        options.groceries, ReadOptions(skip_folder=("iconic-images-and-descriptions", "train"))
    )
    classes = np.random.default_rng(0).permutation(list(catalog.labels)).tolist()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for draw in range(options.draws):
        away = sorted(classes[draw * AWAY : (draw + 1) * AWAY])
        run = trained(catalog, away, options.work / f"draw{draw}")
        predictor = shopsight.load(run, device="cpu", engine="torch")
        later = embedded(predictor, of_labels(later_photos, list(predictor.labels)))
        others = {
            "classes taken away": embedded(predictor, of_labels(later_photos, away)),
            "groceries": embedded(predictor, store),
        }
        rows = strangers_of(run, predictor, later, others)
        rows += promises_of(run, later) + sets_of(run, predictor, later)
        for row in rows:
            row |= {"draw": draw, "away": away}
        found += rows
        with options.results.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"draw {draw}: without {', '.join(away)}", flush=True)
    tables(found)


def tables(rows: list[dict[str, Any]]) -> None:
    """Means over the draws."""

    def mean(some: list[dict[str, Any]], key: Any) -> float:
        return float(np.mean([key(one) for one in some]))

    strangers = [row for row in rows if row["kind"] == "strangers"]
    for name in dict.fromkeys(row["strangers"] for row in strangers):
        for score in SCORES:
            own = [r for r in strangers if (r["strangers"], r["score"]) == (name, score)]
            accepted = " ".join(
                f"{mean(own, lambda one, c=c: one['accepted'][str(c)]):.3f}" for c in COVERAGES
            )
            print(
                f"{name} | {score} | judged {mean(own, lambda one: one['judged']):.3f} | area "
                f"{mean(own, lambda one: one['area']):.3f} | right answers "
                f"{mean(own, lambda one: one['right']):.3f} | accepted {accepted} | chosen "
                f"{sum(one['chosen'] for one in own)} of {len(own)}"
            )
    promises = [row for row in rows if row["kind"] == "promise"]
    for wish in dict.fromkeys(json.dumps(row["wish"]) for row in promises):
        own = [row for row in promises if json.dumps(row["wish"]) == wish]
        promised = [mean(own, lambda one, at=at: one["promised"][at]["value"]) for at in (0, 1)]
        reached = [mean(own, lambda one, at=at: one["reached"][at]) for at in (0, 1)]
        inside = sum(
            one["promised"][1]["low"] is not None
            and one["promised"][1]["low"] <= one["reached"][1] <= one["promised"][1]["high"]
            for one in own
        )
        print(
            f"{wish} | promised {promised[0]:.3f} {promised[1]:.3f} | reached {reached[0]:.3f} "
            f"{reached[1]:.3f} | within the interval {inside} of {len(own)}"
        )
    sets = pl.DataFrame([row for row in rows if row["kind"] == "sets"], strict=False)
    print(sets.group_by("level", maintain_order=True).agg(pl.col("later", "size").mean()))


if __name__ == "__main__":
    main()
