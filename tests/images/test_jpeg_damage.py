"""Damage that the decoder overlooks, and intact files that must not be accused."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from shopsight.errors import ImageError
from shopsight.images.jpeg import decode_jpeg, jpeg_header
from shopsight.images.jpeg_damage import checked_eighth


def product_on_white(seed: int, side_px: int = 320) -> Image.Image:
    """A plain product on white: compact, so that the decoder is soon back in step."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side_px, side_px), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = (int(value) for value in rng.integers(40, side_px - 80, 2))
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        pen.ellipse([x, y, x + 60, y + 45], fill=color)
    return image


def encoded(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": 90, **options})
    return out.getvalue()


def damage_is_found(data: bytes) -> bool:
    try:
        checked_eighth(data, jpeg_header(data))
    except ImageError:
        return True
    return False


def decoder_finds_damage(data: bytes) -> bool:
    try:
        decode_jpeg(data, jpeg_header(data), shrink=8, strict=True)
    except ImageError:
        return True
    return False


def test_finds_damage_that_the_decoder_overlooks() -> None:
    rng = np.random.default_rng(0)
    by_decoder = by_us = 0
    for seed in range(60):
        data = bytearray(encoded(product_on_white(seed)))
        start = data.index(b"\xff\xda") + 14
        at = int(rng.integers(start, start + (len(data) - start) // 2))
        data[at : at + 16] = rng.bytes(16)
        by_decoder += decoder_finds_damage(bytes(data))
        by_us += damage_is_found(bytes(data))
    assert by_us >= by_decoder + 10
    assert by_us >= 50


def gamut() -> UInt8[np.ndarray, "h w 3"]:
    """Black, white and all pure colors in fields of 16 pixels and in single pixels."""
    levels = np.array([0, 255], np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(2, 4, 3)
    fields = np.asarray(cv2.resize(colors, (64, 32), interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.concatenate([fields, np.tile(colors, (16, 16, 1))])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [5, 30, 75, 95, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_extreme_colors_are_not_accused(subsampling: str, quality: int, progressive: bool) -> None:
    for pixels in (gamut(), gamut()[:, :, :1].repeat(3, axis=2), gamut()[:45, :61]):
        image = Image.fromarray(np.ascontiguousarray(pixels))
        options = {"quality": quality, "progressive": progressive}
        assert not damage_is_found(encoded(image, subsampling=subsampling, **options))
        assert not damage_is_found(encoded(image.convert("L"), **options))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    quality=st.integers(1, 100),
    cells=st.integers(1, 12),
)
def test_intact_files_are_not_accused(
    seed: int, width: int, height: int, quality: int, cells: int
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, 255, 128, 3], np.uint8), (cells, cells, 3))
    pixels = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))
    assert not damage_is_found(encoded(Image.fromarray(pixels), quality=quality))


def test_gives_the_same_small_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC)
    for data in (encoded(image), encoded(image.convert("L")), encoded(image, quality=60)):
        head = jpeg_header(data)
        plain = decode_jpeg(data, head, shrink=8)
        checked = checked_eighth(data, head)
        assert np.abs(checked.astype(int) - plain).mean() < 1


def test_other_color_spaces_are_left_to_the_decoder() -> None:
    image = product_on_white(0)
    assert not damage_is_found(encoded(image.convert("CMYK")))
    assert not damage_is_found(encoded(image, keep_rgb=True))
    data = encoded(image)
    assert damage_is_found(data[: len(data) // 2])
