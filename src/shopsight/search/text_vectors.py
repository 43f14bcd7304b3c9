"""Vectors of the items' texts: by the model's text encoder, or by the word table without one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from shopsight.inference.embedder import Embedder
from shopsight.search.generation import TextVectors
from shopsight.words.word_table import has_words, open_word_table


def text_kind(embedder: Embedder, texts: Sequence[str | None]) -> tuple[TextVectors, int]:
    """How the texts of a new index become vectors, and of how many numbers.

    "none" without texts, and where there is neither an encoder nor the extra `words`.
    """
    if not any(text is not None for text in texts):
        return "none", 0
    if embedder.space.has_text:
        return "encoder", embedder.space.embedding_dim
    if has_words():
        return "words", open_word_table().dim
    return "none", 0


def embed_item_texts(
    texts: Sequence[str | None], kind: TextVectors, dim: int, embedder: Embedder | None
) -> Float32[np.ndarray, "n t"] | None:
    """Unit vectors of texts, a row of zeros where there is none; None where none are kept.

    Args:
        texts: of the items.
        kind: how the index makes them.
        dim: numbers of each.
        embedder: with a text encoder, for the kind "encoder".
    """
    if kind == "none":
        return None
    found = np.zeros((len(texts), dim), np.float32)
    rows = [row for row, text in enumerate(texts) if text is not None]
    given = [text for text in texts if text is not None]
    if not given:
        return found
    if kind == "words":
        found[rows] = open_word_table().embed(given)
    else:
        assert embedder is not None
        found[rows] = embedder.embed_texts(given)
    return found
