"""The Lion optimizer: the sign of an average of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

LION_BETAS = (0.9, 0.99)


class Lion(Optimizer):
    """Steps by the sign of an average of gradients.

    With gradient g, average m and decoupled weight decay d, a step of rate r is

        w <- w - r (sign(b1 m + (1 - b1) g) + d w)
        m <- b2 m + (1 - b2) g

    Every weight moves by r, so that r is a third to a tenth of what Adam takes, and d is as much
    larger. One average is kept, where Adam has two.

    Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms".

    Args:
        params: parameters, or groups of them, as for any optimizer of torch.
        lr: the rate r.
        betas: b1 and b2.
        weight_decay: d.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        betas: tuple[float, float] = LION_BETAS,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; returns what `closure` does, which computes the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [one for one in group["params"] if one.grad is not None]
            if moved:
                self._move(moved, group)
        return loss

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        averages = [self._average(weight) for weight in weights]
        first, second = group["betas"]
        steps = torch._foreach_lerp(averages, gradients, 1.0 - first)
        torch._foreach_sign_(steps)
        torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, steps, alpha=-group["lr"])
        torch._foreach_lerp_(averages, gradients, 1.0 - second)

    def _average(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        average: Tensor = state["average"]
        return average
