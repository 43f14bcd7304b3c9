from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shopsight.config.augment_settings import AugmentSettings
from shopsight.loading.mixup import MixPlan, mix_into, mix_plan, mixes


def plan(
    settings: AugmentSettings, samples: np.ndarray, *, epoch: int = 0, population: int = 500
) -> MixPlan:
    return mix_plan(
        samples, settings=settings, seed=1, epoch=epoch, population=population, size_px=64
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_lambdas_of_mixup_follow_the_beta_distribution(alpha: float) -> None:
    mixed = plan(AugmentSettings(mixup=alpha), np.arange(4000))
    assert not mixed.cut.any()
    assert stats.kstest(mixed.lam, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert mixed.partner.min() < 20
    assert 480 < mixed.partner.max() < 500


def test_lambda_of_cutmix_is_what_is_left_uncovered() -> None:
    settings = AugmentSettings(cutmix=1.0)
    samples = np.arange(50)
    mixed = plan(settings, samples)
    images = np.zeros((50, 64, 64, 3), np.uint8)
    mix_into(images, np.full((int(mixed.mixed.sum()), 64, 64, 3), 255, np.uint8), mixed)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)) / 255, 1 - mixed.lam, atol=1e-9)
    assert mixed.lam.std() > 0.1


def test_mixup_is_the_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    images, partners = (rng.integers(0, 256, (30, 64, 64, 3)).astype(np.uint8) for _ in range(2))
    mixed = plan(AugmentSettings(mixup=1.0, mix_prob=0.5), np.arange(30))
    assert 5 < mixed.mixed.sum() < 25
    out = images.copy()
    mix_into(out, partners[mixed.mixed], mixed)
    lam = mixed.lam[:, None, None, None]
    assert np.abs(out - (lam * images + (1 - lam) * partners)).max() <= 0.51
    np.testing.assert_array_equal(out[~mixed.mixed], images[~mixed.mixed])


def test_with_both_on_each_gets_half() -> None:
    mixed = plan(AugmentSettings(mixup=0.4, cutmix=1.0), np.arange(1000))
    assert 440 < mixed.cut.sum() < 560
    assert (mixed.lam >= 0).all()
    assert (mixed.lam <= 1).all()


def test_off_mixes_nothing() -> None:
    assert not mixes(AugmentSettings())
    assert not mixes(AugmentSettings(mixup=1.0, mix_prob=0.0))
    assert mixes(AugmentSettings(cutmix=1.0))
    assert not plan(AugmentSettings(), np.arange(20)).mixed.any()


def test_a_plan_does_not_know_its_batch() -> None:
    settings = AugmentSettings(mixup=0.4, cutmix=1.0)
    samples = np.arange(40)
    whole, part = plan(settings, samples), plan(settings, samples[[31, 4, 17]])
    for name in ("partner", "lam", "cut", "boxes"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[31, 4, 17]])
    assert (plan(settings, samples, epoch=1).partner != whole.partner).any()
