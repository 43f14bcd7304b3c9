from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shopsight.config.augment_settings import AugmentSettings
from shopsight.loading.augment import augment

EVERYTHING = AugmentSettings(
    vflip_prob=0.3,
    affine_prob=0.8,
    affine_kinds=("all", "rotate", "scale", "translate"),
    aspect_jitter=0.2,
    color_kinds=("jitter", "brightness-contrast", "hue-saturation", "clahe", "channel-shuffle"),
    hue=0.1,
    noise_prob=0.5,
    blur_prob=0.5,
    blur_kinds=("box", "gaussian", "median"),
    blur_px=7,
    random_erasing_prob=0.5,
)
NOTHING = AugmentSettings.none()


def photos(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            cv2.GaussianBlur(rng.integers(0, 256, (side, side, 3)).astype(np.uint8), (5, 5), 1.5)
            for _ in range(count)
        ]
    )


def run(
    images: np.ndarray,
    settings: AugmentSettings,
    *,
    samples: np.ndarray | None = None,
    seed: int = 3,
    epoch: int = 0,
    size_px: int | None = None,
) -> np.ndarray:
    return augment(
        images,
        np.arange(len(images)) if samples is None else samples,
        settings=settings,
        seed=seed,
        epoch=epoch,
        size_px=images.shape[1] if size_px is None else size_px,
        fill=(255, 255, 255),
    )


@pytest.mark.parametrize("side", [28, 224])
def test_no_augmentation_gives_the_same_bytes(side: int) -> None:
    images = photos(6, side)
    out = run(images, NOTHING)
    np.testing.assert_array_equal(out, images)
    assert not np.shares_memory(out, images)


@pytest.mark.parametrize("side", [28, 224])
def test_flips_alone_are_exact(side: int) -> None:
    images = photos(4, side)
    across = run(images, NOTHING.model_copy(update={"hflip_prob": 1.0}))
    np.testing.assert_array_equal(across, images[:, :, ::-1])
    down = run(images, NOTHING.model_copy(update={"vflip_prob": 1.0}))
    np.testing.assert_array_equal(down, images[:, ::-1])
    both = run(images, NOTHING.model_copy(update={"hflip_prob": 1.0, "vflip_prob": 1.0}))
    np.testing.assert_array_equal(both, images[:, ::-1, ::-1])
    half = run(photos(200, 8), NOTHING.model_copy(update={"hflip_prob": 0.5}))
    flipped = (half == photos(200, 8)[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 70 < flipped.sum() < 130


def test_a_shift_alone_goes_by_whole_pixels() -> None:
    images = photos(40, 28)
    settings = AugmentSettings(
        hflip_prob=0.0,
        affine_prob=1.0,
        affine_kinds=("translate",),
        translate=0.1,
        color_jitter_prob=0.0,
    )
    moves = set()
    for before, after in zip(images, run(images, settings), strict=True):
        found = [
            (x, y)
            for x in range(-3, 4)
            for y in range(-3, 4)
            if (after[4 + y : 24 + y, 4 + x : 24 + x] == before[4:24, 4:24]).all()
        ]
        assert len(found) == 1
        x, y = found[0]
        moves.add((x, y))
        # What comes in from outside is the fill.
        assert (after[:, :x] == 255).all() if x > 0 else True
        assert (after[:y] == 255).all() if y > 0 else True
    assert len(moves) > 10


@given(st.data())
def test_an_image_is_the_same_in_any_batch(data: st.DataObject) -> None:
    images, samples = photos(9), np.arange(9) * 7 + 1
    epoch, size_px = data.draw(st.integers(0, 50)), data.draw(st.sampled_from([20, 32, 40]))
    whole = run(images, EVERYTHING, samples=samples, epoch=epoch, size_px=size_px)
    order = np.array(data.draw(st.permutations(range(9))))
    cut = data.draw(st.integers(1, 8))
    for part in (order[:cut], order[cut:]):
        alone = run(images[part], EVERYTHING, samples=samples[part], epoch=epoch, size_px=size_px)
        np.testing.assert_array_equal(alone, whole[part])


def test_seed_epoch_and_sample_each_matter() -> None:
    images = photos(1).repeat(3, axis=0)
    out = run(images, EVERYTHING)
    assert (out[0] != out[1]).any()
    assert (run(images, EVERYTHING, epoch=1) != out).any()
    assert (run(images, EVERYTHING, seed=4) != out).any()
    np.testing.assert_array_equal(run(images, EVERYTHING), out)


def test_switching_one_change_on_moves_no_other_number() -> None:
    images = photos(30)
    plain = run(images, AugmentSettings())
    erased = run(images, AugmentSettings(random_erasing_prob=1.0, random_erasing_area=(0.05, 0.1)))
    untouched = (plain == erased).all(axis=3).mean(axis=(1, 2))
    assert (untouched > 0.85).all()
    assert (untouched < 1.0).all()


def test_the_input_is_left_alone() -> None:
    images = photos(20)
    before = images.copy()
    run(images, EVERYTHING)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "change",
    [
        {"vflip_prob": 1.0},
        {"affine_prob": 1.0, "affine_kinds": ("rotate",)},
        {"affine_prob": 1.0, "affine_kinds": ("scale",)},
        {"affine_prob": 1.0, "affine_kinds": ("all",), "aspect_jitter": 0.3},
        {"color_jitter_prob": 1.0, "color_kinds": ("brightness-contrast",)},
        {"color_jitter_prob": 1.0, "color_kinds": ("hue-saturation",), "hue": 0.2},
        {"color_jitter_prob": 1.0, "color_kinds": ("clahe",)},
        {"noise_prob": 1.0},
        {"blur_prob": 1.0, "blur_kinds": ("median",)},
        {"random_erasing_prob": 1.0},
    ],
)
def test_each_change_changes_the_images(change: dict[str, object]) -> None:
    images = photos(20)
    out = run(images, NOTHING.model_copy(update=change))
    # A number near zero (no noise to speak of, a scale of nearly one) changes nothing.
    assert (out != images).any(axis=(1, 2, 3)).mean() >= 0.9


def test_warps_keep_the_thing_in_the_image() -> None:
    """The default augmentation moves a disc's middle by a tenth of the side at most."""
    images = np.full((64, 64, 64, 3), 255, np.uint8)
    for image in images:
        cv2.circle(image, (32, 32), 12, (20, 20, 20), -1)
    out = run(images, AugmentSettings(color_jitter_prob=0.0))
    dark = out[..., 0] < 128
    rows, columns = np.indices((64, 64))
    for value in (rows, columns):
        middles = (dark * value).sum(axis=(1, 2)) / dark.sum(axis=(1, 2))
        assert np.abs(middles - 32).max() < 6.4
    areas = dark.mean(axis=(1, 2)) / (np.pi * 12**2 / 64**2)
    assert areas.min() > 0.95
    assert areas.max() < 1.05 / 0.75**2


def test_sizes_show_the_same_view() -> None:
    """Straight to a smaller side is the same view as warping first and resizing after."""
    images = photos(10, 96)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in images])
    settings = AugmentSettings(color_jitter_prob=0.0)
    small = run(images, settings, size_px=48)
    full = run(images, settings, size_px=96)
    shrunk = np.stack([cv2.resize(p, (48, 48), interpolation=cv2.INTER_AREA) for p in full])
    assert np.abs(small.astype(int) - shrunk).mean() < 2
    plain = run(images, NOTHING, size_px=48)
    wanted = np.stack([cv2.resize(p, (48, 48), interpolation=cv2.INTER_AREA) for p in images])
    np.testing.assert_array_equal(plain, wanted)


