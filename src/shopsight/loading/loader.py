"""Batches for training and evaluation, prefetched by threads.

Worker processes would copy every batch between processes; the decoder, the gather from the cache
and the warp all run outside the interpreter lock, so threads do the same work without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor

from shopsight.config.augment_settings import AugmentSettings
from shopsight.errors import ConfigError
from shopsight.loading.augment import augment
from shopsight.loading.cache import PixelSource
from shopsight.loading.class_sampling import Sampler, copy_numbers
from shopsight.loading.counter_rng import permutation
from shopsight.loading.mixup import mix_into, mix_plan, mixes
from shopsight.loading.offline_augment import Samples, apply_offline, concat, identity
from shopsight.prefetch import default_threads, prefetch
from shopsight.preprocess import WHITE, PadColor


@dataclass(frozen=True)
class Batch:
    """Images, and the rows of their targets.

    Attributes:
        images: uint8, channels last.
        rows: Catalog rows.
        partner_rows: Row of the image mixed in (the own row where none was); None: not mixed.
        lam: Weight of the own target, lambda; the partner's has 1 - lambda. None: mixing is off.
    """

    images: UInt8[Tensor, "b s s 3"]
    rows: Int64[np.ndarray, "b"]
    partner_rows: Int64[np.ndarray, "b"] | None = None
    lam: Float32[Tensor, "b"] | None = None


class TrainingBatches:
    """Augmented batches in a random order of each epoch.

    Every image, its changes and its position depend on (seed, epoch, sample) alone: for the same
    product `batch_size * world`, the batches of all ranks together are the same for every number
    of ranks and threads. Iterate within `shopsight.runtime.single_threaded_opencv`: the threads
    here are enough for all cores.

    Args:
        source: Pixels of the images.
        rows: Catalog rows of the training images.
        augment: What is changed in them.
        seed: Seed of the order and the changes.
        batch_size: Images of each rank in a batch.
        size_px: Side of the batches, or a function from epoch to side.
        fill: The color outside the images: the preprocess's pad color.
        extra: Further samples, see `shopsight.loading.offline_augment`.
        views: Augmented views of each image, which epochs replay in turn; None: a new one in each.
        sampling: Makes the draw of an epoch from the catalog rows of all samples; None takes each
            sample once.
        rank: This process's number.
        world: Number of processes.
        threads: Threads that make batches; None: see `shopsight.prefetch.default_threads`.
        pin_memory: Put batches in page-locked memory, for copies to a GPU.

    Raises:
        ConfigError: Fewer samples than ranks, or none.
    """

    def __init__(
        self,
        source: PixelSource,
        rows: Int64[np.ndarray, "n"],
        *,
        augment: AugmentSettings,
        seed: int,
        batch_size: int,
        size_px: int | Callable[[int], int] | None = None,
        fill: PadColor = WHITE,
        extra: Samples | None = None,
        views: int | None = None,
        sampling: Callable[[Int64[np.ndarray, "n"]], Sampler] | None = None,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        samples = identity(rows)
        self._samples = samples if extra is None else concat(samples, extra)
        check_enough(len(self._samples), world)
        self._sampling = None if sampling is None else sampling(self._samples.rows)
        self._source = source
        self._settings = augment
        self._seed = seed
        self._batch_size = batch_size * world
        self._size_px = source.size_px if size_px is None else size_px
        self._fill: PadColor = fill
        self._views = views
        self._rank, self._world = rank, world
        self._threads = threads or default_threads()
        self._pin_memory = pin_memory
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Make iterators that start from now on yield this epoch."""
        self._epoch = epoch

    @property
    def size_px(self) -> int:
        """Side of this epoch's batches."""
        return self._size_px if isinstance(self._size_px, int) else self._size_px(self._epoch)

    def __len__(self) -> int:
        # The last partial batch is left out (in another epoch it holds others), unless it is all.
        # Then the ranks' parts differ by one image at most, and by as much in weight.
        return max(1, len(self._samples) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch, size_px = self._epoch, self.size_px
        samples = self._samples_of(epoch)
        ordered = self._sampling is not None and self._sampling.ordered
        order = np.arange(len(samples)) if ordered else permutation(self._seed, epoch, len(samples))

        def make(number: int) -> Batch:
            whole = order[number * self._batch_size : (number + 1) * self._batch_size]
            mine = np.array_split(whole, self._world)[self._rank]
            return self._make(samples.take(mine), samples, epoch, size_px)

        return prefetch(make, range(len(self)), threads=self._threads)

    def _samples_of(self, epoch: int) -> Samples:
        """The samples of an epoch, as many in each."""
        if self._sampling is None:
            return self._samples
        sampled = self._sampling.sample(seed=self._seed, epoch=epoch)
        return self._samples.take(sampled).repeated(copy_numbers(sampled))

    def _make(self, samples: Samples, whole: Samples, epoch: int, size_px: int) -> Batch:
        """A batch of these samples, which mixes with any of the whole epoch's."""
        images = self._images(samples, epoch, size_px)
        if not mixes(self._settings):
            return self._batch(images, samples.rows)
        plan = mix_plan(
            samples.ids,
            settings=self._settings,
            seed=self._seed,
            epoch=epoch,
            population=len(whole),
            size_px=size_px,
        )
        partners = whole.take(plan.partner[plan.mixed])
        mix_into(images, self._images(partners, epoch, size_px), plan)
        partner_rows = samples.rows.copy()
        partner_rows[plan.mixed] = partners.rows
        return self._batch(images, samples.rows, partner_rows, plan.lam)

    def _images(self, samples: Samples, epoch: int, size_px: int) -> UInt8[np.ndarray, "b s s 3"]:
        plain = self._source.gather(samples.rows)
        made = apply_offline(plain, samples, seed=self._seed, fill=self._fill)
        return augment(
            made,
            samples.ids,
            settings=self._settings,
            seed=self._seed,
            epoch=epoch if self._views is None else epoch % self._views,
            size_px=size_px,
            fill=self._fill,
        )

    def _batch(
        self,
        images: UInt8[np.ndarray, "b s s 3"],
        rows: Int64[np.ndarray, "b"],
        partner_rows: Int64[np.ndarray, "b"] | None = None,
        lam: Float64[np.ndarray, "b"] | None = None,
    ) -> Batch:
        pixels = torch.from_numpy(images)
        return Batch(
            images=pixels.pin_memory() if self._pin_memory else pixels,
            rows=rows,
            partner_rows=partner_rows,
            lam=None if lam is None else torch.from_numpy(lam.astype(np.float32)),
        )


class OrderedBatches:
    """Each row once, in order, as it is.

    With several ranks, each has one run of consecutive rows: the ranks' rows one after another
    are `rows`. Sizes differ by one at most, so the number of batches can differ by one. A rank
    without rows (there are fewer than ranks) has one empty batch: it takes part in whatever the
    ranks exchange while the others compute.

    Args:
        source: Pixels of the images.
        rows: Catalog rows.
        batch_size: Batch size of this rank.
        rank: This process's number.
        world: Number of processes.
        threads: Threads that make batches; None: see `shopsight.prefetch.default_threads`.
        pin_memory: Put batches in page-locked memory, for copies to a GPU.
    """

    def __init__(
        self,
        source: PixelSource,
        rows: Int64[np.ndarray, "n"],
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        self._source = source
        self._rows = np.array_split(np.asarray(rows, np.int64), world)[rank]
        self._fewest = min(1, len(rows))
        self._batch_size = batch_size
        self._threads = threads or default_threads()
        self._pin_memory = pin_memory

    def __len__(self) -> int:
        return max(self._fewest, math.ceil(len(self._rows) / self._batch_size))

    def __iter__(self) -> Iterator[Batch]:
        return prefetch(self._make, range(len(self)), threads=self._threads)

    def _make(self, number: int) -> Batch:
        rows = self._rows[number * self._batch_size : (number + 1) * self._batch_size]
        images = torch.from_numpy(self._source.gather(rows))
        if self._pin_memory:
            images = images.pin_memory()
        return Batch(images=images, rows=rows)


def check_enough(count: int, world: int) -> None:
    """Check that each of the processes gets a training image.

    Args:
        count: Training images.
        world: Number of processes.

    Raises:
        ConfigError: There are too few.
    """
    if count == 0:
        raise ConfigError("there are no training images")
    if count < world:
        raise ConfigError(
            f"{count} training images are too few for {world} processes",
            where="hardware.devices",
            fix=f"--set hardware.devices={count}, or fewer",
        )
