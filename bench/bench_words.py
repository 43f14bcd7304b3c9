"""Words without a text encoder of the images: classes of clothing, and groceries never named.

    python bench/bench_words.py --clothing FOLDER --groceries FOLDER [--synonyms FILE]
        [--models embedded:tf_efficientnet_lite0 embedded:tf_efficientnet_lite2] [--resize crop]
        [--sentences FOLDER]

Each task by the word table of `wordllama`, and with --sentences also by a sentence encoder.

Clothing: 18 labels by ImageNet's names alone, by the labels' names or by a file of classes
(`shopsight zero-shot --classes`). Groceries: 21 of 81 kinds in five seeded draws; the other 60 give
pairs of their names and photos, and those 21 none. Accuracy in percent with 95 % intervals, of
clothing by contributor; of groceries the mean and the range of the draws.

Titles: the 81 titles (and descriptions) of a shop are searched among all 2,936 photos, each while
its own product and 19 others give no pair (four seeded folds): recall@k is whether its product is
among the first k of 81, a product being as near as its nearest photo.

Images are taken from the mean of all that are classified (clothing) or that give pairs (groceries).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sentence_encoder import SentenceEncoder

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.linked_rows import linked_rows
from shopsight.datasets.open import open_catalog
from shopsight.inference.embedder import Embedder
from shopsight.inference.open_embedder import open_embedder
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.read_options import ReadOptions
from shopsight.unit_vectors import unit_vectors
from shopsight.words.class_lists import ClassWords, classes_of_labels, read_classes
from shopsight.words.pairs import (
    ImageSpread,
    TextVectors,
    WordPairs,
    centered_cosines,
    class_texts,
)
from shopsight.words.word_table import open_word_table

NUM_UNSEEN, DRAWS, FOLDS = 21, 5, 4
AT = (1, 10)


@dataclass(frozen=True, eq=False)
class Groceries:
    """Photos of products, and what a shop says of each."""

    catalog: Catalog
    kinds: dict[str, str]
    titles: dict[str, str]
    descriptions: dict[str, str]

    @property
    def labels(self) -> np.ndarray:
        return self.catalog.table["label"].to_numpy()


def read_groceries(root: Path) -> Groceries:
    photos = ReadOptions(skip_folder=("iconic-images-and-descriptions",))
    catalog = open_catalog(str(root), photos)
    table = pl.read_csv(root / "classes.csv")
    kinds, titles, descriptions = {}, {}, {}
    for row in table.iter_rows(named=True):
        name = row["Class Name (str)"]
        kinds[name] = row["Coarse Class Name (str)"]
        file = root / row["Product Description Path (str)"].removeprefix("/")
        descriptions[name] = file.read_text(encoding="utf-8").strip()
        (information,) = file.parent.glob("*[-_]Information.txt")
        title = information.read_text(encoding="utf-8-sig").partition("\n")[0]
        titles[name] = title.removeprefix("Title:").strip()
    return Groceries(catalog, kinds, titles, descriptions)


def texts_of(classes: Sequence[ClassWords], table: TextVectors) -> np.ndarray:
    names = [",".join(phrase.replace(",", "") for phrase in one.phrases()) for one in classes]
    return class_texts(names, table)


def answers(
    directions: np.ndarray, names: Sequence[str], images: np.ndarray, center: np.ndarray
) -> np.ndarray:
    return np.array(names)[centered_cosines(directions, images, center).argmax(axis=0)]


def percent(score: Interval) -> str:
    return f"{100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})"


def clothing(
    catalog: Catalog,
    images: np.ndarray,
    pairs: WordPairs,
    classes: Sequence[ClassWords],
    table: TextVectors,
) -> str:
    labels, names = catalog.table["label"].to_numpy(), [one.name for one in classes]
    directions = pairs.directions_of(texts_of(classes, table))
    hits = answers(directions, names, images, images.mean(axis=0)) == labels
    found = interval_of(Estimate.share(hits), linked_rows(len(catalog), [catalog.table["group"]]))
    balanced = np.mean([hits[labels == name].mean() for name in np.unique(labels)])
    return f"{percent(found)}, mean of classes {100 * balanced:.1f}"


def joined(
    pairs: WordPairs,
    known: Sequence[str],
    texts: np.ndarray,
    labels: np.ndarray,
    images: np.ndarray,
) -> tuple[WordPairs, np.ndarray]:
    """The pairs with those of known products, and the center of these products' photos."""
    spread = ImageSpread.of(images[np.isin(labels, known)])
    means = np.stack([images[labels == name].mean(axis=0) for name in known])
    own = WordPairs(texts, unit_vectors(spread.discriminants(means)))
    return pairs.joined(own), spread.center


