"""Numbers of all processes of a training, by way of its Lightning module."""

from __future__ import annotations

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn


def world_size(module: LightningModule) -> int:
    """Number of training processes; 1 before there is a trainer."""
    return module._trainer.world_size if module._trainer is not None else 1


def sum_over_ranks(module: LightningModule, totals: Tensor) -> Tensor:
    """The sum of what all processes have."""
    if world_size(module) == 1:
        return totals
    gathered = module.all_gather(totals)
    assert isinstance(gathered, Tensor)
    return gathered.reshape(-1, *totals.shape).sum(0)


def is_so_anywhere(module: LightningModule, flag: bool) -> bool:
    """Whether it is so in any of the processes, whose clocks and history may differ."""
    if world_size(module) == 1:
        return flag
    flags = module.all_gather(torch.tensor(flag, dtype=torch.uint8, device=module.device))
    assert isinstance(flags, Tensor)
    return bool(flags.any())


def rows_of_all_ranks(module: LightningModule, own: Tensor, count: int) -> Tensor:
    """The rows of all processes, which have consecutive parts of them."""
    world = world_size(module)
    if world == 1:
        return own
    sizes = [len(part) for part in np.array_split(np.arange(count), world)]
    padded = nn.functional.pad(own, (0, 0, 0, max(sizes) - len(own)))
    gathered = module.all_gather(padded)
    assert isinstance(gathered, Tensor)
    return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])


def stack_over_ranks(module: LightningModule, tensor: Tensor) -> Tensor:
    """The tensors of all processes as one, a row each."""
    if world_size(module) == 1:
        # Not by way of the device: MPS has no float64.
        return tensor[None].cpu()
    gathered = module.all_gather(tensor.to(module.device))
    assert isinstance(gathered, Tensor)
    return gathered.reshape(-1, *tensor.shape).cpu()
