from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight.loading.offline_augment import (
    KINDS,
    OfflineKind,
    apply_offline,
    concat,
    identity,
    offline_samples,
)
from shopsight.preprocess import WHITE


def photos(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, 48, 48, 3)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(image, (5, 5), 1.5) for image in noise])


def made(kind: OfflineKind, images: np.ndarray, *, seed: int = 0) -> np.ndarray:
    rows = np.arange(len(images))
    samples = replace(identity(rows), kinds=np.full(len(rows), 1 + KINDS.index(kind)))
    return apply_offline(images, samples, seed=seed, fill=WHITE)


def test_each_kind_gets_its_fraction_of_the_rows() -> None:
    rows = np.arange(5, 1005)
    extra = offline_samples(rows, kinds=KINDS, fraction=0.245, seed=0)
    assert len(extra) == 6 * 245
    for index in range(6):
        of_kind = extra.rows[extra.kinds == index + 1]
        assert len(of_kind) == 245
        assert len(set(of_kind.tolist())) == 245
        assert set(of_kind.tolist()) <= set(rows.tolist())
    assert len(set(extra.rows.tolist())) > 500, "the kinds choose rows apart from each other"
    everything = concat(identity(rows), extra)
    assert len(set(everything.ids.tolist())) == 1000 + 6 * 245
    np.testing.assert_array_equal(identity(rows).ids, rows)


@given(st.permutations(range(30)), st.integers(0, 5))
def test_the_choice_depends_on_seed_and_row_alone(order: list[int], seed: int) -> None:
    rows = np.arange(30)
    wanted = offline_samples(rows, kinds=("hflip", "noise"), fraction=0.3, seed=seed)
    got = offline_samples(rows[order], kinds=("hflip", "noise"), fraction=0.3, seed=seed)
    np.testing.assert_array_equal(got.rows, wanted.rows)
    np.testing.assert_array_equal(got.kinds, wanted.kinds)


def test_another_seed_chooses_other_rows() -> None:
    first, second = (
        offline_samples(np.arange(100), kinds=("crop",), fraction=0.2, seed=seed) for seed in (0, 1)
    )
    assert (first.rows != second.rows).any()
    assert len(offline_samples(np.arange(100), kinds=(), fraction=0.2, seed=0)) == 0


def test_flips_are_exact_and_images_as_they_are_stay() -> None:
    images = photos(4)
    np.testing.assert_array_equal(made("hflip", images), images[:, :, ::-1])
    np.testing.assert_array_equal(made("vflip", images), images[:, ::-1])
    kept = apply_offline(images, identity(np.arange(4)), seed=0, fill=WHITE)
    np.testing.assert_array_equal(kept, images)


def test_rotate_turns_by_thirty_degrees_either_way() -> None:
    images = photos(20)
    turned = made("rotate", images)
    ways = []
    for before, after in zip(images, turned, strict=True):
        error = [
            np.abs(
                after
                - cv2.warpAffine(
                    before,
                    cv2.getRotationMatrix2D((23.5, 23.5), degrees, 1.0),
                    (48, 48),
                    borderValue=WHITE,
                ).astype(int)
            ).mean()
            for degrees in (30, -30)
        ]
        assert min(error) < 1
        ways.append(int(np.argmin(error)))
    assert 0 < sum(ways) < 20


def test_crop_noise_and_box() -> None:
    images = photos(6)
    flat = np.full((6, 48, 48, 3), 128, np.uint8)
    assert (made("crop", flat) == 128).all(), "a crop shows nothing from outside"
    assert (made("crop", images) != images).any(axis=(1, 2, 3)).all()
    change = made("noise", flat).astype(int) - 128
    assert change.std() == pytest.approx(25, rel=0.05)
    covered = (made("box", images) != images).any(axis=3).mean(axis=(1, 2))
    np.testing.assert_allclose(covered, 0.1, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_variant_is_the_same_in_any_batch(kind: OfflineKind) -> None:
    images = photos(5)
    whole = made(kind, images)
    alone = apply_offline(
        images[3:4],
        replace(identity(np.array([3])), kinds=np.array([1 + KINDS.index(kind)])),
        seed=0,
        fill=WHITE,
    )
    np.testing.assert_array_equal(alone[0], whole[3])
