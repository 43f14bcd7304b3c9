"""Related products against a plain reference: every unit compared with every item."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.search.answers import Answer
from shopsight.search.find import SearchOptions
from shopsight.search.index import Index, open_index
from shopsight.search.related import UNITS_AT_ONCE, all_units, related
from shopsight.unit_vectors import unit_mean
from shopsight.vector_engines.filters import Compare
from tests.search.vectors import empty_index, random_items

pytest.importorskip("qdrant_edge")


def assert_nearest(
    index: Index, answers: list[Answer], options: SearchOptions, version: int
) -> None:
    """Each answer has the units whose nearest item is nearest to the mean of its own."""
    items, vectors = index.items(["product", "version"]), index.vectors()
    named = items["product"] if options.by_product else items["id"]
    passes = (items["version"] >= version).to_numpy()
    for answer in answers:
        own = (named == answer.query).to_numpy()
        scores = vectors @ unit_mean(vectors[own])
        others = pl.DataFrame({"unit": named, "score": scores}).filter(passes & ~own)
        best = others.group_by("unit").agg(pl.col("score").max()).sort("score", descending=True)
        found = {one.unit: one.score for one in answer.results}
        # The engine keeps float16: what is nearer by less may stand the other way round.
        np.testing.assert_allclose(list(found.values()), best["score"][: options.top], atol=2e-3)
        known = dict(best.iter_rows())
        np.testing.assert_allclose([known[unit] for unit in found], list(found.values()), atol=2e-3)


@pytest.mark.parametrize("by_product", [True, False])
def test_each_unit_has_its_nearest_others(tmp_path: Path, by_product: bool) -> None:
    count = 3 * UNITS_AT_ONCE + 30 if by_product else UNITS_AT_ONCE + 10
    empty_index(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        index.generation.write(random_items(range(count)))
        index.generation.write(random_items(range(0, count, 7), version=1))
        units = all_units(index, by_product=by_product)
        options = SearchOptions(top=4, by_product=by_product)
        for version, where in ((0, None), (1, Compare("version", "==", 1))):
            answers = list(related(index, units, replace(options, where=where)))
            assert [one.query for one in answers] == units["unit"].to_list()
            assert_nearest(index, answers, options, version)
        none = list(related(index, units, replace(options, min_score=1.01)))
        assert all(not one.results and one.best_score is not None for one in none)


def test_an_item_of_a_products_name_is_another_unit(tmp_path: Path) -> None:
    empty_index(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        items = random_items(range(4))
        items.table[3, "id"] = "P-0"
        items.table[3, "product"] = None
        index.generation.write(items)
        units = all_units(index, by_product=True)
        assert units.rows() == [
            ("P-0", False, ["P-0"]),
            ("P-0", True, ["item-00000", "item-00001", "item-00002"]),
        ]
        item, product = related(index, units, SearchOptions())
        assert [one.is_product for one in (*item.results, *product.results)] == [True, False]
