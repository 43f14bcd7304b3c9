"""The number format that a machine trains in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from shopsight.devices import computes_bf16

TrainingPrecision = Literal["32", "bf16", "16"]
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


def pick_precision(wanted: str, device: torch.device) -> TrainingPrecision:
    """The precision to train in.

    "auto" is bf16 where the device has instructions for it, else "16" on a CUDA device, else "32".
    bf16 has the range of fp32 and needs no loss scaling; fp16 does, which Lightning adds.

    Args:
        wanted: "auto", "32", "bf16" or "16".
        device: where training runs.
    """
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
