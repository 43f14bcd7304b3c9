from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, Float64

from shopsight.errors import MetricError
from shopsight.metrics.rerank import K1, K2, neighbors_for, rerank_distances, reranked
from shopsight.unit_vectors import unit_vectors


def slow_distances(
    points: Float32[np.ndarray, "m d"], k1: int, k2: int, weight: float
) -> Float64[np.ndarray, "n"]:
    """The paper's steps with sets, one image after another; points[0] is the query."""
    cosines = (points @ points.T).astype(np.float64)
    distance = [[max(0.0, 2 - 2 * c) if i != j else 0.0 for j, c in enumerate(row)]
                for i, row in enumerate(cosines)]  # fmt: skip
    count = len(points)
    order = [sorted(range(count), key=lambda j, i=i: (distance[i][j], j)) for i in range(count)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    encoded = np.zeros((count, count))
    for i in range(count):
        whole = reciprocal(i, k1)
        expanded = set(whole)
        for j in whole:
            half = reciprocal(j, round(k1 / 2))
            if len(half & whole) > 2 / 3 * len(half):
                expanded |= half
        for j in expanded:
            encoded[i, j] = np.exp(-distance[i][j])
        encoded[i] /= encoded[i].sum()
    averaged = np.stack(
        [np.mean([encoded[j] for j in order[i][:k2]], axis=0) for i in range(count)]
    )
    found = []
    for g in range(1, count):
        least = np.minimum(averaged[0], averaged[g]).sum()
        most = np.maximum(averaged[0], averaged[g]).sum()
        found.append((1 - weight) * (1 - least / most) + weight * distance[0][g])
    return np.array(found)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 25), st.integers(1, 8))
def test_distances_are_those_of_the_paper(seed: int, count: int, k1: int, k2: int) -> None:
    rng = np.random.default_rng(seed)
    points = unit_vectors(rng.normal(size=(count + 1, 6)) + 2 * rng.normal(size=(1, 6)))
    found = rerank_distances(points[0], points[1:], k1=k1, k2=k2, weight=0.3)
    np.testing.assert_allclose(found, slow_distances(points, k1, k2, 0.3), atol=1e-6)


def right_first(photos: int) -> tuple[float, float]:
    """Of the first places, the fraction with the query's product: as they were, and re-ranked."""
    rng = np.random.default_rng(0)
    centers = unit_vectors(rng.normal(size=(60, 24)))
    points = unit_vectors(
        np.repeat(centers, photos, axis=0) + 0.16 * rng.normal(size=(60 * photos, 24))
    )
    products = np.repeat(np.arange(60), photos)
    before, after = [], []
    for row in range(0, len(points), photos):
        others = np.delete(np.arange(len(points)), row)
        near = others[np.argsort(-(points[others] @ points[row]))[:60]]
        order = near[reranked(points[row], points[near], k1=photos, k2=max(2, photos // 3))]
        for kept, found in ((before, near), (after, order)):
            kept.append(np.mean(products[found[: photos - 1]] == products[row]))
    return float(np.mean(before)), float(np.mean(after))


def test_it_helps_with_several_photos_of_a_product() -> None:
    before, after = right_first(10)
    assert after > before + 0.03


def test_neighbors_follow_the_photos_of_a_product() -> None:
    assert [neighbors_for(photos) for photos in (1, 3, 6.4)] == [(6, 2)] * 3
    assert neighbors_for(10) == (10, 3)
    assert neighbors_for(20) == neighbors_for(500) == (K1, K2)


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"weight": 1.5}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    points = unit_vectors(np.eye(3, dtype=np.float32))
    with pytest.raises(MetricError, match="re-ranking takes"):
        reranked(points[0], points[1:], **wrong)  # type: ignore[arg-type]
