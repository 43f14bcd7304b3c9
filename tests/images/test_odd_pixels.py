"""Pixels of unusual depth, range, layout and transparency: the right value, or refused with why."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images.damage import find_damage
from shopsight.images.decode import Header, decode, header
from shopsight.images.levels import from_any, from_bits
from tests.images.built_files import png_chunk, png_file, tiff_file
from tests.images.samples import HEIGHT, WIDTH, difference, saved, smooth

GRAY = smooth()[:, :, 0]
GRAY_16 = GRAY.astype("<u2") * 257
RGB_16 = smooth().astype("<u2") * 257


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, where="a.tif")
    assert "a.tif" in str(caught.value)
    return caught.value


def gray_rgb(values: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    return np.repeat(np.asarray(values, np.uint8)[:, :, None], 3, axis=2)


def test_a_transparent_color_of_16_bits() -> None:
    """Its low bytes matter: a product of nearly that color stays."""
    pixels = RGB_16.astype(">u2")
    pixels[:20] = (1, 2, 3)
    pixels[20:25] = (1, 2, 4)
    key = png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    seen = decode(png_file(pixels, WIDTH, 16, 2, extra=key), matte=(9, 90, 200))
    assert (seen[:20] == (9, 90, 200)).all()
    assert (seen[20:25] == 0).all()
    assert difference(seen[25:], smooth()[25:]) < 1


def test_a_transparent_gray_of_16_bits() -> None:
    pixels = GRAY_16.astype(">u2")
    pixels[:20] = 1
    key = png_chunk(b"tRNS", struct.pack(">H", 1))
    seen = decode(png_file(pixels, WIDTH, 16, 0, extra=key))
    assert (seen[:20] == 255).all()
    assert difference(seen[20:], gray_rgb(GRAY)[20:]) < 0.1


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("transparent", [None, 0, 1])
def test_gray_of_few_bits(depth: int, transparent: int | None) -> None:
    width = 88  # A multiple of the pixels in a byte.
    values = (GRAY[:, :width].astype(int) * 2**depth // 256).astype(np.uint8)
    bits = np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - depth :]
    key = b"" if transparent is None else png_chunk(b"tRNS", struct.pack(">H", transparent))
    data = png_file(np.packbits(bits.reshape(HEIGHT, -1), axis=1), width, depth, 0, extra=key)
    expected = values.astype(int) * 255 // (2**depth - 1)
    expected[values == transparent] = 255
    assert (decode(data) == gray_rgb(expected)).all()


@pytest.mark.parametrize(
    ("pixels", "sample_format"),
    [
        ((GRAY / 255).astype("<f4"), 3),
        (GRAY.astype("<f4"), 3),
        ((GRAY / 255).astype("<f8"), 3),
        ((GRAY / 255).astype(">f4"), 3),
        (GRAY.astype("<i4"), 2),
        (GRAY.astype("<u4"), 1),
        (GRAY.astype(">u4"), 1),
        (GRAY_16.astype("<i4"), 2),
        (GRAY.astype("<i2"), 2),
        (GRAY_16, 1),
        (GRAY_16.astype(">u2"), 1),
    ],
)
def test_wide_gray(pixels: np.ndarray, sample_format: int) -> None:
    data = tiff_file(pixels, sample_format=sample_format)
    assert difference(decode(data), gray_rgb(GRAY)) < 0.6
    assert header(data) == Header("tiff", WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("pixels", "sample_format"),
    [
        (255 - GRAY, 1),
        (65535 - GRAY_16, 1),
        ((65535 - GRAY_16).astype(">u2"), 1),
        (((255 - GRAY) / 255).astype("<f4"), 3),
    ],
)
def test_values_that_grow_towards_black(pixels: np.ndarray, sample_format: int) -> None:
    data = tiff_file(pixels, photometric=0, sample_format=sample_format)
    assert difference(decode(data), gray_rgb(GRAY)) < 0.6


FLOATS = ((smooth() / 255).astype("<f4"), smooth().astype("<f4"), (smooth() / 255).astype(">f4"))


@pytest.mark.parametrize("pixels", FLOATS)
def test_colors_as_floats(pixels: np.ndarray) -> None:
    assert difference(decode(tiff_file(pixels, sample_format=3)), smooth()) < 0.6


def test_floats_as_opencv_writes_them() -> None:
    values = (smooth()[:, :, ::-1] / 255).astype(np.float32)
    assert difference(decode(cv2.imencode(".tif", values)[1].tobytes()), smooth()) < 0.6


@pytest.mark.parametrize(
    ("pixels", "sample_format", "said"),
    [
        (GRAY.astype("<f4") - 200, 3, "values of -187 to 37"),
        (GRAY_16.astype("<f4"), 3, "values of 3341 to 60909"),
        (np.where(GRAY > 90, np.nan, 0.5).astype("<f4"), 3, "are NaN or infinite"),
        (np.where(GRAY > 90, np.inf, 0.5).astype("<f4"), 3, "are NaN or infinite"),
        (-GRAY.astype("<i4"), 2, "values of -237 to -13"),
        (GRAY_16.astype("<i4") * 1000, 2, "values of 3,341,000 to 60,909,000"),
        (np.full((4, 4), 2**32 - 1, "<u4"), 1, "values of 4,294,967,295"),
        (np.full((4, 4), -3, "i1"), 2, "values of -3 to -3"),
        (GRAY_16.astype("<f2"), 3, "TIFF of 1 x 16 bits, floats"),
    ],
)
def test_what_has_no_white_is_refused_with_its_range(
    pixels: np.ndarray, sample_format: int, said: str
) -> None:
    error = refusal(tiff_file(pixels, sample_format=sample_format))
    assert error.reason == "unsupported"
    assert said in error.what
    assert "8 bits per channel" in error.what or "NaN" in error.what


def test_twelve_bits_are_scaled_by_their_own_white() -> None:
    values = GRAY.astype(int) * 4095 // 255
    even, odd = values[:, 0::2], values[:, 1::2]
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=2)
    pixels = packed.reshape(HEIGHT, -1).astype(np.uint8)
    # Three bytes hold two pixels.
    data = bytearray(tiff_file(pixels, bits=12))
    entry = data.index(struct.pack("<HHI", 256, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", WIDTH)
    assert difference(decode(bytes(data)), gray_rgb(GRAY)) < 0.6


def test_planes_one_after_the_other() -> None:
    assert (decode(tiff_file(smooth(), planar=True)) == smooth()).all()
    error = refusal(tiff_file(RGB_16, planar=True))
    assert (error.reason, "in planes" in error.what) == ("unsupported", True)


def test_alpha_of_a_tiff() -> None:
    half = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    blended = (smooth() * 128.0 + 255 * 127) / 255
    straight = tiff_file(np.concatenate([smooth(), half], axis=2), more={338: (2,)})
    assert difference(decode(straight), blended) < 1
    darkened = (smooth() * 128.0 / 255).astype(np.uint8)
    multiplied = tiff_file(np.concatenate([darkened, half], axis=2), more={338: (1,)})
    assert difference(decode(multiplied), blended) < 2
    unused = tiff_file(np.concatenate([smooth(), half * 0], axis=2), more={338: (0,)})
    assert (decode(unused) == smooth()).all()


@pytest.mark.parametrize("format", ["BMP", "TGA", "ICO"])
def test_an_alpha_of_zeros_alone_is_an_unused_channel(format: str) -> None:
    side = 48
    rgba = Image.fromarray(np.dstack([smooth(side, side), np.zeros((side, side), np.uint8)]))
    options = {"bitmap_format": "bmp", "sizes": [(side, side)]} if format == "ICO" else {}
    seen = decode(saved(rgba, format, **options))
    assert difference(seen, smooth(side, side)) < 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tga_rle"])
def test_tga(mode: str, compression: str | None) -> None:
    image = Image.fromarray(smooth()).convert(mode)
    data = saved(image, "TGA", compression=compression)
    assert difference(decode(data), np.asarray(image.convert("RGB"))) == 0
    assert (header(data).format, find_damage(data)) == ("tga", None)
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("bitmap", ["png", "bmp"])
def test_an_icon_gives_its_largest_image(bitmap: str) -> None:
    image = Image.fromarray(smooth(64, 64))
    data = saved(image, "ICO", bitmap_format=bitmap, sizes=[(16, 16), (64, 64), (32, 32)])
    assert difference(decode(data), smooth(64, 64)) < 1
    assert header(data).format == "ico"


def test_a_bmp_without_its_file_header() -> None:
    assert (decode(saved(Image.fromarray(smooth()), "DIB")) == smooth()).all()


def test_a_gif_that_covers_a_part_of_its_canvas_is_transparent_around_it() -> None:
    small = Image.new("P", (8, 4), 0)
    small.putpalette([255, 0, 0, 0, 0, 255])
    whole = saved(small, "GIF")
    place = whole.index(b",\0\0\0\0")
    moved = bytearray(whole)
    moved[6:10] = struct.pack("<HH", 20, 10)
    moved[place + 1 : place + 5] = struct.pack("<HH", 5, 2)
    seen = decode(bytes(moved), matte=(1, 2, 3))
    expected = np.full((10, 20, 3), (1, 2, 3))
    expected[2:6, 5:13] = (255, 0, 0)
    assert (seen == expected).all()


def test_what_is_wrong_with_an_animation_does_not_matter(
    recwarn: pytest.WarningsRecorder,
) -> None:
    first = Image.fromarray(smooth())
    data = bytearray(saved(first, "PNG", save_all=True, append_images=[first.rotate(180)]))
    frames = data.index(b"acTL")
    data[frames + 4 : frames + 8] = bytes(4)
    assert (decode(bytes(data)) == smooth()).all()
    assert not recwarn.list


@pytest.mark.parametrize(("width", "height"), [(1, 60), (60, 1), (1, 1), (65_500, 2), (3, 20_000)])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_extreme_sizes(width: int, height: int, format: str) -> None:
    data = saved(Image.new("RGB", (width, height), (200, 60, 20)), format)
    seen = decode(data)
    assert seen.shape == (height, width, 3)
    assert difference(seen[:1, :1], np.full((1, 1, 3), (200, 60, 20))) < 3
    assert (header(data).width, header(data).height) == (width, height)


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.9, 0.99])
def test_half_a_file_is_truncated(format: str, fraction: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    options = {"compression": "tiff_lzw"} if format == "TIFF" else {}
    data = saved(Image.fromarray(noise), format, **options)
    assert refusal(data[: int(len(data) * fraction)]).reason == "truncated"


def test_the_preview_of_a_camera_raw_file_is_not_taken_for_the_photo() -> None:
    for more in ({50706: (1, 4)}, {254: (1,), 330: (8,), 271: (65,)}):
        error = refusal(tiff_file(smooth(), more=more))
        assert error.reason == "unsupported"
        assert "camera raw" in error.what


def test_broken_metadata_is_passed_over_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    data = bytearray(tiff_file(smooth(), more={270: (1, 2, 3, 4), 34665: (65_000,)}))
    entry = data.index(struct.pack("<HHI", 270, 3, 4))
    data[entry + 8 : entry + 12] = struct.pack("<I", len(data) + 1000)
    assert (decode(bytes(data)) == smooth()).all()
    assert not recwarn.list


def test_scales() -> None:
    assert from_bits(np.array([0, 128, 65535]), 16).tolist() == [0, 0, 255]
    assert from_bits(np.array([0, 2048, 4095]), 12).tolist() == [0, 128, 255]
    assert from_any(np.array([0.0, 0.5, 1.0]), where=None).tolist() == [0, 128, 255]
    assert from_any(np.array([0.0, 1.4, 254.6]), where=None).tolist() == [0, 1, 255]
    assert from_any(np.array([0, 1, 255]), where=None).tolist() == [0, 1, 255]
    assert from_any(np.array([0, 257, 65535]), where=None).tolist() == [0, 1, 255]
