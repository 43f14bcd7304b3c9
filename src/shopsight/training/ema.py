"""Exponential moving average of the weights, kept beside the trained ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModelEma:
    """Average of a network's parameters and running statistics over the optimizer's steps.

    After step t the average is

        average_t = d_t * average_(t-1) + (1 - d_t) * weights_t,   d_t = min(decay, (1+t) / (10+t))

    With a constant decay, the weights before the first step would still count decay^t: at 0.999
    and 500 steps, 61 %. With the second term they count

        prod_(s=1..t) (1+s) / (10+s) = 10! (t+1)! / (t+10)!  <  10! / t^9,

    less than a millionth after 30 steps, and the average reaches back about t / 9 steps, until
    `decay` takes over at t = (10 decay - 1) / (1 - decay) and fixes it at 1 / (1 - decay) steps.

    Source: Tan and Le 2019, "EfficientNet", with TensorFlow's `ExponentialMovingAverage`
    and its `num_updates`.

    Attributes:
        decay: largest weight of the old average in one step, 0 < decay < 1.
        step: optimizer steps taken in so far.
        average: the averages, by the names of the network's state dict.
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
                # A count of batches has no average.
                average.copy_(value)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the averaged and the module's weights; a second call undoes it."""
        for name, value in module.state_dict().items():
            trained = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(trained)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Step and averages, for a checkpoint."""
        return {"step": self.step} | {f"average.{key}": v for key, v in self.average.items()}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Take back what `state_dict` gave."""
        self.step = int(state["step"])
        for name, average in self.average.items():
            value = state[f"average.{name}"]
            assert isinstance(value, Tensor)
            average.copy_(value)
