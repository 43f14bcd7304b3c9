"""A text encoder trained here, on groceries never named in training, against words without one.

    python bench/text_without_hub.py --groceries FOLDER [--model embedded:tf_efficientnet_lite2]
        [--resize crop] [--steps 400] [--seeds 3]

The image encoder stays as it is; a linear layer behind it and a new text encoder
(`shopsight.backbones.new_text_tower`) are trained by the contrastive loss on photos of 60 kinds and
on what a shop says of them: the name, its kind, the title, the description. The other 21 kinds are
not named, and their photos not seen; then their photos choose among their 21 names. The same five
draws and sentences as in `bench/bench_words.py`, whose method is the peer.

With --imagenet, the 1,000 names and classifier rows of the backbone are pairs too, as they are for
the peer: a row stands for the images of its class.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bench_words import DRAWS, NUM_UNSEEN, Groceries, joined, read_groceries, texts_of
from torch import nn
from torch.nn import functional

from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.backbones.text_tower import TextTower
from shopsight.inference.open_embedder import open_embedder
from shopsight.new_text_settings import NewTextSettings
from shopsight.training.captions import caption_numbers
from shopsight.training.contrastive_loss import Meaning, contrastive_gradients
from shopsight.unit_vectors import unit_vectors
from shopsight.words.class_lists import ClassWords
from shopsight.words.pairs import WordPairs, centered_cosines
from shopsight.words.word_table import open_word_table

WIDTH, BATCH, RATE = 256, 128, 1e-3


class Two(nn.Module):
    """A linear layer on image embeddings, and a new text encoder."""

    def __init__(self, dim: int, settings: NewTextSettings) -> None:
        super().__init__()
        self.image = nn.Linear(dim, WIDTH, bias=False)
        self.tower: TextTower = new_text_tower(settings, embedding_dim=WIDTH, name="new")
        self.text = self.tower.module.train()
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def images(self, vectors: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.image(vectors), dim=1)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        return functional.normalize(self.text(torch.from_numpy(self.tower.tokenize(texts))), dim=1)


def trained(
    images: np.ndarray,
    labels: np.ndarray,
    said: Sequence[Sequence[str]],
    *,
    settings: NewTextSettings,
    steps: int,
    seed: int,
    dropout: float,
    batch: int = BATCH,
    rate: float = RATE,
    alone: bool = False,
) -> Two:
    """Train on images and what is said of each label.

    Args:
        images: centered embeddings.
        labels: a number for each image.
        said: texts of each label.
        settings: of the text encoder.
        steps: of the optimizer.
        seed: of weights, order and sentences.
        dropout: of the embeddings' numbers.
        batch: images of a step.
        rate: the largest learning rate.
        alone: whether an image belongs to its own caption only.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Two(images.shape[1], settings)
    # Vectors of the table stay: words that no caption has must still lie near those that are known.
    model.text.token_embedding.requires_grad_(settings.tokens == "clip")
    learned = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=max(0.1, 2 / steps)
    )
    vectors = torch.from_numpy(images)
    # Each label as often: a shop has one name for few photos and for many.
    rows_of = [np.flatnonzero(labels == label) for label in range(len(said))]
    for _ in range(steps):
        chosen = rng.integers(len(said), size=batch)
        rows = np.array([rng.choice(rows_of[label]) for label in chosen])
        texts = [str(rng.choice(said[label])) for label in chosen]
        x = model.images(functional.dropout(vectors[rows], dropout))
        t = model.texts(texts)
        own = torch.arange(batch)
        meaning = (
            Meaning(own, own)
            if alone
            else Meaning(torch.from_numpy(chosen), caption_numbers(texts))
        )
        found = contrastive_gradients(
            x, t, meaning, model.log_scale, torch.zeros(()), kind="softmax"
        )
        optimizer.zero_grad()
        pulled = (x * found.images).sum() + (t * found.texts).sum()
        (pulled + found.log_scale * model.log_scale).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def said_of(shop: Groceries, name: str) -> list[str]:
    plain = name.replace("-", " ").lower()
    kind = shop.kinds[name].replace("-", " ").lower()
    sentences = [one.strip() for one in shop.descriptions[name].split(".") if one.strip()]
    return [plain, f"{plain}, {kind}", f"a photo of {plain}", shop.titles[name], *sentences]


