"""The square that the network sees: geometry, colors, decode scale, boxes."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from PIL import Image
from sklearn.datasets import load_sample_images

from shopsight.errors import ImageError
from shopsight.images import model_input
from shopsight.images.model_input import Box, edge_color, preprocess_array, preprocess_image, resize
from shopsight.preprocess import Interpolation, Preprocess, Resize
from tests.images.samples import difference, jpeg, saved, smooth


def encoded(pixels: UInt8[np.ndarray, "h w 3"], format: str, **options: object) -> bytes:
    """A file of high quality."""
    if format == "JPEG":
        return jpeg(pixels, **options)
    return saved(Image.fromarray(pixels), format, **options)


def by_pillow(
    rgb: UInt8[np.ndarray, "h w 3"], preprocess: Preprocess
) -> UInt8[np.ndarray, "s s 3"]:
    """The same by Pillow alone, which is slow and obvious."""
    image, size = Image.fromarray(rgb), preprocess.size_px
    method = Image.Resampling[preprocess.interpolation.upper()]
    match preprocess.resize:
        case "squash":
            return np.array(image.resize((size, size), method))
        case "pad":
            scale = size / max(image.size)
            new = [max(1, round(side * scale)) for side in image.size]
            color = preprocess.pad_color
            assert color != "edge"
            square = Image.new("RGB", (size, size), color)
            at = ((size - new[0]) // 2, (size - new[1]) // 2)
            square.paste(image.resize((new[0], new[1]), method), at)
            return np.array(square)
        case "crop":
            scale = round(size / preprocess.crop_fraction) / min(image.size)
            new = [max(1, round(side * scale)) for side in image.size]
            left, top = (round((side - size) / 2) for side in new)
            resized = image.resize((new[0], new[1]), method)
            return np.array(resized.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["pad", "crop", "squash"])
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(8, 64),
    fraction=st.floats(0.5, 1.0),
)
def test_as_pillow_does_it(
    mode: Resize,
    interpolation: Interpolation,
    width: int,
    height: int,
    size: int,
    fraction: float,
) -> None:
    preprocess = Preprocess(
        size_px=size, resize=mode, interpolation=interpolation, crop_fraction=fraction
    )
    rgb = smooth(width, height)
    ours, reference = preprocess_array(rgb, preprocess), by_pillow(rgb, preprocess)
    assert ours.shape == (size, size, 3)
    assert ours.flags.c_contiguous
    assert np.abs(ours.astype(int) - reference).max() <= 2


@pytest.mark.parametrize("mode", ["pad", "crop", "squash"])
@settings(max_examples=25)
@given(width=st.integers(8, 500), height=st.integers(8, 500), orientation=st.integers(1, 8))
def test_scaled_jpeg_gives_the_same_image(
    mode: Resize, width: int, height: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = smooth(width, height)
    data = encoded(pixels, "JPEG", exif=exif)
    preprocess = Preprocess(size_px=64, resize=mode)
    whole = encoded(pixels, "PNG", exif=exif, compress_level=1)
    assert difference(preprocess_image(data, preprocess), preprocess_image(whole, preprocess)) < 6


def test_sharp_detail_survives_the_scaled_decode() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (72, 52, 3), dtype=np.uint8)
    large = np.asarray(cv2.resize(pixels, (520, 720), interpolation=cv2.INTER_CUBIC), np.uint8)
    preprocess = Preprocess(size_px=224)
    scaled = preprocess_image(encoded(large, "JPEG"), preprocess)
    assert difference(scaled, preprocess_array(large, preprocess)) < 4


def test_no_resize_leaves_the_pixels_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    for mode in ("pad", "squash"):
        same = preprocess_image(encoded(pixels, "PNG"), Preprocess(size_px=28, resize=mode))
        assert (same == pixels).all()
    assert (
        preprocess_array(pixels, Preprocess(size_px=28, resize="crop", crop_fraction=1)) == pixels
    ).all()


def test_padding() -> None:
    wide = np.full((10, 40, 3), 7, np.uint8)
    square = preprocess_array(wide, Preprocess(size_px=40, pad_color=(1, 2, 3)))
    assert (square[:15] == (1, 2, 3)).all()
    assert (square[25:] == (1, 2, 3)).all()
    assert (square[15:25] == 7).all()
    assert (preprocess_array(wide, Preprocess(size_px=40, pad_color="edge")) == 7).all()


def test_edge_color_counts_corners_once() -> None:
    pixels = np.zeros((5, 4, 3), np.uint8)
    pixels[1:-1, 1:-1] = 255
    assert edge_color(pixels) == (0, 0, 0)
    pixels[0, 0] = 140
    assert edge_color(pixels) == (10, 10, 10)
    assert edge_color(np.full((1, 1, 3), 9, np.uint8)) == (9, 9, 9)


def test_transparent_pixels_lie_on_the_pad_color() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(out, "PNG")
    seen = preprocess_image(out.getvalue(), Preprocess(size_px=20, pad_color=(5, 6, 7)))
    assert (seen == (5, 6, 7)).all()
    assert (preprocess_image(out.getvalue(), Preprocess(size_px=20, pad_color="edge")) == 255).all()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_box_is_in_pixels_of_the_upright_full_image(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = smooth(640, 480)
    data = encoded(pixels, format, exif=exif)
    upright = pixels if orientation == 1 else np.ascontiguousarray(np.rot90(pixels, -1))
    box = Box(40, 80, 400, 300) if orientation == 1 else Box(80, 40, 300, 400)
    part = upright[int(box.y) : int(box.y + box.h), int(box.x) : int(box.x + box.w)]
    preprocess = Preprocess(size_px=32)
    seen = preprocess_image(data, preprocess, box=box)
    assert difference(seen, preprocess_array(np.ascontiguousarray(part), preprocess)) < 3


def test_small_box_is_decoded_at_full_size() -> None:
    pixels = np.zeros((800, 800, 3), np.uint8)
    pixels[::2] = 255
    seen = preprocess_image(
        encoded(pixels, "JPEG"), Preprocess(size_px=32), box=Box(100, 100, 32, 32)
    )
    assert difference(seen, pixels[100:132, 100:132]) < 6


@given(
    x=st.floats(-50, 150),
    y=st.floats(-50, 150),
    w=st.floats(-5, 200),
    h=st.floats(-5, 200),
)
def test_any_box_is_cut_or_refused(x: float, y: float, w: float, h: float) -> None:
    try:
        seen = preprocess_array(smooth(100, 80), Preprocess(size_px=8), box=Box(x, y, w, h))
    except ImageError as error:
        outside = w <= 0 or h <= 0 or round(x) >= 100 or round(y) >= 80
        assert outside or round(x + w) < 0 or round(y + h) < 0, error  # noqa: PT017
    else:
        assert seen.shape == (8, 8, 3)


def test_read_only_and_strided_arrays() -> None:
    pixels = smooth(60, 40)
    expected = preprocess_array(pixels, Preprocess(size_px=16))
    locked = pixels.copy()
    locked.flags.writeable = False
    strided = np.repeat(pixels, 2, axis=1)[:, ::2]
    for other in (locked, strided):
        assert (preprocess_array(other, Preprocess(size_px=16)) == expected).all()


def pillow_in_our_order(
    rgb: UInt8[np.ndarray, "h w 3"], width: int, height: int, interpolation: Interpolation
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Resize by Pillow, one side at a time: the height last where it grows."""
    method = Image.Resampling[interpolation.upper()]
    between = (width, rgb.shape[0]) if height > rgb.shape[0] else (rgb.shape[1], height)
    return np.asarray(Image.fromarray(rgb).resize(between, method).resize((width, height), method))


