"""What a probe loses that is spared steps or images, on real photos.

    python bench/bench_probe.py clothing --root FOLDER --drop Skip --drop "Not sure"
    python bench/bench_probe.py FOLDER

The features of all images are computed once. For each seed the images are split anew, and the
probe is fitted by each plan: `STEPS` of them for a penalty on all training images, and `SAMPLES`
of the training images with that many steps for a penalty, and then for all. Differences are those
from the first plan on the same test images; in their intervals the results of one image
in all seeds vary together. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from shopsight.backbones.create import create_backbone
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split import split_catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.config.model_settings import ProbeSettings
from shopsight.datasets.open import open_catalog
from shopsight.head_settings import HeadSettings
from shopsight.inference.features import BATCH_IMAGES
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.estimates import Estimate, difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from shopsight.training.probe import Probe, fit_probe
from shopsight.training.probe_plan import ProbePlan

STEPS = (60, 20, 10, 6)
SAMPLES = (
    (0.17, 6, 6),
    (0.17, 10, 10),
    (0.17, 20, 10),
    (0.17, 10, 20),
    (0.17, 20, 20),
    (0.06, 20, 20),
    (0.06, 10, 20),
    (0.06, 20, 10),
    (0.5, 10, 0),
    (0.5, 20, 0),
)
"""Share of the images, steps for each penalty, and steps of all images."""


class Fitted(NamedTuple):
    """One probe on one split; the arrays have a place for each test image."""

    probe: Probe
    right: np.ndarray
    loss: np.ndarray
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--root")
    parser.add_argument("--drop", action="append", default=[])
    parser.add_argument("--skip-folder", action="append", default=[])
    parser.add_argument("--backbone", default="embedded:tf_efficientnet_lite0")
    parser.add_argument("--size-px", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--features", type=Path, help=".npy file that keeps the features")
    parser.add_argument("--results", type=Path, default=Path("bench/results/probe.jsonl"))
    given = parser.parse_args()
    drop, skip = tuple(given.drop), tuple(given.skip_folder)
    catalog = open_catalog(given.data, ReadOptions(root=given.root, drop=drop, skip_folder=skip))
    if catalog.has("split"):
        catalog = catalog.with_table(catalog.table.drop("split"))
    features = kept_features(catalog, given)
    splits = [rows_of_parts(catalog, seed) for seed in given.seeds]
    train = len(splits[0]["train"])
    about = {
        "data": Path(given.data).name,
        "backbone": given.backbone,
        "size_px": given.size_px,
        "seeds": given.seeds,
        "classes": len(catalog.labels),
        "train_images": train,
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    first: list[Fitted] = []
    images = np.concatenate([rows["test"] for rows in splits])
    for plan in plans(train):
        found = [fitted(catalog, features, rows, plan) for rows in splits]
        first = first or found
        row = about | asdict(plan) | summary(found, first, images)
        print(line(row), flush=True)
        with given.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def plans(train: int) -> list[ProbePlan]:
    """The first is the thorough one."""
    sampled = [ProbePlan(steps, int(share * train), last) for share, steps, last in SAMPLES]
    return [ProbePlan(steps) for steps in STEPS] + sampled


def kept_features(catalog: Catalog, given: argparse.Namespace) -> np.ndarray:
    """From the file `--features`, which is made where it is not there."""
    if given.features is not None and given.features.is_file():
        return np.load(given.features)
    features = features_of(catalog, given.backbone, given.size_px)
    if given.features is not None:
        np.save(given.features, features)
    return features


def features_of(catalog: Catalog, name: str, size_px: int) -> np.ndarray:
    """Of every image, by a frozen network."""
    backbone = create_backbone(name, size_px=size_px)
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=2)
    model = ProductModel(backbone.module, head, Preprocess(size_px=size_px)).eval()
    engine = TorchEngine(model, precision="32")
    source = open_cache(catalog, model.preprocess, settings=CacheSettings(mode="off"))
    batches = OrderedBatches(source, np.arange(len(catalog)), batch_size=BATCH_IMAGES)
    return np.concatenate([engine.run(batch.images.numpy())[0] for batch in batches])


def rows_of_parts(catalog: Catalog, seed: int) -> dict[str, np.ndarray]:
    split, _ = split_catalog(catalog, val=0.1, test=0.2, seed=seed, group="none")
    return {part: split.rows_of(part) for part in ("train", "val", "test")}


def fitted(
    catalog: Catalog, features: np.ndarray, rows: dict[str, np.ndarray], plan: ProbePlan
) -> Fitted:
    targets = catalog.targets(catalog.labels)
    began = time.process_time()
    with mock.patch("shopsight.training.probe.affordable_plan", return_value=plan):
        probe = fit_probe(
            features[rows["train"]],
            targets[rows["train"]],
            features[rows["val"]],
            targets[rows["val"]],
            num_classes=len(catalog.labels),
            settings=ProbeSettings(),
        )
    seconds = time.process_time() - began
    logits = torch.from_numpy(features[rows["test"]]) @ probe.weight.T + probe.bias
    wanted = torch.from_numpy(targets[rows["test"]])
    loss = functional.cross_entropy(logits, wanted, reduction="none")
    return Fitted(probe, (logits.argmax(1) == wanted).numpy(), loss.numpy(), seconds)


def summary(found: list[Fitted], first: list[Fitted], images: np.ndarray) -> dict[str, Any]:
    """Means over the seeds, and 95 % intervals over their test images."""
    right, loss = (np.concatenate([f[field] for f in found]).astype(float) for field in (1, 2))
    right0, loss0 = (np.concatenate([f[field] for f in first]).astype(float) for field in (1, 2))
    families = Families.by(images)
    return {
        "penalties": [f.probe.penalty for f in found],
        "val_loss": round(float(np.mean([f.probe.val_loss for f in found])), 5),
        "test_accuracy": ends(interval_of(Estimate.share(right), families)),
        "test_loss": ends(interval_of(Estimate.loss(loss, right > 0), families)),
        "accuracy_change": ends(
            difference_of(Estimate.share(right), Estimate.share(right0), families)
        ),
        "loss_change": ends(
            difference_of(
                Estimate.loss(loss, right > 0), Estimate.loss(loss0, right0 > 0), families
            )
        ),
        "cpu_seconds": round(sum(f.seconds for f in found) / len(found), 2),
    }


def ends(found: Interval) -> list[float]:
    """Mean, and its interval."""
    return [round(float(x), 5) for x in (found.value, found.low, found.high)]


def line(row: dict[str, Any]) -> str:
    sampled = "all images" if row["sample_rows"] is None else f"{row['sample_rows']:,} images"
    accuracy, loss = row["accuracy_change"], row["loss_change"]
    return (
        f"{row['iterations']:2} steps, {sampled}, then {row['last_iterations']}: "
        f"{row['cpu_seconds']:5.1f} s; val loss {row['val_loss']:.4f}; test accuracy "
        f"{row['test_accuracy'][0]:.2%}, change {accuracy[0]:+.2%} "
        f"({accuracy[1]:+.2%} to {accuracy[2]:+.2%}); test loss {row['test_loss'][0]:.4f}, change "
        f"{loss[0]:+.4f} ({loss[1]:+.4f} to {loss[2]:+.4f})"
    )


if __name__ == "__main__":
    main()
