"""What follows when a batch does not fit in memory."""

from __future__ import annotations

import gc

import torch

from shopsight import progress
from shopsight.config.recipe import Recipe
from shopsight.devices import empty_cache
from shopsight.errors import TrainingError
from shopsight.text import counted


class OutOfMemoryElsewhereError(MemoryError):
    """A training process ran out of memory."""


def halve_batch_size(recipe: Recipe, why: BaseException) -> Recipe:
    """The recipe with half the batch and twice the accumulation: the same optimizer steps.

    Batches of packs stay whole packs, of two classes at least.

    Raises:
        TrainingError: a batch of one image, or of two packs, does not fit.
    """
    settings = recipe.training
    batch_size = settings.resolved_batch_size
    packs = settings.sampling == "pxk"
    each, least = (settings.images_per_class, 2) if packs else (1, 1)
    if batch_size <= least * each:
        raise TrainingError(
            f"not even a batch of two classes with {counted(each, 'image')} fits in memory"
            if packs
            else "not even a batch of one image fits in memory",
            fix="a smaller --set preprocess.size_px=... or another --backbone",
        ) from why
    smaller = max(least, batch_size // 2 // each) * each
    progress.notify(f"out of memory at batch {batch_size}: continuing with {smaller}")
    changed = {"batch_size": smaller}
    if settings.mode != "contrastive":
        # Its steps are `contrastive.batch_size` images in any case.
        changed["grad_accumulation"] = -(-settings.grad_accumulation * batch_size // smaller)
    return recipe.replace(training=changed)


def free_memory(device: torch.device) -> None:
    """Free what a failed training has left: objects in cycles, and memory that torch keeps."""
    gc.collect()
    empty_cache(device)