def draw(
    shop: Groceries, images: np.ndarray, known: tuple[tuple[str, ...], np.ndarray] | None,
    *, seed: int, settings: NewTextSettings, steps: int, dropout: float, repeats: int,
) -> list[float]:  # fmt: skip
    """Accuracy among kinds that training did not name, of some seeds."""
    names = sorted(set(shop.labels))
    unseen = np.random.default_rng(seed).choice(names, NUM_UNSEEN, replace=False)
    seen = [name for name in names if name not in unseen]
    rows = np.isin(shop.labels, seen)
    center = images[rows].mean(axis=0)
    vectors = unit_vectors(images - center)
    number = {name: i for i, name in enumerate(seen)}
    labels = np.array([number[name] for name in shop.labels[rows]])
    said = [said_of(shop, name) for name in seen]
    given = vectors[rows]
    if known is not None:
        directions = unit_vectors(known[1] - known[1].mean(axis=0))
        given = np.concatenate([given, directions])
        labels = np.concatenate([labels, len(seen) + np.arange(len(directions))])
        said += [[word.strip() for word in one.split(",")] for one in known[0]]
    asked = np.isin(shop.labels, unseen)
    order = sorted(unseen)
    texts = [f"{one.replace('-', ' ').lower()}, {shop.kinds[one].replace('-', ' ').lower()}"
             for one in order]  # fmt: skip
    found = []
    for repeat in range(repeats):
        model = trained(given.astype(np.float32), labels, said, settings=settings, steps=steps,
                        seed=repeat, dropout=dropout)  # fmt: skip
        with torch.inference_mode():
            scores = model.images(torch.from_numpy(vectors[asked])) @ model.texts(texts).T
        best = np.array(order)[scores.argmax(dim=1).numpy()]
        found.append(100 * float((best == shop.labels[asked]).mean()))
    return found


def peer(
    shop: Groceries, images: np.ndarray, known: tuple[tuple[str, ...], np.ndarray]
) -> list[float]:
    """`shopsight.words.pairs` on the same draws."""
    table = open_word_table()
    names = sorted(set(shop.labels))
    texts = texts_of([ClassWords(name, (), shop.kinds[name]) for name in names], table)
    pairs = WordPairs.of_classes(known[0], known[1], table)
    found = []
    for seed in range(DRAWS):
        unseen = np.random.default_rng(seed).choice(names, NUM_UNSEEN, replace=False)
        is_new = np.isin(names, unseen)
        seen = [name for name in names if name not in unseen]
        own, center = joined(pairs, seen, texts[~is_new], shop.labels, images)
        asked = np.isin(shop.labels, unseen)
        scores = centered_cosines(own.directions_of(texts[is_new]), images[asked], center)
        best = np.array(names)[is_new][scores.argmax(axis=0)]
        found.append(100 * float((best == shop.labels[asked]).mean()))
    return found


def line(found: Sequence[float]) -> str:
    return f"{np.mean(found):.1f}, draws {min(found):.1f} to {max(found):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groceries", type=Path, required=True)
    parser.add_argument("--model", default="embedded:tf_efficientnet_lite2")
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", nargs="+", default=["clip", "words"])
    parser.add_argument("--dropout", type=float, default=0.3)
    options = parser.parse_args()
    shop = read_groceries(options.groceries)
    embedder = open_embedder(options.model, resize=options.resize)
    images = np.stack([one.vector for one in embedder.embed(shop.catalog, on_error="raise")])
    classes = embedder.class_directions()
    assert classes is not None
    known = (classes.names, classes.directions)
    by_words = peer(shop, images, known)
    print(json.dumps({"way": "words without a text encoder", "accuracy": line(by_words)}))
    for tokens in options.tokens:
        settings = NewTextSettings.model_validate(
            {"tokens": tokens, "layers": options.layers, "context_length": 12}
        )
        for name, pairs in (("", None), (" and ImageNet's names", known)):
            found = [
                draw(shop, images, pairs, seed=seed, settings=settings, steps=options.steps,
                     dropout=options.dropout, repeats=options.seeds)
                for seed in range(DRAWS)
            ]  # fmt: skip
            means = [float(np.mean(one)) for one in found]
            gain = [mean - other for mean, other in zip(means, by_words, strict=True)]
            way = f"text encoder, tokens of {tokens}, captions{name}"
            said = {"way": way, "accuracy": line(means), "against words": line(gain)}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
