"""The nearest paths against a slow version, and what shops write for what exists."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest

from shopsight.label_tree import path_parts
from shopsight.taxonomy.nearest import LEAST_SIMILARITY, NearestPaths, _Texts, _trigrams

PATHS = (
    "Apparel & Accessories",
    "Apparel & Accessories > Jewelry",
    "Apparel & Accessories > Jewelry > Earrings",
    "Apparel & Accessories > Jewelry > Rings",
    "Apparel & Accessories > Shoes",
    "Apparel & Accessories > Shoes > Boots",
    "Hardware > Building Materials > Handrails & Railing Systems",
    "Hardware > Chain, Wire & Rope > Chains",
    "Sporting Goods > Fishing > Split Rings",
    "Pets > Dog Supplies > Dog Shoes",
)


def slow_cosine(a: str, b: str, texts: tuple[str, ...]) -> float:
    """Of two texts, trigram by trigram, in plain Python."""
    having = Counter(one for text in texts for one in set(_trigrams(text)))

    def weights(text: str) -> dict[str, float]:
        return {
            one: count * (math.log((1 + len(texts)) / (1 + having[one])) + 1)
            for one, count in Counter(_trigrams(text)).items()
            if one in having
        }

    x, y = weights(a), weights(b)
    length = math.hypot(*x.values()) * math.hypot(*y.values())
    return sum(x[one] * y.get(one, 0.0) for one in x) / length if length else 0.0


def test_cosines_are_those_of_the_slow_version() -> None:
    asked = ["Jewellery > Ring", "Shoes", "Hand rails", "xyz", ""]
    found = _Texts(PATHS).cosines(asked)
    expected = [[slow_cosine(one, path, PATHS) for path in PATHS] for one in asked]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Apparel & Accessories > Jewelery > Ring", "Apparel & Accessories > Jewelry > Rings"),
        ("Jewelry > Rings", "Apparel & Accessories > Jewelry > Rings"),
        ("apparel & accessories > SHOES", "Apparel & Accessories > Shoes"),
        ("Apparel &amp; Accessories > Jewelry", "Apparel & Accessories > Jewelry"),
        ("Rings", "Apparel & Accessories > Jewelry > Rings"),
        ("Pets > Shoes for dogs", "Pets > Dog Supplies > Dog Shoes"),
        ("Apparel & Accessories > Shoes > Böots", "Apparel & Accessories > Shoes > Boots"),
    ],
)
def test_what_is_written_and_what_is_meant(written: str, meant: str) -> None:
    (near,) = NearestPaths(PATHS).of([written])
    assert near[0] == meant
    assert len(near) <= 3


def test_nothing_is_near_what_shares_no_letters() -> None:
    assert NearestPaths(PATHS).of(["42", "", "xyzzy"]) == [(), (), ()]
    assert NearestPaths([]).of(["Rings"]) == [()]
    assert LEAST_SIMILARITY > 0


def test_ten_thousand_paths_for_hundreds_of_labels() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), 7)) for _ in range(2000)]
    paths = [
        " > ".join(words[at] for at in rng.integers(0, 2000, depth))
        for depth in rng.integers(1, 7, 10_000)
    ]
    began_s = time.perf_counter()
    nearest = NearestPaths(paths)
    asked = [path[:-1] + "x" for path in paths[:300]]
    found = nearest.of(asked, most=1)
    assert time.perf_counter() - began_s < 30
    right = [near[0] == path for near, path in zip(found, paths, strict=False) if near]
    assert np.mean(right) > 0.95
    assert all(len(path_parts(near[0])) for near in found)
