"""A plain training script, the peer of `shopsight train` at equal wall time.

    python bench/plain_script.py --data FOLDER --test FOLDER --seconds 300

What a good engineer writes in an afternoon with torch, torchvision and timm, without any of
shopsight but its embedded weights: RandomResizedCrop from .35 of the image, flip, AdamW with
one-cycle, bf16 autocast where the CPU has it, a head that begins at random, the middle 87.5 % at
test time. The learning rate is the best of three on a tenth of the training images, each tried for
a tenth of the time; then as many epochs as fit in what is left. FOLDER has a folder per class at
any depth, named by its path. Prints a line of JSON with the accuracy and its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from shopsight.backbones.create import create_backbone
from shopsight.metrics.intervals import wilson

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
RATES = (3e-4, 1e-3, 3e-3)
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """Image files with their labels."""

    def __init__(
        self, items: list[tuple[Path, int]], transform: Callable[[Image.Image], torch.Tensor]
    ) -> None:
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        path, label = self.items[row]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), label


def listed(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path)
    return found


def network(backbone: str, classes: int) -> nn.Module:
    made = create_backbone(backbone, weights="pretrained")
    return nn.Sequential(made.module, nn.Linear(made.embedding_dim, classes))


def batches(photos: Photos, batch: int, *, shuffle: bool) -> DataLoader[tuple[torch.Tensor, int]]:
    return DataLoader(photos, batch, shuffle=shuffle, num_workers=2, drop_last=shuffle)


def train_for(
    model: nn.Module, loader: DataLoader[tuple[torch.Tensor, int]], rate: float, steps: int
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    model.train()
    done = 0
    while done < steps:
        for images, labels in loader:
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
            if done == steps:
                return


@torch.inference_mode()
def answered_rightly(model: nn.Module, photos: Photos) -> list[bool]:
    model.eval()
    found: list[bool] = []
    for images, labels in batches(photos, 64, shuffle=False):
        with torch.autocast("cpu", torch.bfloat16):
            found += (model(images).argmax(1) == labels).tolist()
    return found


def seconds_a_step(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, int]]) -> float:
    began = time.perf_counter()
    train_for(model, loader, 1e-5, 4)
    return (time.perf_counter() - began) / 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--backbone", default="embedded:tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answers", type=Path, help="a line of JSON for each test image")
    options = parser.parse_args()
    began = time.perf_counter()
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    normalized = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    train_like = transforms.Compose(
        [
            transforms.RandomResizedCrop(options.size, scale=(0.35, 1.0)),
            transforms.RandomHorizontalFlip(),
            *normalized,
        ]
    )
    test_like = transforms.Compose(
        [
            transforms.Resize(round(options.size / 0.875)),
            transforms.CenterCrop(options.size),
            *normalized,
        ]
    )
    folders = listed(options.data)
    classes = {name: at for at, name in enumerate(folders)}
    items = [(path, classes[name]) for name, paths in folders.items() for path in paths]
    order = rng.permutation(len(items))
    held = [items[row] for row in order[: len(items) // 10]]
    kept = [items[row] for row in order[len(items) // 10 :]]
    loader = batches(Photos(kept, train_like), options.batch, shuffle=True)
    step = seconds_a_step(network(options.backbone, len(classes)), loader)
    tried = max(4, int(options.seconds / 10 / step))
    scores = {}
    for rate in RATES:
        torch.manual_seed(options.seed)
        model = network(options.backbone, len(classes))
        train_for(model, loader, rate, tried)
        scores[rate] = sum(answered_rightly(model, Photos(held, test_like)))
    rate = max(scores, key=lambda one: scores[one])
    torch.manual_seed(options.seed)
    model = network(options.backbone, len(classes))
    everything = batches(Photos(items, train_like), options.batch, shuffle=True)
    left = options.seconds - (time.perf_counter() - began)
    steps = max(4, math.floor(left / step))
    train_for(model, everything, rate, steps)
    seconds = time.perf_counter() - began
    others = [
        (path, classes[name])
        for name, paths in listed(options.test).items()
        if name in classes
        for path in paths
    ]
    is_right = answered_rightly(model, Photos(others, test_like))
    right, count = sum(is_right), len(is_right)
    if options.answers:
        with options.answers.open("w", encoding="utf-8") as file:
            for (path, _), one in zip(others, is_right, strict=True):
                file.write(json.dumps({"image": str(path), "correct": one}) + "\n")
    low, high = wilson(np.array([right]), np.array([count]))
    print(
        json.dumps(
            {
                "what": "plain script",
                "backbone": options.backbone,
                "seed": options.seed,
                "seconds": round(seconds),
                "rate": rate,
                "epochs": round(steps * options.batch / len(items), 2),
                "accuracy": right / count,
                "low": float(low[0]),
                "high": float(high[0]),
                "images": count,
            }
        )
    )


if __name__ == "__main__":
    main()
