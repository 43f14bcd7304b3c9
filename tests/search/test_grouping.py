from __future__ import annotations

from shopsight.search.grouping import Result, enough_hits, grouped
from shopsight.search.rank_fusion import fused
from shopsight.vector_engines.engine import Hit


def hit(name: str, score: float, product: str | None = None) -> Hit:
    return Hit(name, score, {"product": product, "label": "shoe"})


HITS = [
    hit("a1", 0.9, "A"),
    hit("a2", 0.8, "A"),
    hit("lone", 0.7),
    hit("b1", 0.6, "B"),
    hit("a3", 0.5, "A"),
    hit("A", 0.4),
]


def test_a_product_stands_once_by_its_best_photo() -> None:
    results = grouped(HITS, by_product=True)
    assert [(one.unit, one.best.id, one.score, one.photos) for one in results] == [
        ("A", "a1", 0.9, 3),
        ("lone", "lone", 0.7, 1),
        ("B", "b1", 0.6, 1),
        ("A", "A", 0.4, 1),  # An item that is called like a product is another thing.
    ]
    assert [one.is_product for one in results] == [True, False, True, False]
    assert [one.unit for one in grouped(HITS, by_product=False)] == [one.id for one in HITS]


def test_hits_are_fetched_until_there_are_enough_products() -> None:
    crowd = [hit(f"a{n:03d}", 1 - n / 1000, "A") for n in range(500)] + [hit("b", 0.1, "B")]
    asked = []

    def fetch(limit: int) -> list[list[Hit]]:
        asked.append(limit)
        return [crowd[:limit]]

    (found,) = enough_hits(fetch, top=2, most=len(crowd), by_product=True)
    assert [one.unit for one in grouped(found, by_product=True)] == ["A", "B"]
    assert asked == [6, 12, 24, 48, 96, 192, 384, 501]


def test_fetching_ends_where_a_filter_lets_no_more_pass() -> None:
    asked = []

    def fetch(limit: int) -> list[list[Hit]]:
        asked.append(limit)
        return [HITS[:limit]]

    enough_hits(fetch, top=5, most=1_000_000, by_product=True)
    assert asked == [15]


def test_ranks_are_fused() -> None:
    first = [Result("x", False, hit("x", 0.9), 0.9), Result("y", False, hit("y", 0.8), 0.8)]
    second = [Result("y", False, hit("y", 0.3), 0.3), Result("z", False, hit("z", 0.2), 0.2)]
    merged = fused([first, second])
    assert [one.unit for one in merged] == ["y", "x", "z"]
    # 1 / 61 twice would be 1: y is second in the first list.
    assert abs(merged[0].score - (1 / 62 + 1 / 61) / (2 / 61)) < 1e-12
    assert fused([first])[0].score == 1.0
