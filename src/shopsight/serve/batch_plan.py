"""How a machine is used best: images in a batch, and batches computed beside each other.

On a CPU a batch is no faster than its images one by one, and on several cores several streams are
faster than one that all cores work on; on a GPU it is the other way round. So it is measured, in a
few seconds at the start. Nothing ever waits for a batch to fill: what is there is taken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import Thread

import numpy as np

from shopsight.inference.engine import AsyncEngine, Engine
from shopsight.prefetch import core_count
from shopsight.runtime import torch_threads

BATCHES, DEVICE_BATCHES = (1, 4, 8, 16), (32, 64, 128)
TRIAL_SECONDS, MOST_SECONDS = 0.25, 8.0
LONGEST_BATCH_SECONDS = 0.5
WORTH = 1.05
"""A larger batch, or another number of streams, must be so much faster."""


@dataclass(frozen=True)
class BatchPlan:
    """How images are computed.

    Attributes:
        batch_size: images in a batch, at most.
        streams: batches that are computed beside each other.
        images_per_second: of the engine alone, as measured.
    """

    batch_size: int
    streams: int
    images_per_second: float

    def threads(self) -> AbstractContextManager[None]:
        """A block in which torch, where it is the engine, shares the cores among the streams."""
        if "torch" not in sys.modules:
            return nullcontext()
        return torch_threads(max(1, core_count() // self.streams))

    def line(self) -> str:
        """For the user."""
        return (
            f"batches of up to {self.batch_size}, {self.streams} at a time: "
            f"{self.images_per_second:,.0f} images/s of the network alone"
        )


def measured_plan(engine: Engine, size_px: int) -> BatchPlan:
    """Try batches and streams on this machine, and take what gives most images a second.

    Args:
        engine: computes.
        size_px: side of its input.
    """
    images = np.random.default_rng(0).integers(0, 256, (max(DEVICE_BATCHES), size_px, size_px, 3))
    images = images.astype(np.uint8)
    deadline = time.perf_counter() + MOST_SECONDS
    best: BatchPlan | None = None
    for plan in _candidates(engine):
        if best is not None and time.perf_counter() > deadline:
            break
        with plan.threads():
            speed = _speed(engine, images[: plan.batch_size], plan.streams)
        if best is None or speed > WORTH * best.images_per_second:
            best = replace(plan, images_per_second=speed)
    assert best is not None
    return best


def _candidates(engine: Engine) -> Iterator[BatchPlan]:
    takes_many = isinstance(engine, AsyncEngine) and engine.batch_size is not None
    streams = (1,) if takes_many or core_count() == 1 else (core_count(), 1)
    for batch_size in (*BATCHES, *(DEVICE_BATCHES * takes_many)):
        for count in streams:
            yield BatchPlan(batch_size, count, 0.0)


def _speed(engine: Engine, images: np.ndarray, streams: int) -> float:
    """Images a second by so many threads; 0 of a batch that takes longer than it should."""
    started = time.perf_counter()
    engine.run(images)
    if len(images) > 1 and time.perf_counter() - started > LONGEST_BATCH_SECONDS:
        return 0.0
    counts = [0] * streams
    started = time.perf_counter()
    ends = started + TRIAL_SECONDS

    def work(stream: int) -> None:
        while time.perf_counter() < ends or not counts[stream]:
            engine.run(images)
            counts[stream] += len(images)

    threads = [Thread(target=work, args=(stream,)) for stream in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)
