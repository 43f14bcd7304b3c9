from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from shopsight.loading.geometric import (
    fill_colors,
    flip_into,
    resize_into,
    shift_into,
    warp,
    warp_matrices,
)

FILL = (10, 200, 90)


def image(side: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth image with a sharp-edged thing on it."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (side, side, 3)).astype(np.float32), (0, 0), 6)
    pixels = np.clip((ground - 128) * 5 + 128, 0, 255).astype(np.uint8)
    cv2.circle(pixels, (side // 3, side // 2), side // 5, (200, 30, 60), -1)
    return pixels


def matrix(
    *,
    source_px: int = 64,
    target_px: int = 64,
    hflip: bool = False,
    vflip: bool = False,
    scale: float = 1.0,
    rotate_deg: float = 0.0,
    stretch: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    return warp_matrices(
        source_px=source_px,
        target_px=target_px,
        hflip=np.array([hflip]),
        vflip=np.array([vflip]),
        scale=np.array([scale]),
        rotate_rad=np.deg2rad([rotate_deg]),
        stretch=np.array([stretch]),
        shift=np.array([shift]),
    )[0]


def slow_warp(pixels: np.ndarray, affine: np.ndarray, target_px: int) -> np.ndarray:
    """Bilinear sampling, one target pixel after another."""
    side = len(pixels)
    padded = np.empty((side + 2, side + 2, 3))
    padded[:] = FILL
    padded[1:-1, 1:-1] = pixels
    out = np.empty((target_px, target_px, 3))
    for y, x in itertools.product(range(target_px), repeat=2):
        u, v = np.clip(affine @ (x, y, 1), -1, side)
        left, top = min(int(u + 1), side), min(int(v + 1), side)
        a, b = u + 1 - left, v + 1 - top
        upper = (1 - a) * padded[top, left] + a * padded[top, left + 1]
        lower = (1 - a) * padded[top + 1, left] + a * padded[top + 1, left + 1]
        out[y, x] = (1 - b) * upper + b * lower
    return out


@pytest.mark.parametrize(
    ("target_px", "change"),
    [
        (64, {"scale": 0.8, "rotate_deg": 12.0, "shift": (0.05, -0.1)}),
        (64, {"scale": 1.15, "hflip": True, "stretch": 1.2}),
        (80, {"scale": 0.7, "vflip": True, "hflip": True, "rotate_deg": -30.0}),
        (60, {"rotate_deg": 90.0}),
    ],
)
def test_warp_is_bilinear_sampling(target_px: int, change: dict[str, float]) -> None:
    pixels = image()
    affine = matrix(target_px=target_px, **change)  # type: ignore[arg-type]
    out = np.empty((target_px, target_px, 3), np.uint8)
    warp(pixels, affine, out=out, fill=FILL, reduction=1.0)
    error = np.abs(out - slow_warp(pixels, affine, target_px))
    assert error.mean() < 0.5
    assert error.max() <= 4


@pytest.mark.parametrize(("hflip", "vflip"), list(itertools.product([False, True], repeat=2)))
def test_the_matrix_of_a_flip_alone_is_the_flip(hflip: bool, vflip: bool) -> None:
    pixels, out, copied = (
        image(),
        np.empty((64, 64, 3), np.uint8),
        np.empty((64, 64, 3), np.uint8),
    )
    warp(pixels, matrix(hflip=hflip, vflip=vflip), out=out, fill=FILL, reduction=1.0)
    flip_into(pixels, out=copied, hflip=hflip, vflip=vflip)
    expected = pixels[:: -1 if vflip else 1, :: -1 if hflip else 1]
    np.testing.assert_array_equal(copied, expected)
    np.testing.assert_array_equal(out, expected)


def test_a_quarter_turn_turns() -> None:
    pixels, out = image(), np.empty((64, 64, 3), np.uint8)
    warp(pixels, matrix(rotate_deg=90.0), out=out, fill=FILL, reduction=1.0)
    assert np.abs(out.astype(int) - np.rot90(pixels, 1)).max() <= 1


def test_scale_and_shift_choose_the_window() -> None:
    # Half the side, its middle a quarter to the right and down: the lower right quarter.
    pixels, out = image(), np.empty((32, 32, 3), np.uint8)
    affine = matrix(target_px=32, scale=0.5, shift=(0.25, 0.25))
    warp(pixels, affine, out=out, fill=FILL, reduction=1.0)
    np.testing.assert_array_equal(out, pixels[32:, 32:])


def test_stretch_widens_the_window() -> None:
    affine = matrix(stretch=4.0)
    assert affine[0, 0] == pytest.approx(2.0)
    assert affine[1, 1] == pytest.approx(0.5)


@pytest.mark.parametrize(("target_px", "scale"), [(32, 1.0), (40, 0.9), (48, 1.0), (20, 1.0)])
def test_shrinking_does_not_alias(target_px: int, scale: float) -> None:
    """Nearer to 8x supersampling than plain bilinear sampling, by far on fine stripes."""
    pixels = image(96)
    pixels[::2, 50:] = 255 - pixels[::2, 50:]
    affine = matrix(source_px=96, target_px=target_px, scale=scale, rotate_deg=7.0)
    fine = matrix(source_px=96, target_px=8 * target_px, scale=scale, rotate_deg=7.0)
    many = np.empty((8 * target_px, 8 * target_px, 3), np.uint8)
    warp(pixels, fine, out=many, fill=FILL, reduction=1.0)
    wanted = many.reshape(target_px, 8, target_px, 8, 3).mean(axis=(1, 3))
    plain, ours = (np.empty((target_px, target_px, 3), np.uint8) for _ in range(2))
    warp(pixels, affine, out=plain, fill=FILL, reduction=1.0)
    warp(pixels, affine, out=ours, fill=FILL, reduction=scale * 96 / target_px)
    assert np.abs(ours - wanted).mean() < 0.6 * np.abs(plain - wanted).mean()


@pytest.mark.parametrize("move", [(3, 0), (0, -5), (-7, 2), (64, 0), (0, 1000)])
def test_shift_moves_whole_pixels(move: tuple[int, int]) -> None:
    pixels, out = image(), np.empty((64, 64, 3), np.uint8)
    shift_into(pixels, out=out, x_px=move[0], y_px=move[1], fill=FILL)
    for y, x in itertools.product(range(0, 64, 3), repeat=2):
        v, u = y - move[1], x - move[0]
        inside = 0 <= u < 64 and 0 <= v < 64
        assert out[y, x].tolist() == (pixels[v, u].tolist() if inside else list(FILL))


def test_resize_keeps_the_mean() -> None:
    pixels = image(96)
    for side in (32, 41, 128):
        out = np.empty((side, side, 3), np.uint8)
        resize_into(pixels, out=out)
        np.testing.assert_allclose(out.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), atol=1.5)


def test_fill_is_given_or_the_mean_of_the_edge() -> None:
    images = np.stack([image(), np.full((64, 64, 3), 77, np.uint8)])
    images[1, 5:-5, 5:-5] = 0
    assert fill_colors(images, (1, 2, 3)) == [(1, 2, 3)] * 2
    edges = fill_colors(images, "edge")
    assert edges[1] == (77, 77, 77)
    sides = [images[0][0], images[0][-1], images[0][:, 0], images[0][:, -1]]
    assert edges[0] == tuple(np.rint(np.concatenate(sides).mean(axis=0)).astype(int))
