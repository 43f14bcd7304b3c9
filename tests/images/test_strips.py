"""Images are converted and made smaller by strips: the result is that of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shopsight.images import icc, image_modes, levels, model_input
from shopsight.images.decode import decode
from tests.fuzz.decoding import seeds
from tests.images.samples import saved, smooth


@pytest.mark.parametrize("name", seeds())
def test_strips_are_the_image(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole = decode(seeds()[name])
    for module, setting in (
        (image_modes, "_STRIP_PIXELS"),
        (icc, "_STRIP_PIXELS"),
        (levels, "_STRIP_VALUES"),
    ):
        monkeypatch.setattr(module, setting, 60)
    assert np.array_equal(decode(seeds()[name]), whole)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 60), (199, 30), (10, 200), (300, 20)])
def test_strips_of_columns_are_the_resized_image(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], interpolation: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (210, 200, 3), np.uint8)
    whole = model_input.resize(pixels, *size, interpolation)  # type: ignore[arg-type]
    monkeypatch.setattr(model_input, "_COPIED_PIXELS", 1_000)
    assert np.array_equal(model_input.resize(pixels, *size, interpolation), whole)  # type: ignore[arg-type]


def test_transparent_strips_have_the_matte(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(smooth()).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = saved(image, "PNG")
    whole = decode(data, matte=(9, 99, 199))
    monkeypatch.setattr(image_modes, "_STRIP_PIXELS", 300)
    assert np.array_equal(decode(data, matte=(9, 99, 199)), whole)
