"""Batches in which every class has several images, for losses that compare images.

A batch of B images drawn at random from N classes has hardly two of one class where B is small
beside N. Here it consists of packs: P = B / K classes with K images each ("P x K"). All classes
come as often, one after another in an order of their own in each round; a batch has no class twice
where there are enough of them. A class with fewer than K images has some of them twice in a pack,
each augmented in its own way.

**Groups.** Photos of one product, or by one contributor, resemble each other, and a pair of them
teaches little. So the images of a class are taken in turns: first one of each of its groups, in
random order, then a second one of each. A pack has K groups where the class has as many.

With several processes the packs of a batch are divided between them, none in two.

Source: Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.loading.counter_rng import Purpose, uniforms


class PairSampling:
    """The draw of an epoch in packs of images of one class.

    Args:
        labels: class of each image that can be drawn.
        groups: what each image belongs to.
        per_class: images of a pack, K.
        batch_size: images of a batch, in all processes together; the last pack of a batch may be
            smaller.
        lone_classes: whether classes of one image are drawn too, K times that image.

    Raises:
        ValueError: there is no class to draw.
    """

    ordered = True
    """Samples come in the order of the batches."""

    def __init__(
        self,
        labels: Int64[np.ndarray, "n"],
        *,
        groups: Int64[np.ndarray, "n"],
        per_class: int,
        batch_size: int,
        lone_classes: bool,
    ) -> None:
        counts = np.bincount(labels)
        self._classes = np.flatnonzero(counts >= (1 if lone_classes else 2))
        if not len(self._classes):
            raise ValueError("no class has two images")
        self._labels, self._groups = labels, groups
        self._per_class, self._batch_size = per_class, batch_size
        self._starts = np.cumsum(counts) - counts
        self._counts = counts

    def sample(self, *, seed: int, epoch: int) -> Int64[np.ndarray, "m"]:
        """Return the indices of an epoch's images, batch after batch, about as many as there are.

        Args:
            seed: Of the run; with the epoch and the images it decides the draw.
            epoch: Counted from 0.
        """
        images = np.arange(len(self._labels), dtype=np.int64)
        random = uniforms(seed, epoch, images, 1, purpose=Purpose.SAMPLING)[:, 0]
        line = self._in_turns(random)
        batches = max(1, len(images) // self._batch_size)
        sizes = self._pack_sizes()
        taken = np.zeros(len(self._counts), np.int64)
        packs = []
        for number, label in enumerate(self._class_order(seed, epoch, batches, len(sizes))):
            size = sizes[number % len(sizes)]
            # The images of a class are a ring, which goes on where the pack before ended.
            places = (taken[label] + np.arange(size)) % self._counts[label]
            taken[label] += size
            packs.append(line[self._starts[label] + places])
        return np.concatenate(packs)

    def _pack_sizes(self) -> list[int]:
        whole, rest = divmod(self._batch_size, self._per_class)
        return [self._per_class] * whole + [rest] * bool(rest)

    def _in_turns(self, random: Float64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        """All images by class, those of a class one of each group after another."""
        order = np.lexsort((random, self._groups, self._labels))
        label, group = self._labels[order], self._groups[order]
        new = np.ones(len(order), bool)
        new[1:] = (label[1:] != label[:-1]) | (group[1:] != group[:-1])
        places = np.arange(len(order))
        turn = np.empty(len(order), np.int64)
        turn[order] = places - np.maximum.accumulate(np.where(new, places, 0))
        return np.lexsort((random, turn, self._labels)).astype(np.int64)

    def _class_order(self, seed: int, epoch: int, batches: int, packs: int) -> Iterator[int]:
        """The class of each pack; in a batch none twice, where there are as many classes."""
        waiting = deque[int]()
        rounds = 0
        for _ in range(batches):
            own, later = dict[int, None](), list[int]()
            for _ in range(packs):
                if len(own) == len(self._classes):
                    own.clear()
                while True:
                    if not waiting:
                        waiting.extend(self._round(seed, epoch, rounds))
                        rounds += 1
                    label = waiting.popleft()
                    if label not in own:
                        break
                    later.append(label)
                own[label] = None
                yield label
            waiting.extendleft(reversed(later))

    def _round(self, seed: int, epoch: int, number: int) -> list[int]:
        """All classes in an order of their own."""
        # Numbers of classes in a round are nobody else's: images have those from 0 on.
        ids = (np.int64(number + 1) << 40) + self._classes
        places = uniforms(seed, epoch, ids, 1, purpose=Purpose.SAMPLING)[:, 0]
        order: list[int] = self._classes[np.argsort(places, kind="stable")].tolist()
        return order
