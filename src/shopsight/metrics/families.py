"""Families: images that succeed and fail together, the unit in which a score varies.

Photos of one product are alike, and so are copies of one photo. Whoever photographs a shop anew
gets other products, not other pixels of the same ones: what varies from sample to sample are whole
families. A family is what links connect, of whatever kind: an image in a group, whose copy is in
another group, makes one family of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from shopsight.errors import MetricError


@dataclass(frozen=True, eq=False)
class Families:
    """The family of each of n images.

    Attributes:
        of_image: its number, from 0 without gaps.
    """

    of_image: Int64[np.ndarray, "n"]

    @classmethod
    def alone(cls, num_images: int) -> Families:
        """Each image is a family of its own."""
        return cls(np.arange(num_images))

    @classmethod
    def by(cls, names: Shaped[np.ndarray, "n"]) -> Families:
        """Images with equal values are a family."""
        return cls(np.unique(names, return_inverse=True)[1].astype(np.int64))

    @classmethod
    def linked(cls, num_images: int, links: Sequence[Int64[np.ndarray, "n"]]) -> Families:
        """What the links connect, see `connected`."""
        return cls(connected(num_images, links))

    def __len__(self) -> int:
        return self.count

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.of_image)

    @cached_property
    def count(self) -> int:
        """Number of families."""
        return int(self.of_image.max(initial=-1)) + 1

    @cached_property
    def sizes(self) -> Int64[np.ndarray, "g"]:
        """Images of each family."""
        return np.bincount(self.of_image, minlength=self.count).astype(np.int64)

    @property
    def are_images(self) -> bool:
        """Whether each image is a family of its own."""
        return self.count == self.num_images

    @property
    def effective_count(self) -> float:
        """How many equal families vary as much as these: n^2 / sum of squared sizes.

        Where images of a family agree in full, the variance of a mean is that of independent
        families weighted by their sizes m, v sum m^2 / (sum m)^2, and that of k equal ones v / k.

        Source: Kish 1965, "Survey sampling", section 11.7.
        """
        return float(self.num_images**2 / (self.sizes.astype(np.float64) ** 2).sum())

    def take(self, rows: Shaped[np.ndarray, "m"]) -> Families:
        """The families of these images alone, numbered anew.

        Args:
            rows: indices, or a mask of the images.
        """
        return Families.by(self.of_image[rows])

    def sums(self, values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "g"]:
        """The sum of a value over each family.

        Raises:
            MetricError: As many values as images are needed.
        """
        if len(values) != self.num_images:
            raise MetricError(f"{len(values)} values do not go with {self.num_images} images")
        return np.bincount(self.of_image, weights=values, minlength=self.count)


def connected(num_rows: int, links: Sequence[Int64[np.ndarray, "n"]]) -> Int64[np.ndarray, "n"]:
    """Connected components of rows, numbered from 0 by their first rows.

    Args:
        num_rows: n.
        links: each gives every row a code: rows with the same code are connected; -1 connects
            nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A bipartite graph: rows, and after them the codes of each link.
    sources, targets, nodes = [], [], num_rows
    for codes in links:
        linked = np.flatnonzero(codes >= 0)
        sources.append(linked)
        targets.append(codes[linked] + nodes)
        nodes += int(codes.max(initial=-1)) + 1
    source = np.concatenate([*sources, np.empty(0, np.int64)])
    target = np.concatenate([*targets, np.empty(0, np.int64)])
    ones = np.ones(len(source), np.int8)
    graph = coo_array((ones, (source, target)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][:num_rows]
    _, first, index = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[index]