def test_gray_images_stay_gray() -> None:
    images = photos(40, 28)[..., :1].repeat(3, axis=3)
    settings = AugmentSettings(
        affine_kinds=("translate",),
        color_jitter_prob=0.0,
        random_erasing_prob=1.0,
        blur_prob=0.5,
        scale=(1.0, 1.0),
    )
    out = run(images, settings)
    assert (out[..., 0] == out[..., 1]).all()
    assert (out[..., 0] == out[..., 2]).all()


def test_noise_has_a_deviation_uniform_up_to_noise_std() -> None:
    """Each image's own deviation, measured on flat images, against the uniform distribution."""
    flat = np.full((600, 64, 64, 3), 128, np.uint8)
    settings = NOTHING.model_copy(update={"noise_prob": 0.75, "noise_std": 20.0})
    change = run(flat, settings).astype(float) - 128
    std = change.std(axis=(1, 2, 3))
    noisy = std > 0
    # Binomial with p = .75, less the images whose deviation rounds to no change at all (.6 %).
    assert noisy.mean() == pytest.approx(0.745, abs=4 * (0.75 * 0.25 / 600) ** 0.5)
    # Rounding to whole levels adds 1/12 to the variance; below a level it swallows the noise.
    sigma = np.sqrt(np.maximum(std[std > 2] ** 2 - 1 / 12, 0))
    assert stats.kstest(sigma, stats.uniform(2, 18).cdf).pvalue > 0.01
    # Normal: of values beyond 1.96 deviations there are 5 %, and the mean stays where it was.
    strong = change[std > 5] / std[std > 5][:, None, None, None]
    assert (np.abs(strong) > 1.96).mean() == pytest.approx(0.05, abs=0.005)
    assert np.abs(strong.mean(axis=(1, 2, 3))).max() < 0.06
    other = run(flat, settings.model_copy(update={"noise_std": 5.0})).astype(float) - 128
    assert other.std(axis=(1, 2, 3)).max() == pytest.approx(5, rel=0.05)
