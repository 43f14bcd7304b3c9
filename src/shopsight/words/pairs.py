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

It is a first answer, worse than a text encoder's, and it grows with the catalog's own words. How
good it is: docs/search.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from shopsight.unit_vectors import have_direction, unit_vectors
from shopsight.words.word_table import WordTable

TEMPERATURE = 0.1
TEMPLATES = ("{}", "a photo of a {}")


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
        table: WordTable,
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
        center: Float32[np.ndarray, "d"],
        table: WordTable,
    ) -> WordPairs:
        """Pairs of a catalog.

        Args:
            texts: labels or titles.
            means: mean embedding of the images of each.
            center: mean embedding of all images.
            table: makes texts vectors.
        """
        return cls._usable(class_texts(texts, table), means - center)

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


def class_texts(names: Sequence[str], table: WordTable) -> Float32[np.ndarray, "c t"]:
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