def levels_apart(
    rgb: UInt8[np.ndarray, "h w 3"], width: int, height: int, interpolation: Interpolation
) -> int:
    """How far a value of ours lies from Pillow's at most."""
    ours = resize(rgb, width, height, interpolation)
    assert ours.flags.c_contiguous
    assert ours.flags.writeable
    reference = pillow_in_our_order(rgb, width, height, interpolation)
    return int(np.abs(ours.astype(int) - reference).max())


SIZES = [(155, 224), (224, 224), (320, 213), (600, 30), (1280, 854)]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_resize_of_photos_is_pillows(size: tuple[int, int], interpolation: Interpolation) -> None:
    for photo in load_sample_images().images:  # Two photos of 640x427.
        assert levels_apart(photo, *size, interpolation) <= 1


@pytest.mark.parametrize(("interpolation", "fraction"), [("bilinear", 0), ("bicubic", 0.0015)])
@pytest.mark.parametrize("size", SIZES)
def test_the_order_of_the_sides_hardly_matters(
    size: tuple[int, int], interpolation: Interpolation, fraction: float
) -> None:
    for photo in load_sample_images().images:
        pillow = Image.fromarray(photo).resize(size, Image.Resampling[interpolation.upper()])
        apart = np.abs(resize(photo, *size, interpolation).astype(int) - np.asarray(pillow))
        assert (apart > 1).mean() <= fraction


