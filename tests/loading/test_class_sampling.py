"""How often an epoch draws each image and each class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from shopsight.loading.class_sampling import ClassSampling, Sampling, copy_numbers

LONG_TAIL = np.repeat([0, 1, 2, 3], [700, 200, 90, 10])


def shares(sampling: Sampling, *, epochs: int = 1) -> list[float]:
    """Images of each class in an epoch."""
    chosen = ClassSampling(LONG_TAIL, num_classes=4, sampling=sampling)
    sampled = [LONG_TAIL[chosen.sample(seed=3, epoch=epoch)] for epoch in range(epochs)]
    return [float(count) / epochs for count in np.bincount(np.concatenate(sampled), minlength=4)]


def test_each_class_has_the_share_that_is_stated() -> None:
    assert shares("plain") == [700, 200, 90, 10]
    assert shares("balanced") == [250, 250, 250, 250]
    roots = np.sqrt([700, 200, 90, 10])
    assert shares("sqrt") == pytest.approx((1000 * roots / roots.sum()).tolist(), abs=1)


def test_plain_draws_each_image_once() -> None:
    chosen = ClassSampling(LONG_TAIL, num_classes=4, sampling="plain")
    assert chosen.sample(seed=0, epoch=5).tolist() == list(range(1000))
    assert chosen.expected.tolist() == [1.0] * 1000


def test_images_of_a_class_are_drawn_as_often_as_each_other() -> None:
    chosen = ClassSampling(LONG_TAIL, num_classes=4, sampling="balanced")
    times = np.bincount(chosen.sample(seed=0, epoch=0), minlength=1000)
    assert (np.abs(times - chosen.expected) < 1).all()
    assert times[-10:].tolist() == [25] * 10
    # A third of the largest class an epoch: over thirty of them all have had their turn.
    turns = sum(
        np.bincount(chosen.sample(seed=0, epoch=epoch), minlength=1000) for epoch in range(30)
    )
    assert turns[:700].min() >= 1
    assert turns[:700].mean() == pytest.approx(30 * 250 / 700, rel=1e-3)


def test_a_draw_belongs_to_the_seed_and_the_epoch() -> None:
    chosen = ClassSampling(LONG_TAIL, num_classes=4, sampling="sqrt")
    first = chosen.sample(seed=1, epoch=2)
    again = ClassSampling(LONG_TAIL, num_classes=4, sampling="sqrt").sample(seed=1, epoch=2)
    assert first.tolist() == again.tolist()
    assert first.tolist() != chosen.sample(seed=1, epoch=3).tolist()
    assert first.tolist() != chosen.sample(seed=2, epoch=2).tolist()


def test_several_labels_are_drawn_for_the_rarest() -> None:
    # 80 red, of which 4 are also hats; 10 blue; 10 without a label, sampled as if they were red.
    targets = np.zeros((100, 3), np.uint8)
    targets[:80, 0] = 1
    targets[:4, 1] = 1
    targets[80:90, 2] = 1
    chosen = ClassSampling(csr_array(targets), num_classes=3, sampling="balanced")
    weights = np.concatenate([np.full(4, 1 / 4), np.full(76, 1 / 80), [1 / 10] * 10, [1 / 80] * 10])
    assert chosen.expected == pytest.approx(100 * weights / weights.sum())
    times = np.bincount(chosen.sample(seed=0, epoch=0), minlength=100)
    assert (np.abs(times - chosen.expected) < 1).all()


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=200),
    st.sampled_from(["plain", "sqrt", "balanced"]),
    st.integers(0, 9),
)
def test_properties_of_any_draw(codes: list[int], sampling: Sampling, seed: int) -> None:
    targets = np.array(codes)
    chosen = ClassSampling(targets, num_classes=7, sampling=sampling)
    sampled = chosen.sample(seed=seed, epoch=0)
    assert len(sampled) == len(codes)
    assert sampled.tolist() == sorted(sampled.tolist())
    assert chosen.expected.sum() == pytest.approx(len(codes))
    wanted = np.bincount(targets, weights=chosen.expected, minlength=7)
    assert (np.abs(np.bincount(targets[sampled], minlength=7) - wanted) < 1 + 1e-6).all()
    pairs = list(zip(sampled.tolist(), copy_numbers(sampled).tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
