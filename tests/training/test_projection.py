"""The layer on kept embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.training.projection import (
    Projection,
    ProjectionSettings,
    fit_projection,
)


def noisy_classes(
    rng: np.random.Generator, classes: int, each: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings whose classes lie in 4 of 32 directions, under noise in all others."""
    means = np.zeros((classes, 32))
    means[:, :4] = rng.normal(size=(classes, 4))
    noise = rng.normal(size=(classes * each, 32)) * np.r_[np.full(4, 0.3), np.full(28, 1.0)]
    target = np.repeat(np.arange(classes), each)
    return (means[target] + noise + 2.0).astype(np.float32), target


def nearest_is_right(vectors: np.ndarray, target: np.ndarray) -> float:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return float((target[scores.argmax(1)] == target).mean())


def test_a_layer_finds_the_directions_that_tell_classes_apart_unseen_ones_too() -> None:
    rng = np.random.default_rng(0)
    embeddings, target = noisy_classes(rng, 20, 40)
    unseen, unseen_target = noisy_classes(rng, 10, 40)
    settings = ProjectionSettings(centered=True, penalty=0.0, margin=0.2)
    layer = fit_projection(embeddings, target, settings, seed=0, passes=40).projection
    before = Projection.identity(32)
    for rows, right, least in ((embeddings, target, 0.2), (unseen, unseen_target, 0.1)):
        gain = nearest_is_right(layer.vectors(rows), right) - nearest_is_right(
            before.vectors(rows), right
        )
        assert gain > least


@pytest.mark.parametrize("centered", [False, True])
def test_the_start_ranks_as_the_model_does(centered: bool) -> None:
    rng = np.random.default_rng(1)
    embeddings, target = noisy_classes(rng, 5, 8)
    settings = ProjectionSettings(centered=centered, penalty=0.0)
    start = fit_projection(embeddings, target, settings, seed=0, judge=lambda _: 0.0)
    assert start.passes == 0
    shifted = embeddings - (embeddings.mean(0) if centered else 0.0)
    wanted = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    np.testing.assert_allclose(start.projection.vectors(embeddings), wanted, atol=1e-5)


def test_the_judge_decides_how_long() -> None:
    rng = np.random.default_rng(2)
    embeddings, target = noisy_classes(rng, 5, 20)
    scores = iter([0.1, 0.5, 0.9, 0.3, 0.2])
    settings = ProjectionSettings(centered=True, penalty=0.0)
    best = fit_projection(embeddings, target, settings, seed=0, judge=lambda _: next(scores))
    assert (best.passes, best.score) == (5, 0.9)


def test_a_penalty_keeps_the_layer_near_its_start() -> None:
    rng = np.random.default_rng(3)
    embeddings, target = noisy_classes(rng, 8, 20)
    moved = [
        np.linalg.norm(
            fit_projection(
                embeddings,
                target,
                ProjectionSettings(centered=False, penalty=penalty),
                seed=0,
                passes=10,
            ).projection.weight
            - np.eye(32)
        )
        for penalty in (0.0, 1.0)
    ]
    assert moved[1] < 0.5 * moved[0]


def test_the_same_seed_gives_the_same_layer() -> None:
    rng = np.random.default_rng(4)
    embeddings, target = noisy_classes(rng, 4, 100)
    settings = ProjectionSettings(centered=True, penalty=0.0, margin=0.2)
    first, again, other = (
        fit_projection(embeddings, target, settings, seed=seed, passes=2).projection.weight
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
