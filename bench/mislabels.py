"""How soon planted wrong labels are found, by shopsight and by cleanlab.

    python bench/mislabels.py --clothing FOLDER --groceries FOLDER --work FOLDER

Of the labels of a probe of the embedded Lite0 backbone 5 % are replaced, heads are fitted to what
is then there, in five folds by contributor (clothing) or by image (groceries), and all labels are
ranked. Three kinds of mistakes: any other class; the class that is most like the own one; another
class by how often each is taken for it (both by the probabilities out of fold). Reported: the
fraction of the planted labels within the first 1, 2, 5, 10 and 20 % of the list (recall), and of
wrong ones among these (precision).

cleanlab's rankings are computed of the out-of-fold probabilities of the first look. Appends to
--results as JSON lines. Finished runs in --work are taken as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cleanlab.rank import get_label_quality_scores

from shopsight import api
from shopsight.metrics.label_quality import rank_fractions
from shopsight.mislabels.label_judge import LabelJudge, open_label_judge
from shopsight.mislabels.ranking import rank_labels
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder

NOISE = 0.05
DEPTHS = (0.01, 0.02, 0.05, 0.1, 0.2)
KINDS = ("any other", "most similar", "as confused")
CLEANLAB = {
    "cleanlab self_confidence": ("self_confidence", False),
    "cleanlab normalized_margin": ("normalized_margin", False),
    "cleanlab confidence_weighted_entropy": ("confidence_weighted_entropy", False),
    "cleanlab self_confidence adjusted": ("self_confidence", True),
    "cleanlab normalized_margin adjusted": ("normalized_margin", True),
}


def run_on(name: str, folder: str, out: Path) -> RunFolder:
    if not (out / "report.html").is_file():
        read = (
            ReadOptions(drop=("Skip", "Not sure"), on_missing_image="skip")
            if name == "clothing"
            else ReadOptions(skip_folder=("iconic-images-and-descriptions",))
        )
        api.train(
            folder,
            out=out,
            read=read,
            recipe="fast",
            settings=["framing.search=false", "evaluation.tta_hflip=false"],
            accept=[
                *("split-leak", "label-conflict", "lost-class", "near-duplicate"),
                *("exact-duplicate", "near-label-conflict"),
            ],
        )
    return RunFolder(out)


def planted(
    judge: LabelJudge, probabilities: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Labels with mistakes, and their rows."""
    count, classes = len(judge), len(judge.labels)
    mass = np.zeros((classes, classes))
    np.add.at(mass, judge.given, probabilities)
    np.fill_diagonal(mass, 0.0)
    rows = rng.choice(count, round(NOISE * count), replace=False)
    labels, own = judge.given.copy(), judge.given[rows]
    if kind == "any other":
        labels[rows] = (own + rng.integers(1, classes, len(rows))) % classes
    elif kind == "most similar":
        labels[rows] = mass.argmax(axis=1)[own]
    else:
        chances = mass / mass.sum(axis=1, keepdims=True)
        labels[rows] = [rng.choice(classes, p=chances[one]) for one in own]
    return labels, rows


def orders(judge: LabelJudge, labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each method's order of the images, the most suspicious first."""
    ranking = rank_labels(judge, labels)
    yield "shopsight", ranking.order
    scores = ranking.scores
    plain = sum(map(rank_fractions, (scores.self_confidence, scores.margin, scores.neighbors)))
    yield (
        "ranks of self-confidence, margin, neighbors, second look",
        np.argsort(plain, kind="stable"),
    )
    for name, (method, adjusted) in CLEANLAB.items():
        if adjusted and method == "confidence_weighted_entropy":
            continue
        quality = get_label_quality_scores(
            labels, ranking.probabilities, method=method, adjust_pred_probs=adjusted
        )
        yield name, np.argsort(quality, kind="stable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing")
    parser.add_argument("--groceries")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="10,11,12")
    parser.add_argument("--results", type=Path, default=Path("bench/results/mislabels.jsonl"))
    options = parser.parse_args()
    for name in ("clothing", "groceries"):
        folder = getattr(options, name)
        if folder is None:
            continue
        judge = open_label_judge(run_on(name, folder, options.work / name), device="cpu")
        given = rank_labels(judge, judge.given).probabilities
        for kind in KINDS:
            for seed in map(int, options.seeds.split(",")):
                labels, rows = planted(judge, given, kind, np.random.default_rng(seed))
                wrong = np.zeros(len(judge), bool)
                wrong[rows] = True
                began = time.perf_counter()
                for method, order in orders(judge, labels):
                    hits = {
                        str(depth): int(wrong[order[: round(depth * len(judge))]].sum())
                        for depth in DEPTHS
                    }
                    row = {
                        "data": name,
                        "kind": kind,
                        "seed": seed,
                        "method": method,
                        "images": len(judge),
                        "planted": len(rows),
                        "hits": hits,
                        "seconds": round(time.perf_counter() - began, 1),
                    }
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
        summary(options.results, name)


def summary(results: Path, name: str) -> None:
    """Recall at each depth, the mean over seeds, as a table."""
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    for kind in KINDS:
        some = [row for row in rows if row["data"] == name and row["kind"] == kind]
        for method in dict.fromkeys(row["method"] for row in some):
            own = [row for row in some if row["method"] == method]
            recall = [
                np.mean([row["hits"][str(depth)] / row["planted"] for row in own])
                for depth in DEPTHS
            ]
            print(name, "|", kind, "|", method, "|", " ".join(f"{one:.3f}" for one in recall))


if __name__ == "__main__":
    main()
