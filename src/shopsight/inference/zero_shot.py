"""Classes from words alone, without training: a head of directions for a network.

With a text encoder, the direction of a class is the unit mean of the encoder's vectors of all its
words in all prompts. Without one, it comes from known pairs (`shopsight.words.pairs`), and images
are taken from the mean of the catalog. Either way the class of an image x is the one with the
largest logit s q . (x - c), c being 0 for an encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float32

from shopsight.catalog.catalog import Catalog
from shopsight.errors import EmbeddingError
from shopsight.inference.embedder import Embedder
from shopsight.models.heads import DirectionHead
from shopsight.progress import notify, task
from shopsight.unit_vectors import unit_vectors
from shopsight.words.class_lists import PROMPTS, ClassWords
from shopsight.words.pairs import WordPairs, class_texts
from shopsight.words.word_table import open_word_table

WORDS_SCALE = 20.0
CENTER_IMAGES = 2000


@dataclass(frozen=True, eq=False)
class ClassDirectionsFound:
    """Directions of classes among images.

    Attributes:
        directions: unit vectors, one a class.
        center: what they are measured from; zeros for a text encoder.
        scale: that makes cosines logits.
        by: how words became directions, for reports.
    """

    directions: Float32[np.ndarray, "c d"]
    center: Float32[np.ndarray, "d"]
    scale: float
    by: str

    def head(self) -> DirectionHead:
        """The directions as a head."""
        count, dim = self.directions.shape
        head = DirectionHead(dim, count)
        weight = self.scale * self.directions
        with torch.no_grad():
            head.classifier.weight.copy_(torch.from_numpy(weight))
            head.classifier.bias.copy_(torch.from_numpy(-(weight @ self.center)))
        return head.eval()


def find_directions(
    embedder: Embedder,
    classes: Sequence[ClassWords],
    catalog: Catalog,
    *,
    prompts: Sequence[str] = PROMPTS,
) -> ClassDirectionsFound:
    """Directions of classes for a model.

    Args:
        embedder: the model.
        classes: with their words.
        catalog: whose images will be classified; some of them say where their mean lies, which
            a model without a text encoder needs.
        prompts: sentences with `{}`; only a text encoder reads them.

    Raises:
        EmbeddingError: there is neither a text encoder nor anything that joins words to images; or
            the words of a class are unknown.
        ExtraMissingError: the extra `words` is needed and not installed.
    """
    if embedder.space.has_text:
        return _by_encoder(embedder, classes, prompts)
    return _by_words(embedder, classes, catalog)


def _by_encoder(
    embedder: Embedder, classes: Sequence[ClassWords], prompts: Sequence[str]
) -> ClassDirectionsFound:
    vectors = encoded_classes(embedder.embed_texts, classes, prompts=prompts)
    center = np.zeros(vectors.shape[1], np.float32)
    # As its training had it: the probabilities are those that the model was made to give.
    scale = embedder.logit_scale
    assert scale is not None
    return ClassDirectionsFound(vectors, center, scale, "by its text encoder")


def encoded_classes(
    embed: Callable[[Sequence[str]], Float32[np.ndarray, "n d"]],
    classes: Sequence[ClassWords],
    *,
    prompts: Sequence[str],
) -> Float32[np.ndarray, "c d"]:
    """Unit vectors of classes: the mean of a text encoder's over all their words and prompts.

    Args:
        embed: unit vectors of texts.
        classes: with their words.
        prompts: sentences with `{}`.
    """
    directions = []
    with task("Encoding classes", len(classes), "classes") as advance:
        for one in classes:
            sentences = [prompt.format(phrase) for phrase in one.phrases() for prompt in prompts]
            directions.append(embed(sentences).mean(axis=0))
            advance(1)
    return unit_vectors(np.stack(directions))


def _by_words(
    embedder: Embedder, classes: Sequence[ClassWords], catalog: Catalog
) -> ClassDirectionsFound:
    known = embedder.class_directions()
    if known is None:
        raise EmbeddingError(
            f"{embedder.name} has no text encoder and knows no classes by name: nothing joins "
            "words to its images",
            fix="MODEL embedded:tf_efficientnet_lite0   (knows ImageNet's classes)\n"
            "MODEL open_clip:PE-Core-B-16/meta   (has a text encoder)",
        )
    table = open_word_table()
    pairs = WordPairs.of_classes(known.names, known.directions, table)
    # Commas part synonyms there; a phrase has commas of its own.
    names = [",".join(phrase.replace(",", "") for phrase in one.phrases()) for one in classes]
    texts = class_texts(names, table)
    directions = pairs.directions_of(texts)
    # Of the words alone: a template around unknown ones has a direction too.
    unknown = [one.name for one in classes if not table.embed(one.phrases()).any()]
    if unknown:
        raise EmbeddingError("no word of these classes is known", details=unknown)
    notify(f"by words, without a text encoder: joined by {known.source}")
    center = _mean_embedding(embedder, catalog)
    return ClassDirectionsFound(directions, center, WORDS_SCALE, "by words, without a text encoder")


def _mean_embedding(embedder: Embedder, catalog: Catalog) -> Float32[np.ndarray, "d"]:
    """The mean unit vector of some images, spread over the catalog."""
    spread = np.linspace(0, len(catalog) - 1, min(CENTER_IMAGES, len(catalog))).round()
    some = catalog.take(np.unique(spread.astype(np.int64)))
    with task("Finding the mean of images", len(some)) as advance:
        total, count = np.zeros(embedder.space.embedding_dim, np.float64), 0
        for one in islice(embedder.embed(some), len(some)):
            advance(1)
            if one.vector is not None:
                total, count = total + one.vector, count + 1
    if not count:
        raise EmbeddingError("none of the images can be read", where=catalog.name)
    return (total / count).astype(np.float32)