def gradient(width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    """From black to white across, from white to black down, and both."""
    across = np.broadcast_to(np.linspace(0, 255, width)[None, :], (height, width))
    down = np.broadcast_to(np.linspace(255, 0, height)[:, None], (height, width))
    return np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8)


def noise(width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    """Black and white pixels at random: the cubic overshoots everywhere."""
    return np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (height, width, 3))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("make", [gradient, noise])
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    new_width=st.integers(1, 400),
    new_height=st.integers(1, 400),
)
def test_resize_is_pillows_at_any_size(
    make: Callable[[int, int], UInt8[np.ndarray, "h w 3"]],
    interpolation: Interpolation,
    width: int,
    height: int,
    new_width: int,
    new_height: int,
) -> None:
    """Also images one pixel wide or high, strongly shrunk or enlarged.

    A level that the first pass rounds otherwise can become two in the second, where the absolute
    weights of the cubic sum to 1.25.
    """
    most = {"bilinear": 1, "bicubic": 2}[interpolation]
    assert levels_apart(make(width, height), new_width, new_height, interpolation) <= most


@given(width=st.integers(1, 400), height=st.integers(1, 400))
def test_resize_keeps_a_plain_color(width: int, height: int) -> None:
    plain = np.full((31, 17, 3), (255, 128, 0), np.uint8)
    assert (resize(plain, width, height, "bicubic") == (255, 128, 0)).all()


def test_resize_averages_when_it_shrinks() -> None:
    """Without antialiasing, one pixel stripes would become black, white, or slow waves."""
    stripes = np.zeros((240, 240, 3), np.uint8)
    stripes[:, ::2] = 255
    for interpolation in ("bilinear", "bicubic"):
        assert np.abs(resize(stripes, 37, 37, interpolation)[3:-3, 3:-3] - 127.5).max() <= 3


def test_resize_by_many_threads_gives_the_same() -> None:
    photo = load_sample_images().images[0]
    alone = resize(photo, 224, 150)
    with ThreadPoolExecutor(8) as pool:
        for threaded in pool.map(lambda _: resize(photo, 224, 150), range(50)):
            assert (threaded == alone).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize_without_the_library_is_by_pillow(
    interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = load_sample_images().images[0]
    monkeypatch.setattr(model_input, "cykooz_resizer", None)
    pillow = Image.fromarray(photo).resize((100, 224), Image.Resampling[interpolation.upper()])
    assert (resize(photo, 100, 224, interpolation) == np.asarray(pillow)).all()


def test_bytes_that_are_no_image_are_named() -> None:
    with pytest.raises(ImageError, match=r"shop/a\.jpg"):
        preprocess_image(b"no image", Preprocess(), where="shop/a.jpg")
