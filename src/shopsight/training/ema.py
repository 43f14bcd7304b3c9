"""Exponential moving average of the weights, kept beside the trained ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModelEma:
    """Average of a network's parameters and running statistics.

    The decay is lowered at the start, to (1 + step) / (10 + step), so that a short run is not
    left with its first weights.

    Source: Tan and Le 2019, "EfficientNet", as in TensorFlow's `num_updates`.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one optimizer step."""
        self.step += 1
        rate = 1.0 - min(self.decay, (1 + self.step) / (10 + self.step))
        for name, value in module.state_dict().items():
            average = self.average[name]
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), rate)
            else:
                average.copy_(value)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the averaged and the module's weights; a second call undoes it."""
        for name, value in module.state_dict().items():
            trained = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(trained)

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"step": self.step} | {f"average.{key}": v for key, v in self.average.items()}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        self.step = int(state["step"])
        for name, average in self.average.items():
            value = state[f"average.{name}"]
            assert isinstance(value, Tensor)
            average.copy_(value)
