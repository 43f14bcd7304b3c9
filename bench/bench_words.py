"""Classes by words without a text encoder: clothing's labels, and groceries never named.

    python bench/bench_words.py --clothing FOLDER --groceries FOLDER [--synonyms FILE]
        [--models embedded:tf_efficientnet_lite0 embedded:tf_efficientnet_lite2] [--resize crop]

Clothing: 18 labels by ImageNet's names alone, by the labels' names or by a file of classes
(`shopsight zero-shot --classes`). Groceries: 21 of 81 kinds in five seeded draws; the other 60 give
pairs of their names and photos, and those 21 none. Accuracy in percent with 95 % intervals, of
clothing by contributor; of groceries the mean and the range of the draws. Images are taken from the
mean of all that are classified (clothing) or of the 60 known kinds (groceries).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.linked_rows import linked_rows
from shopsight.datasets.open import open_catalog
from shopsight.inference.open_embedder import open_embedder
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.read_options import ReadOptions
from shopsight.words.class_lists import ClassWords, classes_of_labels, read_classes
from shopsight.words.pairs import WordPairs, centered_cosines, class_texts
from shopsight.words.word_table import open_word_table

NUM_UNSEEN, DRAWS = 21, 5


def texts_of(classes: Sequence[ClassWords]) -> np.ndarray:
    names = [",".join(phrase.replace(",", "") for phrase in one.phrases()) for one in classes]
    return class_texts(names, open_word_table())


def answers(
    pairs: WordPairs, classes: Sequence[ClassWords], images: np.ndarray, center: np.ndarray
) -> np.ndarray:
    scores = centered_cosines(pairs.directions_of(texts_of(classes)), images, center)
    return np.array([one.name for one in classes])[scores.argmax(axis=0)]


def clothing(
    catalog: Catalog, images: np.ndarray, pairs: WordPairs, classes: Sequence[ClassWords]
) -> str:
    labels = catalog.table["label"].to_numpy()
    hits = answers(pairs, classes, images, images.mean(axis=0)) == labels
    found = interval_of(Estimate.share(hits), linked_rows(len(catalog), [catalog.table["group"]]))
    balanced = np.mean([hits[labels == name].mean() for name in np.unique(labels)])
    ends = f"{100 * found.low:.1f} to {100 * found.high:.1f}"
    return f"{100 * found.value:.1f} ({ends}), mean of classes {100 * balanced:.1f}"


def groceries(catalog: Catalog, images: np.ndarray, pairs: WordPairs, kinds: dict[str, str]) -> str:
    labels = catalog.table["label"].to_numpy()
    names, found = sorted(set(labels)), []
    for seed in range(DRAWS):
        unseen = sorted(np.random.default_rng(seed).choice(names, NUM_UNSEEN, replace=False))
        known = [name for name in names if name not in unseen]
        center = images[np.isin(labels, known)].mean(axis=0)
        means = np.stack([images[labels == name].mean(axis=0) for name in known])
        own = WordPairs.of_images(known, means, center, open_word_table())
        own = WordPairs(
            texts_of([ClassWords(name, (), kinds[name]) for name in known]), own.directions
        )
        classes = [ClassWords(name, (), kinds[name]) for name in unseen]
        asked = np.isin(labels, unseen)
        given = answers(pairs.joined(own), classes, images[asked], center)
        found.append(100 * float((given == labels[asked]).mean()))
    return f"{np.mean(found):.1f}, draws {min(found):.1f} to {max(found):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing", required=True)
    parser.add_argument("--groceries", required=True)
    parser.add_argument("--synonyms", type=Path)
    parser.add_argument("--models", nargs="+", default=["embedded:tf_efficientnet_lite0"])
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--results", type=Path, default=Path("bench/results/words.jsonl"))
    options = parser.parse_args()
    clothes = open_catalog(options.clothing, ReadOptions(drop=("Not sure", "Skip")))
    clothes = clothes.take(np.flatnonzero([Path(ref).is_file() for ref in clothes.refs()]))
    food = open_catalog(
        options.groceries, ReadOptions(skip_folder=("iconic-images-and-descriptions",))
    )
    table = pl.read_csv(Path(options.groceries) / "classes.csv")
    kinds = dict(table.select("Class Name (str)", "Coarse Class Name (str)").iter_rows())
    for model in options.models:
        embedder = open_embedder(model, resize=options.resize)
        known = embedder.class_directions()
        pairs = WordPairs.of_classes(known.names, known.directions, open_word_table())
        worn, eaten = (
            np.stack([one.vector for one in embedder.embed(catalog, on_error="raise")])
            for catalog in (clothes, food)
        )
        row = {"model": model, "resize": options.resize or "own"}
        row["clothing, names"] = clothing(clothes, worn, pairs, classes_of_labels(clothes.labels))
        if options.synonyms is not None:
            classes = read_classes(options.synonyms)
            row["clothing, synonyms"] = clothing(clothes, worn, pairs, classes)
        row["groceries, unseen"] = groceries(food, eaten, pairs, kinds)
        print(json.dumps(row, indent=1), flush=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
