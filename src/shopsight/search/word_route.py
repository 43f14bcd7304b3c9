"""How words find items of an index: by the text encoder, by the word table, and by their texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float32

from shopsight.errors import EmbeddingError, SearchError
from shopsight.search.index import Index
from shopsight.search.known_pairs import known_pairs
from shopsight.search.query_terms import Term
from shopsight.unit_vectors import have_direction, unit_vectors
from shopsight.vector_engines.engine import Hit
from shopsight.vector_engines.filters import Filter
from shopsight.words.pairs import WordPairs, centered_cosines
from shopsight.words.word_table import has_words, open_word_table

Vector = Float32[np.ndarray, "d"]
Within = Literal["image", "text", "both"]
CANDIDATES = 1000
"""Hits that are scored from the center of the catalog, for each query by words."""
BY_WORDS = "by words, without a text tower: a first answer (docs/search.md says how good)"


class WordRoute:
    """The words of one search.

    Args:
        index: that is searched.

    Attributes:
        notes: what is said of how words were understood.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.notes: list[str] = []

    def routes(self, within: Within) -> tuple[bool, bool]:
        """Whether words look at images, and whether they look at texts.

        Raises:
            SearchError: only texts are asked for, and the index has none.
        """
        has_texts = self._index.info.text != "none"
        if within == "text" and not has_texts:
            raise SearchError(
                "the items of this index have no texts",
                where="--in text",
                fix="--in image\nshopsight index build MODEL DATA --text COLUMN",
            )
        return within != "text", within != "image" and has_texts

    def searches_both(self, within: Within) -> bool:
        """Whether words look at images and at texts."""
        return all(self.routes(within))

    def image_direction(self, text: str) -> Float32[np.ndarray, "d"]:
        """The direction of words among images: from 0 by an encoder, else from the center.

        Raises:
            EmbeddingError: there is neither an encoder nor the extra `words`, or no word of the
                text is known.
        """
        if self._index.info.space.has_text or not has_words():
            # Without an encoder its error says what helps.
            encoded: Vector = self._index.embedder().embed_texts([text])[0]
            return encoded
        self._note(BY_WORDS)
        found: Vector = self._pairs.directions_of(open_word_table().embed([text]))[0]
        if not have_direction(found[None])[0]:
            raise EmbeddingError(f"no word of {text!r} is known", where="--text")
        return found

    def text_vectors(self, terms: Sequence[Term]) -> Float32[np.ndarray, "n t"]:
        """Vectors of words among the texts of items.

        Raises:
            EmbeddingError: no word of a text is known.
        """
        texts = [term.name for term in terms]
        if self._index.info.text == "encoder":
            return self._index.embedder().embed_texts(texts)
        found = open_word_table().embed(texts)
        unknown = [
            text for text, known in zip(texts, have_direction(found), strict=True) if not known
        ]
        if unknown:
            raise EmbeddingError(f"no word of {unknown[0]!r} is known", where="--text")
        return found

    def from_center(self, vector: Float32[np.ndarray, "d"]) -> Float32[np.ndarray, "d"]:
        """The direction of an image from the center, where those of words are."""
        moved: Vector = unit_vectors((vector - self._index.center)[None])[0]
        return moved

    def nearest(
        self,
        directions: Float32[np.ndarray, "q d"],
        index: Index,
        *,
        limit: int,
        where: Filter | None,
    ) -> list[list[Hit]]:
        """The items whose images lie nearest to directions from the center.

        An engine ranks by q . x. The score here, (q . x - q . c) / |x - c|, differs by a divisor
        that is much alike for all images, so that the best are among the first of the engine's.
        """
        asked = min(len(index), max(CANDIDATES, 4 * limit))
        found: list[list[Hit]] = []
        for direction, hits in zip(
            directions, index.query(directions, limit=asked, where=where), strict=True
        ):
            if not hits:
                found.append([])
                continue
            images = index.vectors([hit.id for hit in hits])
            scores = centered_cosines(direction[None], images, index.center)[0]
            moved = [
                Hit(hit.id, float(score), hit.columns)
                for hit, score in zip(hits, scores, strict=True)
            ]
            found.append(sorted(moved, key=lambda hit: (-hit.score, hit.id))[:limit])
        return found

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    @cached_property
    def _pairs(self) -> WordPairs:
        table = open_word_table()
        own = known_pairs(self._index.generation, table)
        classes = self._index.embedder().class_directions()
        parts = [] if own is None else [own]
        if classes is not None:
            parts.insert(0, WordPairs.of_classes(classes.names, classes.directions, table))
        if not parts:
            raise EmbeddingError(
                "nothing joins words to these images: the model knows no classes by name, and the "
                "index keeps no labels and no texts",
                where=str(self._index.folder.path),
                fix="MODEL open_clip:PE-Core-B-16/meta   (has a text encoder)\n"
                "--label COLUMN or --text COLUMN when the index is built",
            )
        return parts[0] if len(parts) == 1 else parts[0].joined(parts[1])
