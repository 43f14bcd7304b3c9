"""Which images an epoch has, where classes are to be sampled more evenly than they are frequent.

With n_c images of class c, plain training takes each image once an epoch: class c has a share of
n_c / n of it. Here it has a share in proportion to n_c^q: all classes the same for q = 0
("balanced"), between the two for q = 1/2 ("sqrt"). An image of class c then stands for

    e = n n_c^(q - 1) / sum_k n_k^q

images of the epoch, which is as long as before. An image with several labels is sampled for the
rarest of them (the largest n_c^(q - 1)), one without any as if it were of the commonest class.

**The draw** is systematic: the e of all images, one after another on a line of length n, are cut
at u, u + 1, u + 2, ... with one uniform number u, and an image is taken once for each cut on it:
e times rounded up or down, and e times on average. Images of a class lie together, so that a
class, too, is sampled as often as it should be, to within one image. Sampling with replacement
would leave out 37 % of the images of a class whose e is 1, in every epoch. Images of a class lie
in an order of their own in each epoch, so that where e < 1 all have their turn.

Sources: Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed Recognition",
for the power q; Gupta, Dollar and Girshick 2019, "LVIS", for several labels by the rarest; Madow
and Madow 1944, "On the Theory of Systematic Sampling".
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.loading.counter_rng import Purpose, uniforms
from shopsight.targets import SparseRows, Targets, count_classes

Sampling = Literal["plain", "sqrt", "balanced"]
POWERS: dict[Sampling, float] = {"plain": 1.0, "sqrt": 0.5, "balanced": 0.0}
"""q of each way to sample."""


class Sampler(Protocol):
    """Draws the samples of an epoch."""

    @property
    def ordered(self) -> bool:
        """Whether they come in the order of the batches; else that is random."""
        ...

    def sample(self, *, seed: int, epoch: int) -> Int64[np.ndarray, "m"]:
        """Indices of samples, some often and some not at all; as many in each epoch."""
        ...


class ClassSampling:
    """How many images of an epoch each image stands for, and the draw of an epoch.

    Args:
        targets: Of the images that can be sampled: see `shopsight.targets`.
        num_classes: Number of classes.
        sampling: See `POWERS`.
    """

    ordered = False

    def __init__(
        self,
        targets: Targets,
        *,
        num_classes: int,
        sampling: Sampling,
    ) -> None:
        counts = count_classes(targets, num_classes=num_classes)
        stratum = _rarest_label(targets, counts) if isinstance(targets, SparseRows) else targets
        # A label that none of these images has is never asked for.
        weight = np.maximum(counts, 1.0) ** (POWERS[sampling] - 1.0)
        # The last one stands for no label.
        weight = np.append(weight, weight[counts.argmax()])
        weights = weight[stratum]
        self._stratum = stratum
        self.expected: Float64[np.ndarray, "n"] = weights * (len(weights) / weights.sum())

    def sample(self, *, seed: int, epoch: int) -> Int64[np.ndarray, "n"]:
        """Return as many indices as there are images, ascending, some often and some not at all.

        Args:
            seed: Of the run; with the epoch and the images it decides the draw.
            epoch: Counted from 0.
        """
        images = np.arange(len(self.expected), dtype=np.int64)
        places = uniforms(seed, epoch, images, 1, purpose=Purpose.SAMPLING)[:, 0]
        # One more sample than there are images: its number is nobody's place.
        shift = uniforms(seed, epoch, np.array([len(images)]), 1, purpose=Purpose.SAMPLING)[0, 0]
        line = np.lexsort((places, self._stratum))
        ends = np.cumsum(self.expected[line])
        # Rounding must not cost an image.
        ends[-1] = len(images)
        cuts = np.floor(ends + shift).astype(np.int64)
        times = np.diff(cuts, prepend=0)
        return np.sort(np.repeat(line, times)).astype(np.int64)


def copy_numbers(sampled: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """Return for each of these indices how many equal ones come before it.

    >>> copy_numbers(np.array([5, 3, 5, 8, 5]))
    array([0, 0, 1, 0, 2])
    """
    order = np.argsort(sampled, kind="stable")
    ascending = sampled[order]
    numbers = np.empty(len(sampled), np.int64)
    numbers[order] = np.arange(len(sampled)) - np.searchsorted(ascending, ascending, side="left")
    return numbers


def _rarest_label(targets: SparseRows, counts: Int64[np.ndarray, "c"]) -> Int64[np.ndarray, "n"]:
    """Return the label of each image that the fewest images have; the number of labels for none."""
    order = np.argsort(counts, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    rarest = np.full(targets.shape[0], len(order), np.int64)
    each = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    np.minimum.at(rarest, each, rank[targets.indices])
    # The rank behind the last one is that of no label.
    return np.append(order, len(order))[rarest]
