"""ArcFace of many classes: our head and loss against pytorch-metric-learning's, in one run.

    python bench/bench_arcface.py

Both compute the loss of one batch of embeddings and its gradients, in fp32; both have the same
classes' directions, scale and margin, and must agree. Memory is what torch's CPU allocator had at
once beside weights and embeddings.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from shopsight.config.loss_settings import MetricSettings
from shopsight.config.training_settings import TrainingSettings
from shopsight.models.heads import CosineHead
from shopsight.training.margins import MarginObjective

SCALE, MARGIN = 30.0, 0.3


def ours(head: CosineHead, labels: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    settings, metric = TrainingSettings(loss="arcface"), MetricSettings(margin=MARGIN)
    objective = MarginObjective(settings, metric, head, None)

    def loss(embedding: Tensor) -> Tensor:
        # The dense target is part of a step of ours, and so of what is timed.
        target = functional.one_hot(labels, classes).float()
        value: Tensor = objective(embedding, head(embedding), target)
        return value

    return loss


def theirs(head: CosineHead, labels: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    peer = ArcFaceLoss(classes, head.weight.shape[1], margin=math.degrees(MARGIN), scale=SCALE)
    with torch.no_grad():
        peer.W.copy_(head.weight.t())

    def loss(embedding: Tensor) -> Tensor:
        value: Tensor = peer(embedding, labels)
        return value

    return loss


def most_bytes(step: Callable[[], object]) -> int:
    """The largest sum of what was allocated and not yet freed, while the step runs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    now = most = 0
    for event in found.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def step(loss: Callable[[Tensor], Tensor], embedding: Tensor) -> Tensor:
    value = loss(embedding.detach().requires_grad_())
    value.backward()
    return value.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.manual_seed(0)
    for batch in (32, 256):
        head = CosineHead(args.width, args.classes, scale=SCALE, learned_scale=False)
        labels = torch.randint(args.classes, (batch,))
        embedding = torch.randn(batch, args.width)
        print(f"batch {batch}, {args.classes:,} classes, {args.width} numbers")
        losses = {
            "ours": ours(head, labels, args.classes),
            "pytorch-metric-learning": theirs(head, labels, args.classes),
        }
        values = [step(loss, embedding) for loss in losses.values()]
        torch.testing.assert_close(*values, rtol=1e-3, atol=1e-3)
        times: dict[str, list[float]] = {name: [] for name in losses}
        for _ in range(args.rounds):
            # In turns: what else the machine does disturbs both alike.
            for name, loss in losses.items():
                began = time.process_time()
                step(loss, embedding)
                times[name].append(time.process_time() - began)
        for name, loss in losses.items():
            peak_mb = most_bytes(partial(step, loss, embedding)) / 1e6
            milliseconds = median(times[name]) * 1000
            print(f"{name:28} {milliseconds:8.1f} ms {peak_mb:8.1f} MB")


if __name__ == "__main__":
    main()
