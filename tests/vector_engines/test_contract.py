"""What every engine must do, each against the plain reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopsight.errors import EmbeddingError, SearchError
from shopsight.vector_engines.engine import EngineSettings, Hit, Points, VectorEngine
from shopsight.vector_engines.filters import (
    And,
    Compare,
    Filter,
    HasId,
    In,
    IsNull,
    Not,
    Or,
    Schema,
)
from shopsight.vector_engines.numpy_engine import NumpyEngine
from tests.vector_engines.any_filter import any_columns, any_filter
from tests.vector_engines.engines import (
    DIFFERS,
    ENGINES,
    SETTINGS,
    Make,
    some_points,
    unit,
)

POINTS = some_points(240)


pytestmark = pytest.mark.enable_socket  # the stub server is on this machine


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    why = DIFFERS.get(request.param, {}).get(request.node.name)
    if why:
        request.applymarker(pytest.mark.xfail(reason=why, strict=True))
    with ENGINES[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def engine(make: Make) -> Iterator[VectorEngine]:
    made = make(SETTINGS)
    made.upsert(POINTS)
    yield made
    made.close()


@pytest.fixture
def reference() -> NumpyEngine:
    made = NumpyEngine(SETTINGS)
    made.upsert(POINTS)
    return made


def assert_same(found: list[list[Hit]], expected: list[list[Hit]]) -> None:
    assert [[hit.id for hit in hits] for hits in found] == [
        [hit.id for hit in hits] for hits in expected
    ]
    for hits, wanted in zip(found, expected, strict=True):
        for hit, one in zip(hits, wanted, strict=True):
            assert hit.score == pytest.approx(one.score, abs=1e-5)
            assert hit.columns == one.columns


FILTERS: dict[str, Filter | None] = {
    "none": None,
    "less": Compare("price", "<", 20.0),
    "equal number": Compare("price", "==", 275 / 3),
    "other number": Compare("price", "!=", 1.0),
    "at most a number of 17 digits": Compare("price", "<=", 91.66666666666667),
    "numbers": In("price", (1 / 3, 2 / 3, 7.0)),
    "integer": Compare("stock", "==", 5),
    "other integer": Compare("stock", "!=", 5),
    "integers": In("stock", (1, 2, 3)),
    "at least": Compare("stock", ">=", 230),
    "true": Compare("sale", "==", True),
    "not equal true": Compare("sale", "!=", True),
    "not true": Not(Compare("sale", "==", True)),
    "booleans": In("sale", (True, False)),
    "word": Compare("label", "==", "Hüte"),
    "empty word": Compare("label", "==", ""),
    "other word": Compare("label", "!=", "Hüte"),
    "words": In("label", ("Hüte", "Schuhe", "nothing")),
    "in a list": Compare("tags", "==", "rot"),
    "another in a list": Compare("tags", "!=", "rot"),
    "not in a list": Not(Compare("tags", "==", "rot")),
    "null": IsNull("price"),
    "null list": IsNull("tags"),
    "not null": Not(IsNull("sale")),
    "and": And((Compare("sale", "==", True), Compare("price", ">", 10.0))),
    "or": Or((Compare("stock", "==", 5), IsNull("price"))),
    "and of nothing": And(()),
    "or of nothing": Or(()),
    "nested": Not(Or((And((IsNull("tags"), Compare("stock", "<", 100))), In("stock", (200,))))),
    "ids": HasId(frozenset(POINTS.ids[:4])),
    "not ids": Not(HasId(frozenset(POINTS.ids[:200]))),
    "no ids": HasId(frozenset()),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_mean_the_same(name: str, engine: VectorEngine, reference: NumpyEngine) -> None:
    where = FILTERS[name]
    queries = unit(np.random.default_rng(1), 3, 16)
    assert engine.count(where) == reference.count(where)
    assert_same(
        engine.query(queries, limit=12, where=where),
        reference.query(queries, limit=12, where=where),
    )


HARD_NAMES: Schema = {
    "price": "number",
    "a.b": "integer",
    "Größe (cm)": "number",
    'say "x"': "text",
    "tags[0]": "texts",
    "_id": "text",
    "_1": "boolean",
}
"""Names that are paths, quotes or keys of an engine's own."""


def test_any_filter_means_the_same(make: Make) -> None:
    made = replace(SETTINGS, schema=HARD_NAMES)
    engine, reference = make(made), NumpyEngine(made)
    points, rng = some_points(24), np.random.default_rng(7)
    query = unit(rng, 1, 16)

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(any_columns(HARD_NAMES, 24), st.lists(any_filter(HARD_NAMES), min_size=8, max_size=8))
    def check(columns: pl.DataFrame, filters: list[Filter]) -> None:
        for one in (engine, reference):
            one.upsert(Points(points.ids, points.vectors, columns))
        for where in filters:
            assert engine.count(where) == reference.count(where)
            assert_same(
                engine.query(query, limit=24, where=where),
                reference.query(query, limit=24, where=where),
            )

    check()
    engine.close()


def test_texts_are_searched_apart(engine: VectorEngine, reference: NumpyEngine) -> None:
    queries = unit(np.random.default_rng(2), 2, 8)
    found = engine.query(queries, limit=300, vector="text")
    assert_same(found, reference.query(queries, limit=300, vector="text"))
    assert len(found[0]) == 160  # The others have no text.


