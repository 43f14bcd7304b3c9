"""Which number format a machine trains in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from shopsight.inference.torch_engine import computes_bf16

TrainingPrecision = Literal["32", "bf16", "16"]
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


def pick_precision(wanted: str, device: torch.device) -> TrainingPrecision:
    """`wanted`, or for "auto" bf16 where the machine multiplies in it, else 32."""
    if wanted in ("32", "bf16", "16"):
        return wanted  # type: ignore[return-value]
    if computes_bf16(device):
        return "bf16"
    return "16" if device.type == "cuda" else "32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Run the block in `precision`; "32" is a no-op."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])
