"""Averages of the weights of networks that share a start.

Two networks that were fine-tuned from one start lie in one basin of the loss, so that the points
between them are networks too, often better ones: w(alpha) = (1 - alpha) w_0 + alpha w_1. The mean
of k networks is built in k - 1 such steps, since

    mean_k = (1 - 1/k) mean_(k-1) + (1/k) w_k.

Everything is computed in fp32: half a unit of bf16's last place is one part in 500, of the order
of what a fine-tuning changes.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT) and "Model soups:
averaging weights of multiple fine-tuned models improves accuracy without increasing inference
time".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from shopsight.errors import SoupError
from shopsight.io.weights import read_weights

Weights = dict[str, Tensor]
RUNNING = (".running_mean", ".running_var")
"""Ends of the names of a BatchNorm's statistics."""


def interpolated(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> Weights:
    """(1 - alpha) start + alpha end, of each tensor, in fp32.

    At 0 and 1 the result is exactly that end. Counts (of the batches that a BatchNorm has seen)
    have no average, and are those of `end`.

    Args:
        start: the weights at alpha 0.
        end: the weights at alpha 1, of the same names and shapes.
        alpha: any number; beyond 0 to 1 it is an extrapolation.
    """
    return {name: _between(start[name], value, alpha) for name, value in end.items()}


def _between(start: Tensor, end: Tensor, alpha: float) -> Tensor:
    if not end.is_floating_point():
        return end.clone()
    # torch.lerp starts from the nearer end, which is what makes both ends exact.
    return torch.lerp(start.float(), end.float(), alpha)


def mean_of(weights: Iterable[Mapping[str, Tensor]]) -> Weights:
    """The mean of several weights, read one after the other.

    Args:
        weights: at least one, all of the same names and shapes.
    """
    mean: Weights = {}
    for count, one in enumerate(weights, start=1):
        mean = interpolated(mean or one, one, 1 / count)
    return mean


def read_finite(path: Path) -> Weights:
    """The weights in a file.

    Raises:
        SoupError: a tensor holds NaN or infinity.
        WeightsError: it is no file of weights.
    """
    weights = read_weights(path, unwrap=False)
    spoiled = [
        f"{name}: {int((~torch.isfinite(value)).sum()):,} of {value.numel():,} numbers"
        for name, value in weights.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if spoiled:
        raise SoupError(
            "the weights hold NaN or infinity, which would spoil every average",
            where=str(path),
            details=spoiled,
            fix="leave it out",
        )
    return weights


def differing_batchnorms(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    """Names of the BatchNorm layers whose statistics differ between two networks."""
    return {
        name.removesuffix(end)
        for name, value in one.items()
        for end in RUNNING
        if name.endswith(end) and not torch.equal(value, other[name])
    }
