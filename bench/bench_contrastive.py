"""A contrastive step in parts against the step on the whole batch: time, memory, gradient.

    python bench/bench_contrastive.py [--model ViT-S-32-alt] [--images 32 64 128 1024] [--part 32]

The peer is the plain step, whose graph holds all images of the batch. Each measurement is a process
of its own, so that its peak is its own; random weights cost what trained ones cost. The largest
batch runs in parts only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from torch.nn import functional

from shopsight.training.cached_gradients import Vectors, cached_backward
from shopsight.training.contrastive_loss import Meaning, contrastive_gradients

SIZE_PX = 224


def step(model: Any, images: torch.Tensor, ids: torch.Tensor, part: int) -> list[torch.Tensor]:
    """One step's gradients, by `shopsight.training.cached_gradients`."""
    meaning = Meaning(torch.arange(len(images)), torch.arange(len(images)))

    def encode(number: int) -> Vectors:
        rows = slice(number * part, (number + 1) * part)
        pixels = images[rows].float().div(255)
        return model.encode_image(pixels, normalize=True), model.encode_text(
            ids[rows], normalize=True
        )

    def gradients_of(vectors: Vectors) -> tuple[Vectors, torch.Tensor]:
        found = contrastive_gradients(
            vectors[0], vectors[1], meaning, model.logit_scale, torch.zeros(()), kind="softmax"
        )
        return (found.images, found.texts), found.log_scale * model.logit_scale

    parts = -(-len(images) // part)
    cached_backward(encode, parts, gradients_of, lambda loss, _: loss.backward(),
                    device=images.device)  # fmt: skip
    return [one.grad for one in model.parameters() if one.grad is not None]


def plain_step(model: Any, images: torch.Tensor, ids: torch.Tensor) -> list[torch.Tensor]:
    """One step's gradients through one graph."""
    x = model.encode_image(images.float().div(255), normalize=True)
    t = model.encode_text(ids, normalize=True)
    logits = model.logit_scale.exp() * x @ t.T
    own = torch.arange(len(images))
    loss = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)
    (loss / 2).backward()
    return [one.grad for one in model.parameters() if one.grad is not None]


def measure(name: str, images: int, part: int | None) -> dict[str, float]:
    """Seconds and peak memory of one step, after a step on two images."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model(name).train()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (images, 3, SIZE_PX, SIZE_PX), dtype=torch.uint8,
                           generator=generator)  # fmt: skip
    ids = torch.randint(1, 40_000, (images, model.context_length), generator=generator)
    plain_step(model, pixels[:2], ids[:2])
    model.zero_grad()
    before = _peak()
    start = time.perf_counter()
    found = plain_step(model, pixels, ids) if part is None else step(model, pixels, ids, part)
    seconds = time.perf_counter() - start
    norm = float(torch.cat([one.flatten() for one in found]).norm())
    return {"seconds": seconds, "peak_mb": _peak(), "before_mb": before, "norm": norm}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-S-32-alt")
    parser.add_argument("--images", type=int, nargs="+", default=[32, 64, 128, 1024])
    parser.add_argument("--part", type=int, default=32)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        images, part = (int(word) for word in args.one.split(","))
        print(json.dumps(measure(args.model, images, part or None)))
        return
    print(f"{args.model}, {SIZE_PX} px, fp32, {torch.get_num_threads()} threads")
    for images in args.images:
        largest = images == max(args.images) and len(args.images) > 1
        for part in (args.part,) if largest else (None, args.part):
            words = [sys.executable, __file__, "--model", args.model, "--one",
                     f"{images},{part or 0}"]  # fmt: skip
            done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8",
                                  check=True)  # fmt: skip
            found = json.loads(done.stdout.splitlines()[-1])
            way = "whole" if part is None else f"in parts of {part}"
            print(
                f"{images:5d} images, {way:15s} {found['seconds']:7.1f} s, peak "
                f"{found['peak_mb']:7.0f} MB ({found['before_mb']:.0f} before), "
                f"norm of the gradient {found['norm']:.6f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
