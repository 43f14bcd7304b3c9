"""Weights of a training on disk: those of the network now, and those of its last epochs."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from shopsight.files import atomic_file, make_folder
from shopsight.held_files import remove_file
from shopsight.runs.run_folder import RunFolder


def write_weights(path: Path, network: nn.Module) -> None:
    """Write the present weights of a network.

    Args:
        path: of the file; its folder is made.
        network: on any device.
    """
    make_folder(path.parent)
    # Each tensor by itself: some networks (FasterViT) use one under two names.
    state = {
        key: value.clone(memory_format=torch.contiguous_format)
        for key, value in network.state_dict().items()
    }
    needed = sum(value.nbytes for value in state.values())
    with atomic_file(path, needed_bytes=needed) as part:
        save_file(state, part)


def remove_older_epochs(run: RunFolder, epoch: int, *, count: int) -> None:
    """Remove the weights of epochs that are too old to be kept.

    Args:
        run: the run.
        epoch: the last one, counted from 1.
        count: how many are kept.
    """
    kept = {run.epoch_weights_file(number) for number in range(epoch - count + 1, epoch + 1)}
    for file in run.kept_epoch_files:
        if file not in kept:
            remove_file(file)