def test_points_are_replaced_and_deleted(engine: VectorEngine, reference: NumpyEngine) -> None:
    again = some_points(30, seed=5)
    for one in (engine, reference):
        one.upsert(again)
        one.delete([*POINTS.ids[10:60], "never there"])
        one.delete([])
    assert engine.count() == 190
    queries = unit(np.random.default_rng(3), 3, 16)
    assert_same(engine.query(queries, limit=190), reference.query(queries, limit=190))


def test_equal_scores_are_in_the_order_of_ids(make: Make) -> None:
    engine = make(SETTINGS)
    order = np.random.default_rng(0).permutation(60)
    same = np.repeat(unit(np.random.default_rng(4), 1, 16), 60, axis=0)
    texts = np.repeat(unit(np.random.default_rng(4), 1, 8), 60, axis=0)
    points = some_points(60)
    shuffled = [points.ids[row] for row in order]
    engine.upsert(Points(shuffled, {"image": same, "text": texts}, points.columns))
    (hits,) = engine.query(same[:1], limit=7)
    assert [hit.id for hit in hits] == sorted(points.ids)[:7]
    engine.close()


def test_all_points_come_back(engine: VectorEngine) -> None:
    found = {}
    for points in engine.scroll(batch=100):
        for row, item in enumerate(points.ids):
            found[item] = (points.vectors["image"][row], points.vectors["text"][row])
            expected = POINTS.columns.row(POINTS.ids.index(item), named=True)
            assert points.columns.row(row, named=True)["stock"] == expected["stock"]
    assert set(found) == set(POINTS.ids)
    images = np.stack([found[item][0] for item in POINTS.ids])
    np.testing.assert_allclose(images, POINTS.vectors["image"], atol=1e-5)
    texts = np.stack([found[item][1] for item in POINTS.ids])
    np.testing.assert_allclose(texts, POINTS.vectors["text"], atol=1e-5)


def test_a_graph_finds_what_exact_search_finds(make: Make) -> None:
    engine = make(SETTINGS)
    engine.upsert(some_points(600))
    engine.flush()
    engine.optimize()
    assert engine.unindexed() == 0
    queries = unit(np.random.default_rng(6), 20, 16)
    exact = engine.query(queries, limit=10, exact=True)
    found = engine.query(queries, limit=10)
    pairs = zip(found, exact, strict=True)
    shared = [len({h.id for h in a} & {h.id for h in b}) for a, b in pairs]
    assert np.mean(shared) >= 9.5
    engine.close()


@pytest.mark.parametrize("storage", ["f16", "int8", "turbo8"])
def test_smaller_storage_finds_nearly_the_same(make: Make, storage: str) -> None:
    engine = make(replace(SETTINGS, storage=storage))  # type: ignore[arg-type]
    engine.upsert(some_points(600))
    engine.optimize()
    queries = some_points(600).vectors["image"][:50]
    found = engine.query(queries, limit=1)
    assert [hits[0].id for hits in found] == POINTS.ids[:50]
    engine.close()


def test_an_empty_collection_answers(make: Make) -> None:
    engine = make(SETTINGS)
    assert engine.query(unit(np.random.default_rng(0), 2, 16), limit=5) == [[], []]
    assert engine.count() == engine.unindexed() == 0
    assert list(engine.scroll()) == []
    engine.optimize()
    engine.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_vectors_without_direction_are_refused(engine: VectorEngine, value: float) -> None:
    bad = np.full((1, 16), value, np.float32)
    with pytest.raises(EmbeddingError, match="no direction"):
        engine.query(bad, limit=1)
    points = some_points(2, start=1000)
    points.vectors["image"][1] = value
    with pytest.raises(EmbeddingError, match="no direction"):
        engine.upsert(points)
    assert engine.count() == len(POINTS.ids)  # Nothing of the batch is stored.


def test_vectors_of_another_width_are_refused(engine: VectorEngine) -> None:
    with pytest.raises(EmbeddingError, match="8 numbers for an index of 16"):
        engine.query(unit(np.random.default_rng(0), 1, 8), limit=1)
    with pytest.raises(EmbeddingError, match="16 numbers for an index of 8"):
        engine.query(unit(np.random.default_rng(0), 1, 16), limit=1, vector="text")


def test_a_filter_on_a_missing_column_is_refused(engine: VectorEngine) -> None:
    with pytest.raises(SearchError, match="keeps no column 'size'"):
        engine.count(Compare("size", "==", 1))


def test_an_edge_collection_is_opened_again(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_edge")
    from shopsight.vector_engines.edge_engine import create_edge, open_edge

    engine = create_edge(tmp_path, EngineSettings({"image": 16}, {"stock": "integer"}))
    points = some_points(50)
    few = Points(points.ids, {"image": points.vectors["image"]}, points.columns.select("stock"))
    engine.upsert(few)
    engine.flush()
    engine.close()
    left = tmp_path / "shard" / "temp_segments" / "killed"
    left.mkdir(parents=True)
    again = open_edge(tmp_path)
    assert not left.exists()
    assert again.count() == 50
    assert again.settings == engine.settings
    again.close()
