"""Words as directions among images, without a text encoder: by what is known to go together.

An image encoder knows what things look like, a word table what words mean, and neither knows the
other. What joins them is a list of known pairs (t_k, d_k): a text and the direction in which its
images lie. Pairs come from

- the classifier that the backbone was trained with: the name of a class, and its row of weights;
- the catalog: a label or a title, and the mean embedding of its images.

Embeddings of one network share a large common part, which says nothing about any image. So
everything is taken from a center: of rows their mean, of images the mean c of the catalog. A text
with the vector u gets the direction

    q = unit( sum_k w_k d_k ),    w_k = softmax_k( t_k . u / temperature ),

a mixture of the directions whose texts are nearest to it. An image x scores cos(q, x - c).

**Means become discriminants.** A row of a classifier is what tells a class from the others, and is
short where all images vary anyway. A mean mu_k is only where the images of a text lie. Fisher's
linear discriminant makes the one of the other: with the covariance S of the catalog's n images,

    d_k = unit( (S + a I)^-1 (mu_k - c) ),    a = (1 + d / n) tr(S) / d.

S has d (d + 1) / 2 numbers and is estimated from n images, so a part of it is moved to the mean of
its eigenvalues, and more of it the fewer images there are: d_k is mu_k - c for a handful of them.
Of groceries that no pair names, 42 % were right with means and 51 % are with discriminants; a
catalog's own labels find far more (docs/benchmarks.md).

It is a first answer, worse than a text encoder's, and it grows with the catalog's own words. How
good it is: docs/search.md.

Source: for discriminants, Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical
Learning", section 4.3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64

from shopsight.unit_vectors import have_direction, unit_vectors

TEMPERATURE = 0.1
TEMPLATES = ("{}", "a photo of a {}")


class TextVectors(Protocol):
    """What makes texts vectors: a `WordTable`, or any encoder of texts."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "n t"]:
        """Unit vectors of texts; a row of zeros where a text has none."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSpread:
    """Where the images of a catalog lie.

    Attributes:
        count: images that it was taken from.
        center: their mean, or that of more of the catalog.
        covariance: around the center.
    """

    count: int
    center: Float32[np.ndarray, "d"]
    covariance: Float64[np.ndarray, "d d"]

    @classmethod
    def of(
        cls, images: Float32[np.ndarray, "n d"], center: Float32[np.ndarray, "d"] | None = None
    ) -> ImageSpread:
        """The spread of some images, around their mean where no center is given.

        Args:
            images: their embeddings, one at least.
            center: of the catalog.
        """
        mean = images.mean(axis=0) if center is None else center
        moved = images - mean
        covariance = (moved.T @ moved).astype(np.float64) / len(images)
        return cls(len(images), np.asarray(mean, np.float32), covariance)

    def discriminants(self, means: Float32[np.ndarray, "k d"]) -> Float32[np.ndarray, "k d"]:
        """What tells each mean from the catalog; see the module. Not of unit length."""
        dim = len(self.center)
        moved = (means - self.center).astype(np.float64)
        ridge = (1 + dim / self.count) * np.trace(self.covariance) / dim
        if ridge <= 0:  # All images are one.
            return np.asarray(moved, np.float32)
        # Multiplied by the ridge, so that numbers keep the size of the means'.
        regular = self.covariance / ridge
        regular[np.diag_indices(dim)] += 1
        return np.asarray(np.linalg.solve(regular, moved.T).T, np.float32)


@dataclass(frozen=True, eq=False)
class WordPairs:
    """Known texts and their directions among images.

    Attributes:
        texts: unit vectors of texts.
        directions: unit vectors, each from the center that its kind has.
    """

    texts: Float32[np.ndarray, "k t"]
    directions: Float32[np.ndarray, "k d"]

    @classmethod
    def of_classes(
        cls,
        names: Sequence[str],
        rows: Float32[np.ndarray, "c d"],
        table: TextVectors,
    ) -> WordPairs:
        """Pairs of a classifier.

        Args:
            names: of its classes; synonyms of one are parted by commas.
            rows: its weights, one row for each class.
            table: makes texts vectors.
        """
        return cls._usable(class_texts(names, table), rows - rows.mean(axis=0))

    @classmethod
    def of_images(
        cls,
        texts: Sequence[str],
        means: Float32[np.ndarray, "k d"],
        spread: ImageSpread,
        table: TextVectors,
    ) -> WordPairs:
        """Pairs of a catalog.

        Args:
            texts: labels or titles.
            means: mean embedding of the images of each.
            spread: of all images.
            table: makes texts vectors.
        """
        return cls.of_directions(texts, spread.discriminants(means), table)

    @classmethod
    def of_directions(
        cls, texts: Sequence[str], directions: Float32[np.ndarray, "k d"], table: TextVectors
    ) -> WordPairs:
        """Pairs whose directions are known, of any length."""
        return cls._usable(class_texts(texts, table), directions)

    @classmethod
    def _usable(
        cls, texts: Float32[np.ndarray, "k t"], directions: Float32[np.ndarray, "k d"]
    ) -> WordPairs:
        kept = have_direction(texts) & have_direction(directions)
        return cls(texts[kept], unit_vectors(directions[kept]))

    def __len__(self) -> int:
        return len(self.texts)

    def joined(self, other: WordPairs) -> WordPairs:
        """These pairs and others."""
        return WordPairs(
            np.concatenate([self.texts, other.texts]),
            np.concatenate([self.directions, other.directions]),
        )

    def directions_of(
        self, texts: Float32[np.ndarray, "n t"], *, temperature: float = TEMPERATURE
    ) -> Float32[np.ndarray, "n d"]:
        """Directions of texts, unit vectors from the center; zeros where a text has no vector."""
        found = np.zeros((len(texts), self.directions.shape[1]), np.float32)
        usable = np.flatnonzero(have_direction(texts)) if len(texts) else np.zeros(0, np.int64)
        if not len(usable) or not len(self):
            return found
        near = (texts[usable] @ self.texts.T).astype(np.float64) / temperature
        weights = np.exp(near - near.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        found[usable] = unit_vectors(weights @ self.directions)
        return found


def class_texts(names: Sequence[str], table: TextVectors) -> Float32[np.ndarray, "c t"]:
    """A unit vector for each class: the mean over its synonyms and the templates.

    Args:
        names: synonyms of one class are parted by commas.
        table: makes texts vectors.
    """
    sentences = [
        template.format(synonym.strip())
        for name in names
        for synonym in name.split(",")
        for template in TEMPLATES
    ]
    owners = [row for row, name in enumerate(names) for _ in name.split(",") for _ in TEMPLATES]
    vectors = table.embed(sentences)
    sums = np.zeros((len(names), table.dim), np.float64)
    np.add.at(sums, np.array(owners, np.int64), vectors)
    found = np.zeros((len(names), table.dim), np.float32)
    usable = have_direction(sums) if len(names) else np.zeros(0, bool)
    found[usable] = unit_vectors(sums[usable])
    return found


def centered_cosines(
    directions: Float32[np.ndarray, "q d"],
    images: Float32[np.ndarray, "n d"],
    center: Float32[np.ndarray, "d"],
) -> Float32[np.ndarray, "q n"]:
    """cos(q, x - c) of unit directions q and unit embeddings x.

    |x - c|^2 = 1 - 2 x . c + |c|^2.
    """
    moved = images - center
    lengths = np.maximum(np.sqrt(np.einsum("nd,nd->n", moved, moved)), 1e-6)
    return np.asarray((directions @ moved.T) / lengths, np.float32)
