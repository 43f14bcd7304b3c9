from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shopsight.loading.counter_rng import Purpose, permutation, uniforms

SEEDS = st.integers(0, 2**70)
EPOCHS = st.integers(0, 10**6)
SAMPLES = st.lists(st.integers(0, 2**60), min_size=1, max_size=20).map(
    lambda ids: np.array(ids, np.int64)
)
PINNED_NUMBERS = [
    [0.13388626799368242, 0.3880310414193009],
    [0.17955790696573626, 0.25025214976826504],
]
PINNED_ORDER = [4, 1, 7, 2, 6, 3, 5, 0]


@given(SEEDS, EPOCHS, SAMPLES, st.data())
def test_a_number_is_the_same_in_any_batch(
    seed: int, epoch: int, samples: np.ndarray, data: st.DataObject
) -> None:
    whole = uniforms(seed, epoch, samples, 5)
    order = np.array(data.draw(st.permutations(range(len(samples)))))
    cut = data.draw(st.integers(0, len(samples)))
    np.testing.assert_array_equal(uniforms(seed, epoch, samples[order], 5), whole[order])
    parts = [uniforms(seed, epoch, part, 5) for part in (samples[:cut], samples[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(uniforms(seed, epoch, samples, 3), whole[:, :3])
    assert (whole >= 0).all()
    assert (whole < 1).all()


def test_numbers_are_uniform_and_uncorrelated() -> None:
    values = uniforms(3, 7, np.arange(100_000), 4)
    np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.005)
    np.testing.assert_allclose(values.var(axis=0), 1 / 12, atol=0.002)
    counts = np.histogram(values[:, 0], bins=50, range=(0, 1))[0]
    assert abs(counts - 2000).max() < 250
    # Positions, neighboring samples and neighboring epochs are independent of each other.
    assert abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.015
    assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.015
    later = uniforms(3, 8, np.arange(100_000), 1)
    assert abs(np.corrcoef(values[:, 0], later[:, 0])[0, 1]) < 0.015


def test_seed_epoch_and_purpose_each_matter() -> None:
    samples = np.arange(10)
    base = uniforms(0, 0, samples, 1)
    others = [
        uniforms(1, 0, samples, 1),
        uniforms(0, 1, samples, 1),
        uniforms(0, 0, samples, 1, purpose=Purpose.MIX),
        uniforms(0, 0, samples + 10, 1),
    ]
    assert all((base != other).all() for other in others)


def test_numbers_stay_the_same_between_versions() -> None:
    # A run that is resumed by a later version must continue with the same numbers.
    values = uniforms(0, 1, np.array([0, 5]), 2)
    assert values.tolist() == PINNED_NUMBERS
    assert permutation(0, 1, 8).tolist() == PINNED_ORDER


@given(SEEDS, EPOCHS, st.integers(0, 200))
def test_permutation_holds_each_number_once(seed: int, epoch: int, count: int) -> None:
    assert sorted(permutation(seed, epoch, count).tolist()) == list(range(count))


def test_permutation_changes_with_the_epoch() -> None:
    assert (permutation(0, 0, 100) != permutation(0, 1, 100)).any()
