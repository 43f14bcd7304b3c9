"""What is searched for: images, words and ids, each a query of its own or all of them one.

Terms have an order: images, then words, then ids, each as they were given. Weights belong to terms
in this order, boxes to images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shopsight.errors import SearchError
from shopsight.images.model_input import Box
from shopsight.inference.image_stream import NamedImage, asked_boxes
from shopsight.text import counted

TermKind = Literal["image", "text", "id"]
MOST_CHARACTERS = 10_000
"""Of one text: more is a file by mistake, and every answer repeats it."""
WHOLE = "none"
"""In place of a box: the whole image."""


@dataclass(frozen=True)
class Term:
    """One thing to look for.

    Attributes:
        kind: what `value` is.
        value: an image, words, or the id of an item or a product.
        weight: of a combined query; negative: the less like it, the better.
    """

    kind: TermKind
    value: str | NamedImage
    weight: float = 1.0

    @property
    def name(self) -> str:
        """For messages and tables."""
        return self.value if isinstance(self.value, str) else self.value.source


@dataclass(frozen=True)
class Query:
    """One search.

    Attributes:
        terms: whose directions are added, by their weights.
    """

    terms: tuple[Term, ...]

    @property
    def name(self) -> str:
        """For messages and tables; of several terms with their weights where one is not 1."""
        if len(self.terms) == 1:
            return self.terms[0].name
        if all(term.weight == 1.0 for term in self.terms):
            return " + ".join(term.name for term in self.terms)
        return " ".join(f"{term.weight:+g} {term.name}" for term in self.terms)


def build_queries(
    images: Sequence[NamedImage] = (),
    texts: Sequence[str] = (),
    ids: Sequence[str] = (),
    *,
    combine: bool = False,
    weights: Sequence[float] = (),
    boxes: Sequence[Box | None] = (),
) -> list[Query]:
    """The queries that the arguments describe.

    Args:
        images: each with the box that its table gives it, if any.
        texts: words.
        ids: items or products of the index.
        combine: make one query of all of them.
        weights: of the terms in order; those that are left out are 1.
        boxes: of the images in order; those that are left out change nothing.

    Raises:
        SearchError: nothing to look for, or more weights or boxes than there is to weigh.
    """
    if not (images or texts or ids):
        raise SearchError(
            "nothing to look for",
            fix='shopsight search INDEX IMAGE\nshopsight search INDEX --text "red leather boots"',
        )
    if len(boxes) > len(images):
        raise SearchError(
            f"{counted(len(boxes), 'box')} for {counted(len(images), 'image')}",
            where="--box",
            fix=f"one --box x,y,w,h for each image, in order; --box {WHOLE} for a whole one",
        )
    blank = [text for text in texts if not text.strip()]
    if blank:
        raise SearchError("no words in it", where="--text")
    longest = max(map(len, texts), default=0)
    if longest > MOST_CHARACTERS:
        raise SearchError(
            f"a text of {longest:,} characters; the most are {MOST_CHARACTERS:,}", where="--text"
        )
    boxed = [
        replace(image, box=box, boxed="asked") for image, box in zip(images, boxes, strict=False)
    ]
    others = asked_boxes(images[len(boxed) :])
    terms = [Term("image", image) for image in [*boxed, *others]]
    terms += [Term("text", text) for text in texts]
    terms += [Term("id", one) for one in ids]
    if not combine:
        if weights:
            raise SearchError(
                "weights are of the terms of one query, and each term is a query of its own",
                where="--weight",
                fix="add --combine",
            )
        return [Query((term,)) for term in terms]
    return [Query(_weighted(terms, weights))]


def _weighted(terms: Sequence[Term], weights: Sequence[float]) -> tuple[Term, ...]:
    if len(weights) > len(terms):
        raise SearchError(
            f"{counted(len(weights), 'weight')} for {counted(len(terms), 'term')}",
            where="--weight",
            fix="one --weight for each image, text and id, in this order",
        )
    if not all(map(math.isfinite, weights)):
        raise SearchError("a weight is a finite number", where="--weight")
    padded = [*weights, *([1.0] * (len(terms) - len(weights)))]
    if not any(padded):
        raise SearchError("all weights are 0: nothing is left to look for", where="--weight")
    return tuple(replace(term, weight=weight) for term, weight in zip(terms, padded, strict=True))


def parse_box(text: str) -> Box | None:
    """Read `x,y,w,h` in pixels of the upright image; `none` is the whole image.

    Raises:
        SearchError: it is not of this form, or has no area.
    """
    if text.strip().lower() == WHOLE:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise SearchError(
            f"{text!r} is not a box",
            where="--box",
            fix="--box 40,20,300,300   (left, top, width and height, in pixels)",
        )
    box = Box(*values)
    if box.w <= 0 or box.h <= 0:
        raise SearchError(f"a box of {box.w:g} x {box.h:g} pixels has no area", where="--box")
    return box
