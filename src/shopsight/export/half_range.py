"""Whether the numbers within a network fit into fp16, which ends at 65,504.

No engine at hand shows it: on a CPU, ONNX Runtime reads fp16 weights and computes in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shopsight.errors import ExportError
from shopsight.inference.engine import Images
from shopsight.inference.torch_engine import TorchEngine

LARGEST = float(np.finfo(np.float16).max)
MOST_IMAGES = 64
_BATCH = 16


def check_half_range(exact: TorchEngine, pixels: Images) -> float:
    """Refuse a network whose numbers leave the range of fp16.

    Args:
        exact: torch in fp32.
        pixels: prepared images; some of them are looked at.

    Returns:
        The largest number that passes between modules of the backbone.

    Raises:
        ExportError: it is larger than fp16 can hold.
    """
    with _largest_number(exact.model.backbone) as found:
        for start in range(0, min(len(pixels), MOST_IMAGES), _BATCH):
            exact.run(pixels[start : start + _BATCH])
    if not found[0] <= LARGEST:
        raise ExportError(
            f"numbers of up to {found[0]:,.0f} pass within the network, and fp16 ends at "
            f"{LARGEST:,.0f}; nothing is written",
            where="--precision fp16",
            fix="--precision fp32,bf16   (bf16 has the range of fp32)",
        )
    return found[0]


@contextmanager
def _largest_number(backbone: nn.Module) -> Iterator[list[float]]:
    """A list of one number, the largest so far, while the block lasts."""
    found = [0.0]

    def look(_module: nn.Module, given: Any, result: Any) -> None:
        for one in (*given, result):
            if isinstance(one, Tensor) and one.is_floating_point() and one.numel():
                largest = float(one.detach().abs().max())
                # NaN is kept: no comparison with it holds.
                found[0] = largest if not largest <= found[0] else found[0]

    handles = [module.register_forward_hook(look) for module in backbone.modules()]
    try:
        with torch.inference_mode():
            yield found
    finally:
        for handle in handles:
            handle.remove()
