"""From hits, which are images, to answers, which are products.

An index holds a vector for each photo. A product is as near to a query as its nearest photo, and
stands once in the answer, however many of its photos are near. Several photos of the first products
may fill the list of hits, so it grows until there are enough products or no more hits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shopsight.vector_engines.engine import Hit

FETCHED_PER_RESULT = 3
"""Hits to ask for at first, for each product that is wanted."""


@dataclass(frozen=True)
class Result:
    """A product in an answer, or an image where there are no products.

    Attributes:
        unit: the product's name, or the item's id where it has none.
        is_product: which of both; a product and an item may have the same name.
        best: its best hit.
        score: of its best hit, or what a later step made of it.
        photos: how many of its photos are among the hits.
    """

    unit: str
    is_product: bool
    best: Hit
    score: float
    photos: int = 1

    @property
    def key(self) -> tuple[bool, str]:
        """What no other result shares."""
        return self.is_product, self.unit

    def as_row(self, rank: int) -> dict[str, Any]:
        """Plain values: its product, if it is one, and its best image."""
        columns = {
            name: value
            for name, value in self.best.columns.items()
            if name not in ("product", "image") and value is not None
        }
        return {
            "rank": rank,
            "id": self.best.id,
            "product": self.unit if self.is_product else None,
            "score": round(float(self.score), 6),
            "photos": self.photos,
            "image": self.best.columns.get("image"),
            "columns": columns,
        }


def unit_of(hit: Hit, *, by_product: bool) -> tuple[bool, str]:
    """Whether a hit counts for a product, and the name of what it counts for."""
    product = hit.columns.get("product") if by_product else None
    return (False, hit.id) if product is None else (True, product)


def grouped(hits: Sequence[Hit], *, by_product: bool) -> list[Result]:
    """One result for each unit, in the order of its best hit; hits come best first."""
    first: dict[tuple[bool, str], Hit] = {}
    photos: dict[tuple[bool, str], int] = {}
    for hit in hits:
        unit = unit_of(hit, by_product=by_product)
        first.setdefault(unit, hit)
        photos[unit] = photos.get(unit, 0) + 1
    return [
        Result(name, is_product, hit, hit.score, photos[is_product, name])
        for (is_product, name), hit in first.items()
    ]


def enough_hits(
    fetch: Callable[[int], list[list[Hit]]], *, top: int, most: int, by_product: bool
) -> list[list[Hit]]:
    """Hits of several queries that hold `top` units each, or all that there are.

    Args:
        fetch: gives the hits of all queries, at most so many of each.
        top: units that are wanted.
        most: items in the index.
        by_product: units are products.
    """
    limit = min(most, FETCHED_PER_RESULT * top if by_product else top)
    while True:
        found = fetch(limit)
        short = [
            hits
            for hits in found
            # Fewer than asked for: the filter lets no more pass.
            if len(hits) >= limit and len(grouped(hits, by_product=by_product)) < top
        ]
        if not short or limit >= most:
            return found
        limit = min(most, 2 * limit)
