"""Related products: for each product of an index the nearest others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from shopsight.search.answers import Answer
from shopsight.search.find import SearchOptions
from shopsight.search.grouping import enough_hits, grouped
from shopsight.search.index import Index
from shopsight.unit_vectors import unit_vectors
from shopsight.vector_engines.filters import HasId, Not, both

PRODUCTS_AT_ONCE = 256


def related(index: Index, options: SearchOptions) -> Iterator[Answer]:
    """The nearest others of each product, or of each image where there are no products.

    A product's direction is the mean of its photos; these are no answer. Products are in the order
    of their names; only those of which an item passes the filter are others.
    """
    units = _units(index, by_product=options.by_product)
    for start in range(0, units.height, PRODUCTS_AT_ONCE):
        for name, ids in units.slice(start, PRODUCTS_AT_ONCE).iter_rows():
            yield _others(index, name, ids, options)


def count_units(index: Index, *, by_product: bool) -> int:
    """How many answers `related` gives."""
    return _units(index, by_product=by_product).height


def _units(index: Index, *, by_product: bool) -> pl.DataFrame:
    """The name of each unit, and the ids of its items."""
    items = index.items(["product"])
    unit = pl.coalesce("product", "id") if by_product else pl.col("id")
    return items.group_by(unit.alias("unit"), maintain_order=True).agg("id").sort("unit")


def _others(index: Index, name: str, ids: list[str], options: SearchOptions) -> Answer:
    query = unit_vectors(index.vectors(ids).mean(axis=0, keepdims=True))
    where = both(options.where, Not(HasId(frozenset(ids))))
    (hits,) = enough_hits(
        lambda limit: index.query(query, limit=limit, where=where),
        top=options.top,
        most=len(index),
        by_product=options.by_product,
    )
    results = grouped(hits, by_product=options.by_product)[: options.top]
    best = results[0].score if results else None
    floor = -np.inf if options.min_score is None else options.min_score
    near = tuple(one for one in results if one.score >= floor)
    return Answer(name, near, best, min_score=options.min_score)
