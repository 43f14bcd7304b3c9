from __future__ import annotations

import cv2
import numpy as np
import pytest

from shopsight.loading.photometric import (
    LUMA,
    NOISE_OFFSETS,
    BlurKind,
    add_noise,
    blur,
    channel_orders,
    color_matrices,
    equalize,
    erase,
    recolor,
)


def image(side: int = 64, seed: int = 0, low: int = 60, high: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(low, high, (side, side, 3)).astype(np.uint8)
    return cv2.GaussianBlur(pixels, (3, 3), 1)


def in_sequence(
    pixels: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float
) -> np.ndarray:
    """The four changes one after another, in floats, clipped once at the end."""
    rgb = pixels.astype(np.float64) * brightness
    rgb = (rgb @ LUMA).mean() + contrast * (rgb - (rgb @ LUMA).mean())
    gray = (rgb @ LUMA)[..., None]
    rgb = gray + saturation * (rgb - gray)
    y = rgb @ LUMA
    i = rgb @ np.array([0.595716, -0.274453, -0.321263])
    q = rgb @ np.array([0.211456, -0.522591, 0.311135])
    turned = (i + 1j * q) * np.exp(2j * np.pi * hue)
    i, q = turned.real, turned.imag
    red = y + 0.9563 * i + 0.6210 * q
    green = y - 0.2721 * i - 0.6474 * q
    blue = y - 1.1070 * i + 1.7046 * q
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255)


@pytest.mark.parametrize(
    "change",
    [
        (1.0, 1.0, 1.0, 0.0),
        (1.3, 1.0, 1.0, 0.0),
        (1.0, 0.5, 1.0, 0.0),
        (1.0, 1.0, 0.0, 0.0),
        (1.0, 1.0, 1.0, 0.25),
        (0.8, 1.3, 1.4, -0.1),
        (1.2, 0.7, 0.6, 0.4),
    ],
)
def test_one_matrix_is_the_four_changes_in_sequence(change: tuple[float, ...]) -> None:
    pixels = image()
    names = ("brightness", "contrast", "saturation", "hue")
    matrices, mean_factors = color_matrices(
        **{name: np.array([value]) for name, value in zip(names, change, strict=True)}
    )
    out = pixels.copy()
    recolor(out, matrices[0], float(mean_factors[0]))
    error = np.abs(out - in_sequence(pixels, *change))
    assert error.max() <= 1.6
    assert error.mean() < 0.5


def test_factors_of_one_change_nothing() -> None:
    pixels = image(low=0, high=256)
    one = np.ones(1)
    matrices, mean_factors = color_matrices(
        brightness=one, contrast=one, saturation=one, hue=0 * one
    )
    out = pixels.copy()
    recolor(out, matrices[0], float(mean_factors[0]))
    np.testing.assert_array_equal(out, pixels)


def test_grays_stay_gray() -> None:
    pixels = image()[:, :, :1].repeat(3, axis=2)
    matrices, mean_factors = color_matrices(
        brightness=np.array([1.1]),
        contrast=np.array([0.8]),
        saturation=np.array([1.5]),
        hue=np.array([0.3]),
    )
    recolor(pixels, matrices[0], float(mean_factors[0]))
    assert np.ptp(pixels.astype(int), axis=2).max() <= 1


def test_channel_orders_are_the_six() -> None:
    pixels = image()
    seen = set()
    for matrix in channel_orders((np.arange(6) + 0.5) / 6):
        out = pixels.copy()
        recolor(out, matrix, 0.0)
        order = tuple(
            next(c for c in range(3) if (out[..., k] == pixels[..., c]).all()) for k in range(3)
        )
        seen.add(order)
    assert len(seen) == 6


def test_noise_has_the_requested_deviation() -> None:
    flat = np.full((128, 128, 3), 128, np.uint8)
    for std in (2.0, 10.0, 25.0):
        out = flat.copy()
        add_noise(out, std=std, x=17, y=NOISE_OFFSETS - 1, negative=False)
        change = out.astype(int) - 128
        assert change.mean() == pytest.approx(0, abs=std / 50)
        assert change.std() == pytest.approx(std, rel=0.05)
        assert abs(np.corrcoef(change.reshape(-1, 3).T) - np.eye(3)).max() < 0.05
        mirrored = flat.copy()
        add_noise(mirrored, std=std, x=17, y=NOISE_OFFSETS - 1, negative=True)
        assert np.abs(change + (mirrored.astype(int) - 128)).max() <= 1


def test_noise_of_nothing_is_nothing() -> None:
    pixels = image(low=0, high=256)
    out = pixels.copy()
    add_noise(out, std=0.0, x=0, y=0, negative=False)
    np.testing.assert_array_equal(out, pixels)


@pytest.mark.parametrize("kind", ["box", "gaussian", "median"])
@pytest.mark.parametrize("kernel_px", [3, 5, 7])
def test_blur_in_place_is_the_blur(kind: BlurKind, kernel_px: int) -> None:
    pixels = image()
    wanted = {
        "box": lambda: cv2.blur(pixels, (kernel_px, kernel_px)),
        "gaussian": lambda: cv2.GaussianBlur(pixels, (kernel_px, kernel_px), 0),
        "median": lambda: cv2.medianBlur(pixels, kernel_px),
    }[kind]()
    out = pixels.copy()
    blur(out, kind, kernel_px)
    np.testing.assert_array_equal(out, wanted)


def test_equalize_spreads_the_lightness_and_keeps_the_hue() -> None:
    pixels = image(low=100, high=140)
    out = pixels.copy()
    equalize(out, 3.0)
    assert out.std() > 1.3 * pixels.std()
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2LAB)[..., 1:].astype(int) for p in (pixels, out))
    assert np.abs(before - after).mean() < 2
    small = image(28)
    equalize(small, 2.0)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.0, 1.0), (0.4, 0.7)])
def test_erase_covers_a_box_of_the_area(x: float, y: float) -> None:
    out = np.full((100, 100, 3), 9, np.uint8)
    out[0, 0] = (9, 9, 10)
    erase(out, area=0.16, aspect=4.0, x=x, y=y, color=(1, 2, 3))
    covered = (out == (1, 2, 3)).all(axis=2)
    assert covered.sum() == 80 * 20
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    assert (len(rows), len(columns)) == (80, 20)
    assert (rows[0], columns[0]) == (round(20 * y), round(80 * x))


def test_erase_by_the_mean_color_and_gray_on_gray() -> None:
    pixels = image()
    out = pixels.copy()
    erase(out, area=0.25, aspect=1.0, x=0.0, y=0.0, color=None)
    assert out[0, 0].tolist() == [round(mean) for mean in pixels.mean(axis=(0, 1)).tolist()]
    gray = pixels[:, :, :1].repeat(3, axis=2)
    erase(gray, area=0.25, aspect=1.0, x=0.0, y=0.0, color=(5, 100, 200))
    assert gray[0, 0].tolist() == [5, 5, 5]
