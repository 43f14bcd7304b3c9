"""How fast an engine runs a network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from shopsight.inference.engine import Engine
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.product_model import ProductModel
from shopsight.profiling.profile import Profile, Speed, profile_model
from shopsight.runtime import retain_freed_memory

# Per batch size: as many runs as fit into the seconds, within these limits.
MIN_RUNS, MAX_RUNS, SECONDS_PER_BATCH_SIZE = 3, 50, 2.0


def measure_speeds(engine: Engine, *, size_px: int, batches: Sequence[int]) -> tuple[Speed, ...]:
    """Time an engine from uint8 images to logits.

    Takes the median of at least `MIN_RUNS` runs of each batch size. The first run, which allocates
    memory and chooses kernels, does not count.

    Args:
        engine: what computes.
        size_px: side of the images.
        batches: batch sizes.

    Returns:
        One measurement per batch size, in their order.
    """
    speeds = []
    for batch in batches:
        images = np.zeros((batch, size_px, size_px, 3), dtype=np.uint8)

        def run(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = images) -> None:
            engine.run(images)

        with retain_freed_memory():
            times_s = _times_s(run)
        latency_s = statistics.median(times_s)
        speeds.append(Speed(batch, 1000 * latency_s, batch / latency_s, len(times_s)))
    return tuple(speeds)


def profile_and_time(
    model: ProductModel,
    *,
    name: str,
    num_classes: int,
    batches: Sequence[int] = (1, 32),
    device: str = "auto",
    precision: Literal["auto", "32", "bf16"] = "auto",
) -> Profile:
    """Determine the cost of a network, and its speed in the engine that `predict` uses.

    The engine changes the network's layout and precision: do not use the network afterwards.

    Args:
        model: the network.
        name: of the network, for `Profile.backbone`.
        num_classes: outputs of its head.
        batches: batch sizes to time; empty times nothing.
        device: its name, see `shopsight.devices`.
        precision: "auto" is bf16 where the machine multiplies in it.

    Raises:
        ConfigError: no such device.
    """
    profile = profile_model(model, name=name, num_classes=num_classes)
    if not batches:
        return profile
    engine = TorchEngine(model, device=device, precision=precision)
    speeds = measure_speeds(engine, size_px=profile.size_px, batches=batches)
    return profile.timed(speeds, measured_on=_device_text(engine))


def _device_text(engine: TorchEngine) -> str:
    """What measured, e.g. `"torch on the CPU, fp32, 1 thread"`."""
    device = {"cpu": "the CPU", "cuda": "the GPU"}.get(engine.device.type, engine.device.type)
    precision = "fp32" if engine.precision == "32" else engine.precision
    text = f"torch on {device}, {precision}"
    if engine.device.type != "cpu":
        return text
    threads = torch.get_num_threads()
    return f"{text}, {threads} thread{'s' * (threads != 1)}"


def _times_s(run: Callable[[], None]) -> list[float]:
    run()
    times_s: list[float] = []
    while len(times_s) < MIN_RUNS or (
        len(times_s) < MAX_RUNS and sum(times_s) < SECONDS_PER_BATCH_SIZE
    ):
        started = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - started)
    return times_s
