"""What is measured of a file: color spaces, animation, transparency on white."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from shopsight.image_rules.file_measures import FileMeasures, measure_file

PRODUCT = (slice(60, 140), slice(60, 140))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def product(mode: str = "RGB") -> Image.Image:
    pixels = np.full((200, 200, 3), 255, np.uint8)
    pixels[PRODUCT] = (30, 90, 160)
    return Image.fromarray(pixels).convert(mode)


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def adobe_like() -> bytes:
    """The profile of sRGB with red and blue exchanged: any profile that moves colors will do."""
    data = bytearray(profile("sRGB"))
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_color_spaces(kind: str) -> None:
    assert measure_file(encoded(product(), kind)).color_space == "untagged"
    tagged = encoded(product(), kind, icc_profile=profile("sRGB"))
    assert measure_file(tagged).color_space == "sRGB"
    broken = encoded(product(), kind, icc_profile=b"nonsense" * 20)
    assert measure_file(broken).color_space == "broken profile"
    other = encoded(product(), kind, icc_profile=adobe_like())
    assert measure_file(other).color_space not in {"untagged", "sRGB", "broken profile", None}


def test_gray_and_cmyk() -> None:
    assert measure_file(encoded(product("L"), "JPEG")).color_space == "gray"
    assert measure_file(encoded(product("LA"), "PNG")).color_space == "gray"
    assert measure_file(encoded(product("CMYK"), "JPEG")).color_space == "CMYK"
    assert measure_file(encoded(product("CMYK"), "TIFF")).color_space == "CMYK"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation(kind: str) -> None:
    frames = [product(), product().rotate(45, fillcolor="red")]
    moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert measure_file(moving).is_animated
    assert measure_file(encoded(product(), kind)).is_animated is False


def test_pages_of_a_tiff_do_not_move() -> None:
    pages = encoded(product(), "TIFF", save_all=True, append_images=[product()])
    assert measure_file(pages).is_animated is False


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_lies_on_white(kind: str) -> None:
    pixels = np.zeros((200, 200, 4), np.uint8)  # Transparent black.
    pixels[PRODUCT] = (30, 90, 160, 255)
    found = measure_file(encoded(Image.fromarray(pixels), kind, lossless=True))
    assert (found.near_white, found.pure_white, found.shot) == (1.0, 1.0, "packshot")
    assert found.fill == pytest.approx(0.4, abs=0.01)


def test_white_of_another_profile_is_white() -> None:
    found = measure_file(encoded(product(), "PNG", icc_profile=adobe_like()))
    assert found.near_white == 1.0


def test_what_cannot_be_decoded() -> None:
    assert measure_file(b"no image").reason == "not an image"
    cut = encoded(product(), "PNG")[:300]
    assert measure_file(cut).reason
    assert measure_file(cut) == FileMeasures(measure_file(cut).reason)
