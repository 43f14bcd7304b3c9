"""The number format that a machine trains in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

from shopsight.config.hardware_settings import HardwareSettings
from shopsight.devices import computes_bf16
from shopsight.errors import ConfigError, TrainingError, first_line
from shopsight.runtime import deterministic_cuda, fastest_cuda_convolutions, fp32_products

TrainingPrecision = Literal["32", "bf16", "16"]
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


def pick_precision(wanted: str, device: torch.device) -> TrainingPrecision:
    """The precision to train in.

    "auto" is bf16 where the device has instructions for it, else "16" on a CUDA device, else "32".
    bf16 has the range of fp32 and needs no loss scaling; fp16 does, which Lightning adds.

    Args:
        wanted: "auto", "32", "bf16" or "16".
        device: where training runs.

    Raises:
        ConfigError: fp16 somewhere else than on CUDA: the loss scaling is untested there.
    """
    if wanted == "16" and device.type != "cuda":
        raise ConfigError(
            f"fp16 is for CUDA, and training runs on {device.type}",
            where="training.precision",
            fix="--set training.precision=auto",
        )
    if wanted in ("32", "bf16", "16"):
        return wanted  # type: ignore[return-value]
    if computes_bf16(device):
        return "bf16"
    return "16" if device.type == "cuda" else "32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Have torch compute the block's matrix products and convolutions in `precision`."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


@contextmanager
def reproducible(settings: HardwareSettings, device: torch.device) -> Iterator[None]:
    """Have everything in the block computed by deterministic algorithms, where that is asked for.

    Args:
        settings: `deterministic` asks for it.
        device: where the block computes: elsewhere than on CUDA results are the same each time.

    Raises:
        TrainingError: an operation of the network has no such algorithm.
    """
    if not settings.deterministic or device.type != "cuda":
        yield
        return
    try:
        with deterministic_cuda():
            yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise TrainingError(
            f"the network has an operation that is not deterministic: {first_line(error)}",
            where="hardware.deterministic",
            fix="--set hardware.deterministic=false",
        ) from error


@contextmanager
def training_arithmetic(settings: HardwareSettings, device: torch.device) -> Iterator[None]:
    """Have torch compute the block's training steps as fast as the settings allow.

    Args:
        settings: `matmul_precision` and `deterministic` count.
        device: where the block computes: elsewhere than on CUDA nothing is changed.
    """
    if device.type != "cuda":
        yield
        return
    convolutions = nullcontext() if settings.deterministic else fastest_cuda_convolutions()
    rounding: Literal["ieee", "tf32"] = "tf32" if settings.matmul_precision == "high" else "ieee"
    with fp32_products(rounding, take_turns=False), convolutions:
        yield
