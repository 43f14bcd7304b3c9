"""Multiply-adds (MACs) of each module, from torch's FLOP counter.

The counter sees the convolutions and matrix products that run, so attention counts alike whether it
is a module, an einsum or written by hand. Biases, normalization and activations are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode


@contextmanager
def macs_by_module(model: nn.Module) -> Iterator[dict[str, int]]:
    """Count the MACs of the modules of `model` that run in the context.

    Yields:
        By name, in the order of execution, the MACs of each module without the modules it calls.
    """
    names = {module: name for name, module in model.named_modules()}
    macs: dict[str, int] = {}
    running: list[str] = []
    counter = FlopCounterMode(display=False)

    def clock(sign: int) -> None:
        """Minus the count where the innermost module starts or resumes, plus where it stops."""
        if running:
            macs[running[-1]] += sign * counter.get_total_flops() // 2  # a MAC is two FLOPs

    def enter(module: nn.Module, _inputs: Any) -> None:
        clock(1)
        running.append(names[module])
        macs.setdefault(names[module], 0)
        clock(-1)

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        clock(1)
        running.pop()
        clock(-1)

    # The CPU's fused attention kernels have no FLOP formula: it runs as two matrix products.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    entered, left = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        with sdpa_kernel(SDPBackend.MATH), entered, left, counter:
            yield macs
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
