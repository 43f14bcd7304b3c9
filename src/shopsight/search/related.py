"""Related products: for each product of an index the nearest others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.search.answers import Answer
from shopsight.search.find import SearchOptions
from shopsight.search.grouping import Result, enough_hits, grouped
from shopsight.search.index import Index
from shopsight.unit_vectors import unit_mean

UNITS_AT_ONCE = 256
"""Whose vectors are in memory, and that the engine is asked for in one call."""


def all_units(index: Index, *, by_product: bool) -> pl.DataFrame:
    """Each product, or each image where there are no products or images are asked for.

    Returns:
        Columns `unit`, its name; `is_product`; and `id`, a list of its items; sorted by name.
    """
    items = index.items(["product"])
    is_product = pl.col("product").is_not_null() & by_product
    unit = pl.when(is_product).then("product").otherwise("id").alias("unit")
    units = items.group_by(unit, is_product.alias("is_product"), maintain_order=True).agg("id")
    return units.sort("unit", "is_product")


def related(index: Index, units: pl.DataFrame, options: SearchOptions) -> Iterator[Answer]:
    """The nearest others of each unit, in the order of `units`.

    A product's direction is the mean of its photos; these are no answer. Only products of which an
    item passes the filter are others.

    Args:
        index: that is searched.
        units: from `all_units`.
        options: how many others, and which.
    """
    for some in units.iter_slices(UNITS_AT_ONCE):
        yield from _related(index, some, options)


def _related(index: Index, units: pl.DataFrame, options: SearchOptions) -> Iterator[Answer]:
    directions = _directions(index, units)
    hits = enough_hits(
        lambda limit: index.query(directions, limit=limit, where=options.where),
        # A unit is the nearest to itself, mostly, and no answer.
        top=options.top + 1,
        most=len(index),
        by_product=options.by_product,
    )
    for own, found in zip(units.select("is_product", "unit").rows(), hits, strict=True):
        results = grouped(found, by_product=options.by_product)
        yield _answer([one for one in results if one.key != own], own[1], options)


def _directions(index: Index, units: pl.DataFrame) -> Float32[np.ndarray, "u d"]:
    """The mean direction of the items of each unit."""
    vectors = index.vectors(units["id"].explode().to_list())
    ends = np.cumsum(units["id"].list.len().to_numpy())
    return np.stack([unit_mean(own) for own in np.split(vectors, ends[:-1])])


def _answer(others: list[Result], name: str, options: SearchOptions) -> Answer:
    results = others[: options.top]
    floor = -np.inf if options.min_score is None else options.min_score
    near = tuple(one for one in results if one.score >= floor)
    best = results[0].score if results else None
    return Answer(name, near, best, min_score=options.min_score)
