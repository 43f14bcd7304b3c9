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

    All tensors are averaged in one call: on a GPU a call for each of some hundred costs more than
    the arithmetic. The averages lie where the network does, and in its memory layout, which that
    call needs to be one kernel: see `follow`.

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
    def follow(self, module: nn.Module) -> None:
        """Move the averages to the module's device and memory layout, where they differ."""
        for name, value in module.state_dict().items():
            average = self.average[name]
            if average.device != value.device or average.stride() != value.stride():
                self.average[name] = torch.empty_like(value).copy_(average)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one optimizer step."""
        self.step += 1
        rate = 1.0 - min(self.decay, (1 + self.step) / (10 + self.step))
        averages, values = self._pairs(module)
        floats = [number for number, value in enumerate(values) if value.is_floating_point()]
        # torch.optim.swa_utils averages with this function, too.
        torch._foreach_lerp_(
            [averages[number] for number in floats], [values[number] for number in floats], rate
        )
        for average, value in zip(averages, values, strict=True):
            if not value.is_floating_point():
                # A count of batches has no average.
                average.copy_(value)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the averaged and the module's weights; a second call undoes it."""
        averages, values = self._pairs(module)
        trained = [value.clone() for value in values]
        torch._foreach_copy_(values, averages)
        torch._foreach_copy_(averages, trained)

    def _pairs(self, module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """The averages and the module's tensors, in the same order, on its device."""
        values = module.state_dict()
        first = next(iter(values))
        if self.average[first].device != values[first].device:
            self.follow(module)
        return [self.average[name] for name in values], list(values.values())

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
