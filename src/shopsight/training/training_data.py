"""What a fine-tuning reads: rows, targets, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shopsight.config.recipe import Recipe
from shopsight.loading.cache import PixelSource
from shopsight.loading.class_sampling import Sampler
from shopsight.loading.loader import Batch, OrderedBatches, TrainingBatches
from shopsight.loading.offline_augment import Samples
from shopsight.preprocess import PadColor
from shopsight.targets import Targets, dense_rows
from shopsight.training.retrieval_score import RetrievalSet


@dataclass(frozen=True)
class ProcessPart:
    """Which part of the batches a training process gets.

    Attributes:
        rank: number of the process.
        world: number of processes.
        pin_memory: whether its images are copied to its device from page-locked memory.
    """

    rank: int
    world: int
    pin_memory: bool


@dataclass(frozen=True)
class TrainingData:
    """What a fine-tuning reads.

    Attributes:
        source: square images of every catalog row.
        train_rows: rows of the catalog to train on.
        val_rows: rows of the catalog to validate on, possibly none.
        targets: of every catalog row.
        num_classes: number of classes.
        class_weights: of the loss, or None.
        extra: offline-augmented samples added to the training rows, or None.
        fill: color of the area that an affine transform uncovers.
        sampling: see `TrainingBatches`.
        retrieval: images that ask for each other after each epoch, or None.
    """

    source: PixelSource
    train_rows: Int64[np.ndarray, "n"]
    val_rows: Int64[np.ndarray, "m"]
    targets: Targets
    num_classes: int
    class_weights: Float[Tensor, " classes"] | None
    extra: Samples | None
    fill: PadColor
    sampling: Callable[[Int64[np.ndarray, "n"]], Sampler] | None = None
    retrieval: RetrievalSet | None = None

    def training_batches(
        self, recipe: Recipe, part: ProcessPart, *, size_px: int | Callable[[int], int]
    ) -> TrainingBatches:
        """A process's part of the training batches.

        Args:
            recipe: resolved.
            part: which.
            size_px: side of the images, for all epochs or as a function of the epoch.
        """
        return TrainingBatches(
            self.source,
            self.train_rows,
            augment=recipe.augment,
            seed=recipe.seed,
            batch_size=recipe.images_of_batch(part.world),
            size_px=size_px,
            fill=self.fill,
            extra=self.extra,
            views=recipe.distill.views if recipe.distill.teacher else None,
            sampling=self.sampling,
            rank=part.rank,
            world=part.world,
            pin_memory=part.pin_memory,
        )

    def validation_batches(self, recipe: Recipe, part: ProcessPart) -> OrderedBatches:
        """A process's part of the validation images, each of which counts once in all."""
        return _ordered(self.source, self.val_rows, recipe, part)

    def targets_of(self, batch: Batch) -> Float[Tensor, "batch classes"]:
        """Targets of a batch, mixed in the same proportion as its images."""
        target = self.dense_targets(batch.rows)
        if batch.partner_rows is None or batch.lam is None:
            return target
        lam = batch.lam[:, None]
        return lam * target + (1.0 - lam) * self.dense_targets(batch.partner_rows)

    def dense_targets(self, rows: Int64[np.ndarray, "batch"]) -> Float[Tensor, "batch classes"]:
        """The targets of some catalog rows, as probabilities or zeros and ones."""
        return torch.from_numpy(dense_rows(self.targets, rows, num_classes=self.num_classes))


def searched_batches(images: RetrievalSet, recipe: Recipe, part: ProcessPart) -> OrderedBatches:
    """A process's part of the images that ask for each other.

    Args:
        images: of all processes.
        recipe: resolved.
        part: which.
    """
    return _ordered(images.source, images.rows, recipe, part)


def _ordered(
    source: PixelSource, rows: Int64[np.ndarray, "n"], recipe: Recipe, part: ProcessPart
) -> OrderedBatches:
    return OrderedBatches(
        source,
        rows,
        batch_size=recipe.training.resolved_batch_size,
        rank=part.rank,
        world=part.world,
        pin_memory=part.pin_memory,
    )


def size_of_epoch(sizes: tuple[int, ...], epochs: int, epoch: int) -> int:
    """Side of the training images in an epoch, in pixels.

    Args:
        sizes: in the order of training, each for an equal number of epochs.
        epochs: of the whole training.
        epoch: counted from 0.
    """
    return sizes[min(len(sizes) - 1, epoch * len(sizes) // epochs)]


class EpochBatches:
    """The training batches of whichever epoch a training is in.

    Lightning makes the iterator at moments of its own, when resuming even before it has restored
    the epoch: the epoch is read when the first batch is wanted.
    """

    def __init__(self, batches: TrainingBatches, epoch: Callable[[], int]) -> None:
        self._batches = batches
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the present epoch."""
        self._batches.set_epoch(self._epoch())
        yield from self._batches
