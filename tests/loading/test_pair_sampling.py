"""Batches of P classes with K images each, of different groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight.loading.class_sampling import copy_numbers
from shopsight.loading.pair_sampling import PairSampling

LABELS = np.repeat(np.arange(6), [40, 30, 20, 4, 3, 1])


def sampler(labels: np.ndarray = LABELS, **changes: Any) -> PairSampling:
    settings = {"groups": np.arange(len(labels)), "per_class": 4, "batch_size": 16}
    return PairSampling(labels, **(settings | {"lone_classes": False} | changes))


def packs(found: np.ndarray, *, batch: int = 16, each: int = 4) -> np.ndarray:
    return found.reshape(-1, batch // each, each)


def test_a_batch_is_of_different_classes_with_several_images_each() -> None:
    drawn = packs(sampler().sample(seed=3, epoch=0))
    assert len(drawn) == len(LABELS) // 16
    for batch in drawn:
        labels = LABELS[batch]
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0].tolist())) == 4


def test_all_classes_come_as_often_and_their_images_in_turn() -> None:
    labels = np.repeat(np.arange(50), 20)
    drawn = sampler(labels, batch_size=40).sample(seed=0, epoch=1)
    assert len(drawn) == len(labels)
    assert np.bincount(labels[drawn]).tolist() == [20] * 50
    assert np.bincount(drawn).max() == 1


def test_a_class_of_one_image_forms_no_pair() -> None:
    drawn = sampler().sample(seed=0, epoch=0)
    assert 5 not in LABELS[drawn]
    with_lone = [sampler(lone_classes=True).sample(seed=0, epoch=epoch) for epoch in range(4)]
    assert 5 in LABELS[np.concatenate(with_lone)]
    with pytest.raises(ValueError, match="no class has two images"):
        sampler(np.arange(10))


def test_images_of_a_pack_are_of_as_many_groups_as_there_are() -> None:
    """A class has one product of 30 photos and three of one."""
    labels = np.repeat([0, 1], 33)
    groups = np.tile(np.concatenate([np.zeros(30), [1, 2, 3]]).astype(np.int64), 2)
    chosen = sampler(labels, groups=groups, batch_size=8)
    for epoch in range(5):
        first = packs(chosen.sample(seed=0, epoch=epoch), batch=8)[0]
        assert [sorted(set(groups[pack].tolist())) for pack in first] == [[0, 1, 2, 3]] * 2


def test_fewer_classes_than_packs_come_again_and_their_copies_are_counted() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    drawn = sampler(labels).sample(seed=0, epoch=0)
    assert sorted(labels[packs(drawn)[0][:, 0]].tolist()) == [0, 0, 1, 1]
    pairs = set(zip(drawn.tolist(), copy_numbers(drawn).tolist(), strict=True))
    assert len(pairs) == len(drawn) == 16


@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=60),
    st.sampled_from([(4, 8), (2, 4), (3, 7)]),
    st.integers(0, 5),
)
def test_properties_of_any_draw(codes: list[int], sizes: tuple[int, int], seed: int) -> None:
    labels = np.array(codes)
    each, batch = sizes
    chosen = sampler(labels, per_class=each, batch_size=batch, lone_classes=True)
    drawn = chosen.sample(seed=seed, epoch=2)
    assert len(drawn) == max(1, len(codes) // batch) * batch
    assert drawn.tolist() == chosen.sample(seed=seed, epoch=2).tolist()
    assert set(drawn.tolist()) <= set(range(len(codes)))
    taken = np.bincount(labels[drawn], minlength=6)[np.bincount(labels, minlength=6) > 0]
    rest = batch % each
    # Packs of a class, of which those at a batch's end may be smaller.
    assert taken.max() - taken.min() <= 2 * each + (len(drawn) // batch) * rest
