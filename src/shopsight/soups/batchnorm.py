"""The statistics of BatchNorm layers, measured again for averaged weights.

A BatchNorm layer normalizes by the mean and variance that its inputs had during training. Inputs
of averaged weights have others: the mean of the statistics is not the statistics of the mean, since
a variance is no linear function of the weights. So they are measured on training images, with the
network otherwise as it predicts: without dropout, on images as they are.

While they are measured, each layer normalizes by its batch, so that the layers behind it see what
they will see. The batches are pooled exactly: of n_a numbers with mean m_a and sum of squared
deviations S_a, and n_b others,

    m = m_a + d n_b / n,    S = S_a + S_b + d^2 n_a n_b / n,    d = m_b - m_a,  n = n_a + n_b.

Layers whose statistics no training changed (`training.frozen_batchnorm`, frozen stages) are
constants of all the networks, and stay what they are.

Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization";
Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm"; Chan et al. 1979, "Updating formulae and a
pairwise algorithm for computing sample variances".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shopsight.devices import copy_to_device
from shopsight.models.product_model import ProductModel

IMAGES = 2048
"""Training images that statistics are measured on, at most."""
BATCH_IMAGES = 64


class PooledMoments:
    """Mean and variance of each channel over all batches so far, pooled in fp64."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, values: Float[Tensor, "b c *places"]) -> None:
        """Take in a batch."""
        others = [axis for axis in range(values.ndim) if axis != 1]
        variance, mean = torch.var_mean(values.detach().float(), others, correction=0)
        count = values.numel() // values.shape[1]
        mean, squares = mean.cpu().double(), count * variance.cpu().double()
        if not self._count:
            self._count, self._mean, self._squares = count, mean, squares
            return
        total, step = self._count + count, mean - self._mean
        self._squares += squares + step.square() * (self._count * count / total)
        self._mean = self._mean + step * (count / total)
        self._count = total

    def write_to(self, layer: _BatchNorm) -> None:
        """Make them a layer's statistics; the variance is unbiased, as torch keeps it."""
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(self._mean)
        layer.running_var.copy_(self._squares / max(self._count - 1, 1))


@torch.no_grad()
def reestimate_batchnorm(
    model: ProductModel, layers: Collection[str], batches: Iterable[UInt8[Tensor, "b s s 3"]]
) -> None:
    """Measure the statistics of some BatchNorm layers of a network.

    Args:
        model: the network, on the device that computes; left in eval mode.
        layers: names of the layers.
        batches: prepared images, of two at least.
    """
    model.eval()
    chosen = {name: layer for name, layer in model.named_modules() if name in layers}
    moments = {name: PooledMoments() for name in chosen}
    device = next(model.parameters()).device
    momentum = {}
    with ExitStack() as hooks:
        for name, layer in chosen.items():
            assert isinstance(layer, _BatchNorm)
            hooks.enter_context(layer.register_forward_pre_hook(_seen_by(moments[name])))
            # By the batch, and without an average of torch's own. Not `train()`: a layer may hold
            # others, such as its activation.
            momentum[name], layer.momentum = layer.momentum, 0.0
            layer.training = True
        for images in batches:
            model(copy_to_device(images, device))
    for name, layer in chosen.items():
        assert isinstance(layer, _BatchNorm)
        layer.momentum, layer.training = momentum[name], False
        moments[name].write_to(layer)


def _seen_by(moments: PooledMoments) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def see(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0])

    return see


def sampled_batches(rows: Int64[np.ndarray, "n"], *, seed: int) -> list[Int64[np.ndarray, "_"]]:
    """Rows of seeded training images, in batches of about equal size and no single image.

    Args:
        rows: of the training images.
        seed: another one samples others.
    """
    sample = np.random.default_rng(seed).permutation(rows)[:IMAGES]
    return np.array_split(sample, max(1, len(sample) // BATCH_IMAGES))
