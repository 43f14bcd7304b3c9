"""Runs that share a start: a small net, then fine-tuned from it with three seeds on one split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from shopsight import api
from shopsight.datasets.synthetic import draw_catalog

HELD_OUT_CLASSES = ("shoe", "skirt", "trousers")
PARTS = ("train", "train", "train", "val", "test")


@dataclass(frozen=True)
class SoupRuns:
    """Where they are.

    Attributes:
        table: the images with their parts; whole classes are held out.
        base: the net that the others began with.
        fitted: runs of three seeds whose head was a probe first.
        random: a run whose head was random.
    """

    table: Path
    base: Path
    fitted: tuple[Path, ...]
    random: Path


def make_soup_runs(folder: Path) -> SoupRuns:
    """Render the images and train the runs."""
    photos = folder / "photos"
    table = split_table(photos, folder / "images.csv")
    base = train(table, folder / "base", epochs=4)
    start = f"local:{base}"
    fitted = tuple(
        train(
            table,
            folder / f"seed{seed}",
            "training.mode=probe-then-finetune",
            start=start,
            seed=seed,
        )
        for seed in range(3)
    )
    random = train(table, folder / "random", "training.mode=finetune", start=start)
    return SoupRuns(table, base, fitted, random)


def split_table(photos: Path, out: Path) -> Path:
    """Rendered images as a table: products go to the parts in turn, three classes are held out."""
    draw_catalog(photos, products_per_class=10)
    rows = sorted(photos.rglob("*.jpg"))
    labels = [path.parent.name for path in rows]
    products = [path.stem.rpartition("-")[0] for path in rows]
    numbers = [int(product.rpartition("-")[2]) for product in products]
    held = np.isin(labels, HELD_OUT_CLASSES)
    parts = [PARTS[number % len(PARTS)] for number in numbers]
    pl.DataFrame(
        {
            "image": [str(path) for path in rows],
            "label": labels,
            "product": products,
            "split": np.where(held, "test", parts).tolist(),
            "held_out": held,
        }
    ).write_csv(out)
    return out


def train(
    table: Path,
    out: Path,
    *settings: str,
    start: str | None = None,
    seed: int = 0,
    epochs: int = 1,
) -> Path:
    """Train a small net on the CPU; gives the run folder back."""
    own = ("training.batch_size=16", "training.precision=32", "optimizer.lr=0.003")
    pretrained = ("model.weights=pretrained",) * bool(start)
    api.train(
        table,
        out=out,
        recipe="fashion-mnist-cnn",
        backbone=start,
        epochs=epochs,
        seed=seed,
        settings=[*own, *pretrained, *settings],
        read=api.ReadOptions(group="product"),
    )
    return out
