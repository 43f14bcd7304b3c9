"""What is measured of pixels, on images whose answers are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from shopsight.image_rules.pixels import PixelMeasures, measure_pixels


def white(height: int = 300, width: int = 400) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def box(pixels: np.ndarray, fraction: float, level: int = 60) -> np.ndarray:
    """A box in the middle, so much of the width and of the height."""
    height, width = pixels.shape[:2]
    rows, columns = round(height * fraction), round(width * fraction)
    top, left = (height - rows) // 2, (width - columns) // 2
    pixels[top : top + rows, left : left + columns] = level
    return pixels


def photo(height: int = 300, width: int = 400) -> np.ndarray:
    """A scene: texture from edge to edge."""
    small = np.random.default_rng(0).integers(0, 200, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def as_jpeg(pixels: np.ndarray, quality: int = 80) -> np.ndarray:
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def test_product_on_white() -> None:
    found = measure_pixels(box(white(), 0.6))
    assert (found.near_white, found.pure_white, found.is_cut) == (1.0, 1.0, False)
    assert found.fill == pytest.approx(0.6, abs=0.01)
    assert found.most_fill == pytest.approx(0.6, abs=0.01)
    assert (found.touched, found.frame_px) == ((), 0)
    assert found.is_packshot


def test_fill_is_that_of_the_longer_direction() -> None:
    pixels = white()
    pixels[6:294, 190:210] = 40  # A bottle.
    found = measure_pixels(pixels)
    assert found.fill == pytest.approx(0.96, abs=0.01)


def test_compression_changes_little() -> None:
    found = measure_pixels(as_jpeg(box(white(), 0.6)))
    assert found.near_white == 1.0
    assert found.fill == pytest.approx(0.6, abs=0.02)
    assert found.most_fill == pytest.approx(0.6, abs=0.05)


def test_near_white_is_not_pure_white() -> None:
    pixels = box(white(), 0.6)
    pixels[pixels == 255] = 250
    found = measure_pixels(pixels)
    assert (found.near_white, found.pure_white) == (1.0, 0.0)
    assert found.is_packshot


def test_share_of_white_is_counted_in_the_strip_alone() -> None:
    pixels = white(100, 100)  # The strip is 2 px wide: 784 of 10,000 pixels.
    pixels[:2] = 0
    found = measure_pixels(pixels)
    assert found.near_white == pytest.approx(1 - 200 / 784)
    assert not found.is_packshot


def test_scene() -> None:
    found = measure_pixels(photo())
    assert found.near_white < 0.02
    assert (found.fill, found.most_fill, found.touched) == (None, None, ())
    assert not found.is_packshot


def test_white_product_on_white_may_reach_further() -> None:
    pixels = box(box(white(), 0.9, level=252), 0.3, level=100)  # A white shirt with a print.
    found = measure_pixels(pixels)
    assert found.fill == pytest.approx(0.3, abs=0.01)
    assert found.most_fill == pytest.approx(0.9, abs=0.01)


def test_a_product_of_which_pieces_are_seen_may_reach_further() -> None:
    pixels = white()
    for at in (100, 150, 200, 250):  # Seams of a shirt that is as white as the ground.
        cv2.line(pixels, (at, 100), (at + 40, 200), (200, 200, 200), 2)
    found = measure_pixels(pixels)
    assert found.fill == pytest.approx(0.48, abs=0.03)
    assert found.most_fill == 1.0


def test_dust_is_no_product() -> None:
    pixels = box(white(), 0.5)
    pixels[3, 3] = 0
    assert measure_pixels(pixels).fill == pytest.approx(0.5, abs=0.01)


def test_nothing_on_white() -> None:
    found = measure_pixels(white())
    assert (found.fill, found.most_fill) == (0.0, 1.0)


def test_product_that_an_edge_cuts() -> None:
    pixels = white()
    pixels[50:, 100:300] = 70  # A person from the knees up.
    found = measure_pixels(pixels)
    assert found.near_white < 0.98
    assert found.is_cut
    assert found.touched == ("bottom",)
    assert found.is_packshot
    assert found.fill == pytest.approx(250 / 300, abs=0.01)


def test_scene_with_a_white_wall_is_no_packshot() -> None:
    pixels = photo()
    pixels[:200] = 255
    found = measure_pixels(pixels)
    assert not found.is_cut
    assert not found.is_packshot


@pytest.mark.parametrize("width", [1, 3, 8, 25])
@pytest.mark.parametrize("color", [(200, 30, 40), (0, 0, 0), (128, 128, 128)])
def test_frame(width: int, color: tuple[int, int, int]) -> None:
    framed = np.full((300, 400, 3), color, np.uint8)
    framed[width:-width, width:-width] = photo(300 - 2 * width, 400 - 2 * width) // 2 + 110
    if color == (128, 128, 128):
        framed[width:-width, width:-width] = photo(300 - 2 * width, 400 - 2 * width) // 3
    found = measure_pixels(framed)
    assert found.frame_px == width
    assert found.frame_color == "#" + "".join(f"{level:02x}" for level in color)


def test_frame_around_a_product_on_white() -> None:
    framed = np.zeros((300, 400, 3), np.uint8)
    framed[5:-5, 5:-5] = box(white(290, 390), 0.5)
    assert measure_pixels(as_jpeg(framed)).frame_px in {4, 5, 6}


@pytest.mark.parametrize("level", [40, 128, 200])
def test_uniform_ground_is_no_frame(level: int) -> None:
    ground = np.full((300, 400, 3), level, np.uint8)
    assert measure_pixels(box(ground, 0.7, level=90)).frame_px == 0


def test_dark_corners_are_no_frame() -> None:
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    light = np.clip(255 * (1.0 - 0.9 * np.maximum(np.abs(x), np.abs(y)) ** 4), 0, 255)
    pixels = np.repeat(light[:, :, None], 3, axis=2).astype(np.uint8)
    assert measure_pixels(pixels).frame_px == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (5, 700)])
@pytest.mark.parametrize("level", [0, 255])
def test_small_images(size: tuple[int, int], level: int) -> None:
    found = measure_pixels(np.full((*size, 3), level, np.uint8))
    assert isinstance(found, PixelMeasures)
    assert found.near_white == (level == 255)
