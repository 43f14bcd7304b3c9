"""Pages: thumbnails, numbers as text, and a page that needs nothing but itself."""

from __future__ import annotations

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from shopsight import pages


def opened(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(600, 400, (107, 160)), (300, 900, (160, 53)), (120, 100, (100, 120)), (28, 28, (140, 140))],
)
def test_a_thumbnail_keeps_the_aspect(height: int, width: int, expected: tuple[int, int]) -> None:
    rgb = np.full((height, width, 3), (200, 30, 60), np.uint8)
    image = opened(pages.thumbnail(rgb, side_px=160))
    assert image.size == expected
    middle = np.asarray(image.convert("RGB"))[image.height // 2, image.width // 2]
    assert np.abs(middle.astype(int) - (200, 30, 60)).max() < 12


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    rgb = np.zeros((10, 10, 3), np.uint8)
    rgb[::2, ::2] = 255
    image = np.asarray(opened(pages.thumbnail(rgb, side_px=40, quality=100)).convert("L"))
    assert (image[1:3, 1:3] > 200).all()
    assert (image[1:3, 5:7] < 60).all()


def test_numbers_on_pages_do_not_break() -> None:
    space = "\N{NO-BREAK SPACE}"
    assert pages.percent_text(0.8756) == f"87.6{space}%"
    assert pages.duration_text(5160) == f"1{space}h{space}26{space}min"


def test_values_are_escaped_and_unknown_names_fail() -> None:
    with pytest.raises(jinja2.UndefinedError):
        pages.render("base", {})
    page = pages.render("base", {"title": "<b>bold</b>"})
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>bold</b>" not in page