def unseen(shop: Groceries, images: np.ndarray, pairs: WordPairs, table: TextVectors) -> str:
    """Accuracy among products that no pair names."""
    labels, names = shop.labels, sorted(set(shop.labels))
    classes = [ClassWords(name, (), shop.kinds[name]) for name in names]
    texts, found = texts_of(classes, table), []
    for seed in range(DRAWS):
        chosen = np.random.default_rng(seed).choice(names, NUM_UNSEEN, replace=False)
        is_new = np.isin(names, chosen)
        known = [name for name in names if name not in chosen]
        own, center = joined(pairs, known, texts[~is_new], labels, images)
        asked = np.isin(labels, chosen)
        directions = own.directions_of(texts[is_new])
        given = answers(directions, np.array(names)[is_new].tolist(), images[asked], center)
        found.append(100 * float((given == labels[asked]).mean()))
    return f"{np.mean(found):.1f}, draws {min(found):.1f} to {max(found):.1f}"


def titles(
    shop: Groceries,
    words: dict[str, str],
    images: np.ndarray,
    pairs: WordPairs,
    table: TextVectors,
) -> str:
    """Recall of the product of a title that no pair names, among all products."""
    labels, names = shop.labels, np.array(sorted(set(shop.labels)))
    texts = table.embed([words[name] for name in names])
    fold_of = np.random.default_rng(0).permutation(len(names)) % FOLDS
    photos = [np.flatnonzero(labels == name) for name in names]
    rank_of = np.zeros(len(names), np.int64)
    for fold in range(FOLDS):
        is_new = fold_of == fold
        own, center = joined(pairs, names[~is_new].tolist(), texts[~is_new], labels, images)
        scores = centered_cosines(own.directions_of(texts[is_new]), images, center)
        nearest = np.stack([scores[:, rows].max(axis=1) for rows in photos], axis=1)
        right = nearest[np.arange(int(is_new.sum())), np.flatnonzero(is_new)]
        rank_of[is_new] = 1 + (nearest > right[:, None]).sum(axis=1)
    alone = Families.alone(len(names))
    scores_at = {k: interval_of(Estimate.share(rank_of <= k), alone) for k in AT}
    return ", ".join(f"@{k} {percent(score)}" for k, score in scores_at.items())


def rows_of(
    embedder: Embedder,
    tables: dict[str, TextVectors],
    clothes: Catalog,
    shop: Groceries,
    synonyms: Path | None,
) -> list[dict[str, str]]:
    known = embedder.class_directions()
    assert known is not None
    worn, eaten = (
        np.stack([one.vector for one in embedder.embed(catalog, on_error="raise")])
        for catalog in (clothes, shop.catalog)
    )
    found = []
    for name, table in tables.items():
        pairs = WordPairs.of_classes(known.names, known.directions, table)
        row = {"texts": name}
        by_name = classes_of_labels(clothes.labels)
        row["clothing, names"] = clothing(clothes, worn, pairs, by_name, table)
        if synonyms is not None:
            said = read_classes(synonyms)
            row["clothing, synonyms"] = clothing(clothes, worn, pairs, said, table)
        row["groceries, unseen"] = unseen(shop, eaten, pairs, table)
        row["groceries, titles"] = titles(shop, shop.titles, eaten, pairs, table)
        row["groceries, descriptions"] = titles(shop, shop.descriptions, eaten, pairs, table)
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing", required=True)
    parser.add_argument("--groceries", type=Path, required=True)
    parser.add_argument("--synonyms", type=Path)
    parser.add_argument("--sentences", type=Path, help="folder of a sentence encoder")
    parser.add_argument("--models", nargs="+", default=["embedded:tf_efficientnet_lite0"])
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--results", type=Path, default=Path("bench/results/words.jsonl"))
    options = parser.parse_args()
    clothes = open_catalog(options.clothing, ReadOptions(drop=("Not sure", "Skip")))
    clothes = clothes.take(np.flatnonzero([Path(ref).is_file() for ref in clothes.refs()]))
    shop = read_groceries(options.groceries)
    tables: dict[str, TextVectors] = {"wordllama": open_word_table()}
    if options.sentences is not None:
        tables[options.sentences.name] = SentenceEncoder(options.sentences)
    for model in options.models:
        embedder = open_embedder(model, resize=options.resize)
        for row in rows_of(embedder, tables, clothes, shop, options.synonyms):
            said = {"model": model, "resize": options.resize or "own", **row}
            print(json.dumps(said, indent=1), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
