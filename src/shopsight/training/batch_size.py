"""The batch size of a machine, and the learning rate that goes with it."""

from __future__ import annotations

import math

import torch

from shopsight import progress
from shopsight.config.optimizer_settings import OptimizerSettings
from shopsight.config.recipe import Recipe

AUTO_BATCH = 32
# A GPU is kept waiting by the calls that start its work, whose number does not depend on the batch.
MOST_AUTO_BATCH_CUDA = 128
# Larger batches leave fewer steps. Below this, training ends before the weights have settled.
LEAST_STEPS_PER_EPOCH = 64


def resolve_batch_size(
    recipe: Recipe, device: torch.device, *, images: int, devices: int = 1
) -> Recipe:
    """Replace `training.batch_size = "auto"` by a number, and scale the learning rate to a step.

    A step takes `batch_size * grad_accumulation` images on each device. Of these factors, the rate
    follows the number of devices, and a batch size that was "auto". A batch size that is a number
    and an accumulation stay as they are, with the rate that was chosen for them.

    Args:
        recipe: settings, possibly with "auto" for the batch size.
        device: where training runs.
        images: of the catalog.
        devices: their number, on all nodes together.

    Returns:
        The recipe with both, and with `optimizer.lr_scaling` used up: "none".
    """
    batch_size = usual = recipe.training.batch_size
    if batch_size == "auto":
        batch_size, usual = auto_batch_size(device, images=images // devices), AUTO_BATCH
    assert isinstance(usual, int)
    # A contrastive step takes `contrastive.batch_size` images, on however many devices.
    grown = 1.0 if recipe.training.mode == "contrastive" else devices * batch_size / usual
    lr = scaled_lr(recipe.optimizer, grown)
    if lr != recipe.optimizer.lr:
        on = f" on each of {devices} devices" if devices > 1 else ""
        progress.notify(
            f"batches of {batch_size} images{on}: optimizer.lr = {lr:g}, "
            f"as {recipe.optimizer.lr:g} is for {usual}"
        )
    return recipe.replace(
        training={"batch_size": batch_size}, optimizer={"lr": lr, "lr_scaling": "none"}
    )


def auto_batch_size(device: torch.device, *, images: int) -> int:
    """Images per step on the device; on CUDA a power of 2 by the number of images.

    Args:
        device: where training runs.
        images: of the catalog, for each device.
    """
    if device.type != "cuda":
        return AUTO_BATCH
    batch_size = MOST_AUTO_BATCH_CUDA
    while batch_size > AUTO_BATCH and images < batch_size * LEAST_STEPS_PER_EPOCH:
        batch_size //= 2
    return batch_size


def scaled_lr(settings: OptimizerSettings, factor: float) -> float:
    """The learning rate for steps of `factor` times as many images as `lr` is for.

    The gradient of a batch of B images has a variance proportional to 1 / B. With k times the
    batch an epoch has a k-th of the steps. SGD moves by lr g: k times the rate covers the same
    distance in them. Adam divides g by the root of its mean square, which falls as 1 / sqrt(B)
    where noise prevails, so that each step is already sqrt(k) times as long along the mean
    gradient: sqrt(k) times the rate makes up for the rest.

    Args:
        settings: the rate, the optimizer, and the rule.
        factor: k.

    Source: linear: Goyal et al. 2017, "Accurate, Large Minibatch SGD"; the root: Malladi et al.
        2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms".
    """
    rule = settings.lr_scaling
    if rule == "auto":
        rule = "linear" if settings.name == "sgd" else "sqrt"
    if rule == "none":
        return settings.lr
    return settings.lr * (factor if rule == "linear" else math.sqrt(factor))
