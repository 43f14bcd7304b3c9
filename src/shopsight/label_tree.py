"""Labels that are paths (`Apparel > Dresses`) as a tree, and probabilities summed up the tree.

The network's head stays flat over the labels that are used: of a taxonomy of 10,000 categories of
which a shop has 40, it has 40 outputs. The tree is read from the labels themselves. A label may be
an inner node (a product that is only "Jewelry"), paths may have any depth, and the same name may
lie under two parents: a node is its whole path, never its name.

The label of an image is one of several that exclude each other, so that the probability of a node
is the sum over the labels at it and below it. A parent is never less probable than its child.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

PATH_SEPARATOR = " > "
"""Stands between the names of a path, in every label and file of shopsight."""
MOST_LEVELS = 32
"""Deeper names stay part of the last one: nobody's categories are, and a tree has its limits."""
LEAST_CONFIDENCE = 0.5
"""From here on at most one path down the tree is that probable: below, branches could compete."""

# Blanks on both sides, or the end of the label: "Bag>Case" and "size >40" are names.
_SEPARATOR = re.compile(r"(?:^|(?<=\s))>(?=\s|$)")
_ROUNDING = 1e-9


def path_parts(label: str, separator: str | None = None) -> tuple[str, ...]:
    """The names of a path from the top, without blanks around them and without empty ones.

    Args:
        label: a path, or a label that is none.
        separator: the text between names; None is a ">" with blanks around it.

    >>> path_parts("Bags > Bag/Case >  Size >40")
    ('Bags', 'Bag/Case', 'Size >40')
    >>> path_parts("Default/Women", "/"), path_parts("hat")
    (('Default', 'Women'), ('hat',))
    """
    if separator is None:
        split = _SEPARATOR.split(label, maxsplit=MOST_LEVELS - 1)
    else:
        split = label.split(separator, MOST_LEVELS - 1)
    return tuple(name for part in split if (name := part.strip())) or (label,)


def path_text(parts: Sequence[str]) -> str:
    """A path as it is written.

    >>> path_text(("Jewelry", "Rings"))
    'Jewelry > Rings'
    """
    return PATH_SEPARATOR.join(parts)


def parent_path(label: str) -> str | None:
    """The path above; None at the top.

    >>> parent_path("Jewelry > Rings"), parent_path("Jewelry")
    ('Jewelry', None)
    """
    return path_text(path_parts(label)[:-1]) or None if is_path(label) else None


def is_path(label: str) -> bool:
    """Whether a label has more than one level.

    >>> is_path("Jewelry > Rings"), is_path("Bag>Case"), is_path("> 50")
    (True, False, False)
    """
    return ">" in label and len(path_parts(label)) > 1


@dataclass(frozen=True, eq=False)
class LabelTree:
    """The tree of c labels: n nodes, a parent before its children.

    Attributes:
        labels: in the order of the network's outputs.
        nodes: path of each node; one that is no label is there because a label lies below it.
        level: of each node; 1 at the top.
        path: of each label its nodes from the top, -1 beyond its own level.
    """

    labels: tuple[str, ...]
    nodes: tuple[str, ...]
    level: Int64[np.ndarray, "n"]
    path: Int64[np.ndarray, "c d"]

    @classmethod
    def of(cls, labels: Sequence[str]) -> LabelTree | None:
        """The tree of these labels; None where none of them is a path."""
        if not any(map(is_path, labels)):
            return None
        parts = [path_parts(label) for label in labels]
        prefixes = {one[:depth] for one in parts for depth in range(1, len(one) + 1)}
        ordered = sorted(prefixes)
        index = {prefix: number for number, prefix in enumerate(ordered)}
        path = np.full((len(parts), max(map(len, parts))), -1, np.int64)
        for row, one in enumerate(parts):
            path[row, : len(one)] = [index[one[:depth]] for depth in range(1, len(one) + 1)]
        return cls(
            labels=tuple(labels),
            nodes=tuple(map(path_text, ordered)),
            level=np.array([len(prefix) for prefix in ordered], dtype=np.int64),
            path=path,
        )

    @property
    def depth(self) -> int:
        """Levels of the deepest label."""
        return int(self.path.shape[1])

    @cached_property
    def label_level(self) -> Int64[np.ndarray, "c"]:
        """Level of each label: the number of its names."""
        return np.asarray((self.path >= 0).sum(axis=1))

    @cached_property
    def _label_nodes(self) -> tuple[Int64[np.ndarray, "p"], Int64[np.ndarray, "p"]]:
        """Each label with each node at or above it."""
        label, depth = np.nonzero(self.path >= 0)
        return label, self.path[label, depth]

    def cut(self, level: int) -> Int64[np.ndarray, "c"]:
        """The node of each label at this level; the label's own where it ends above.

        Args:
            level: from 1.
        """
        last = np.minimum(self.label_level, level) - 1
        return np.asarray(self.path[np.arange(len(self.labels)), last])

    def common_level(
        self, a: Int[np.ndarray, "b"], b: Int[np.ndarray, "b"]
    ) -> Int64[np.ndarray, "b"]:
        """The level of the deepest node that two labels have in common; 0 where there is none.

        Args:
            a: indices of labels.
            b: likewise.
        """
        return np.asarray(((self.path[a] == self.path[b]) & (self.path[a] >= 0)).sum(axis=1))

    def sums(self, probabilities: Float[np.ndarray, "b c"]) -> Float64[np.ndarray, "b n"]:
        """The probability of each node: of the labels at it and below it."""
        rows, nodes = len(probabilities), len(self.nodes)
        label, node = self._label_nodes
        # A cell for each image and node, into which its labels are counted.
        cells = np.arange(rows)[:, None] * nodes + node
        weights = probabilities[:, label].astype(np.float64)
        summed = np.bincount(cells.ravel(), weights.ravel(), minlength=rows * nodes)
        return summed.reshape(rows, nodes)

    def deepest(
        self, probabilities: Float[np.ndarray, "b c"], confidence: float
    ) -> tuple[Int64[np.ndarray, "b"], Float64[np.ndarray, "b"]]:
        """The deepest node of each image that is at least so probable.

        From `LEAST_CONFIDENCE` on, the nodes that are lie on one path: two that are apart exclude
        each other. (At exactly one half two may reach it; the first of them is given.)

        Args:
            probabilities: of the labels.
            confidence: at least `LEAST_CONFIDENCE`, at most 1.

        Returns:
            Its index and probability; -1 and 1 where not even a top node is so probable: the image
            is of some label, for certain.
        """
        sums = self.sums(probabilities)
        reached = np.where(sums >= confidence - _ROUNDING, self.level, 0)
        node = reached.argmax(axis=1)
        rows = np.arange(len(sums))
        none = reached[rows, node] == 0
        return np.where(none, -1, node), np.where(none, 1.0, np.minimum(sums[rows, node], 1.0))
