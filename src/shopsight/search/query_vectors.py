"""From what is searched for to vectors: the direction in which the answer should lie.

A term is a unit vector: of an image its embedding, of an item its stored one, of a product the mean
of its photos' made unit again, of words what the text encoder says. The direction of a query is the
unit sum of its terms, each times its weight. So `+1 red shoes -0.5 sandals` goes from shoes away
from sandals, and one image with two boxes is the mean of its two crops.

Words without a text encoder (`shopsight.words`) are directions from the mean of the catalog. Where
one of those is in a query, the vectors of its images are taken from that mean too, and so are those
of the items (`shopsight.search.find`): a sum of directions from two origins would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from shopsight.errors import ImageError, SearchError
from shopsight.search.index import Index
from shopsight.search.query_terms import Query, Term
from shopsight.search.word_route import WordRoute
from shopsight.unit_vectors import have_direction, unit_mean, unit_vectors

Vector = Float32[np.ndarray, "d"]


@dataclass(frozen=True, eq=False)
class Aim:
    """Where a query looks.

    Attributes:
        query: what was asked for.
        image: direction among image vectors; None where only texts are looked at.
        text: direction among text vectors; None where those are not looked at.
        by_words: `image` is a direction from the mean of the catalog, see the module.
        left_out: items that are no answer: what is searched for itself.
        error: why the query has no direction; None where it has one.
    """

    query: Query
    image: Vector | None = None
    text: Vector | None = None
    by_words: bool = False
    left_out: frozenset[str] = field(default_factory=frozenset)
    error: ImageError | None = None


def aims_of(
    queries: Sequence[Query],
    index: Index,
    *,
    words: WordRoute,
    in_images: bool,
    in_texts: bool,
    embedded: dict[int, Vector | ImageError] | None = None,
) -> list[Aim]:
    """The directions of queries, in their order.

    Args:
        queries: what is searched for.
        index: whose space they go to.
        words: how words become vectors for this index.
        in_images: look at the images of items.
        in_texts: look at the texts of items, where a query consists of words.
        embedded: what the caller has embedded of the image terms, by the term's `id()`; None: the
            index's model embeds them.

    Raises:
        SearchError: an unknown id, terms that cancel each other, words that look at nothing.
        EmbeddingError: words without any way to understand them.
    """
    images = _image_vectors(queries, index) if embedded is None else embedded
    return [
        _aim(query, images, index, words, in_images=in_images, in_texts=in_texts)
        for query in queries
    ]


def _image_vectors(queries: Sequence[Query], index: Index) -> dict[int, Vector | ImageError]:
    """The embedding of each image term, or why there is none, by the term's identity."""
    terms = [term for query in queries for term in query.terms if term.kind == "image"]
    if not terms:
        return {}
    embedded = index.embedder().embed([term.value for term in terms])
    found: dict[int, Vector | ImageError] = {}
    for term, one in zip(terms, embedded, strict=True):
        if one.vector is None:
            found[id(term)] = ImageError("unreadable", one.error or "not readable", where=None)
        else:
            found[id(term)] = one.vector
    return found


def _aim(
    query: Query,
    images: dict[int, Vector | ImageError],
    index: Index,
    words: WordRoute,
    *,
    in_images: bool,
    in_texts: bool,
) -> Aim:
    only_words = all(term.kind == "text" for term in query.terms)
    by_words = any(term.kind == "text" for term in query.terms) and not index.info.space.has_text
    vectors, left_out = list[Vector](), set[str]()
    if in_images or not only_words:
        for term in query.terms:
            vector = _term_vector(term, images, index, words, left_out)
            if isinstance(vector, ImageError):
                return Aim(query, error=vector)
            vectors.append(
                words.from_center(vector) if by_words and term.kind != "text" else vector
            )
    texts = only_words and in_texts
    return Aim(
        query,
        image=_sum(query, vectors) if vectors else None,
        text=_sum(query, list(words.text_vectors(query.terms))) if texts else None,
        by_words=by_words,
        left_out=frozenset(left_out),
    )


def _term_vector(
    term: Term,
    images: dict[int, Vector | ImageError],
    index: Index,
    words: WordRoute,
    left_out: set[str],
) -> Vector | ImageError:
    if term.kind == "image":
        return images[id(term)]
    if term.kind == "text":
        return words.image_direction(term.name)
    ids = index.resolve(term.name)
    left_out.update(ids)
    return unit_mean(index.vectors(ids))


def _sum(query: Query, vectors: Sequence[Vector]) -> Vector:
    weights = np.array([term.weight for term in query.terms], np.float64)
    total = (weights[:, None] * np.stack(vectors).astype(np.float64)).sum(axis=0, keepdims=True)
    if np.linalg.norm(total) < 1e-6 or not have_direction(total).all():
        raise SearchError(
            "the terms cancel each other: no direction is left to look in",
            where=query.name,
            fix="change a --weight",
        )
    found: Vector = unit_vectors(total)[0]
    return found
