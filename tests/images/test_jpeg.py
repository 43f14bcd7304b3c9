"""JPEG: header, scaled decoding, and what strict decoding refuses."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from shopsight.errors import ImageError
from shopsight.images.decode import decode
from shopsight.images.jpeg import decode_jpeg, jpeg_header, shrink_for
from tests.images.samples import difference, jpeg, smooth


def test_header_agrees_with_the_decoder() -> None:
    data = jpeg(smooth(123, 77), progressive=True)
    facts = jpeg_header(data)
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    assert (facts.height, facts.width, facts.components) == (height, width, 3)


def test_progressive_and_trailing_bytes() -> None:
    assert difference(decode(jpeg(progressive=True)), smooth()) < 2
    assert difference(decode(jpeg() + b"trailing" * 9), smooth()) < 2


@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    min_width=st.integers(1, 300),
    min_height=st.integers(1, 300),
)
def test_shrink_never_goes_below(width: int, height: int, min_width: int, min_height: int) -> None:
    shrink = shrink_for(width, height, min_width, min_height)

    def enough(at: int) -> bool:
        return math.ceil(width / at) >= min_width and math.ceil(height / at) >= min_height

    assert shrink == 1 or enough(shrink)
    assert shrink == 8 or not enough(2 * shrink)


@pytest.mark.parametrize("at_least", [10, 60, 61, 120, 300])
def test_scaled_decode_is_the_small_image(at_least: int) -> None:
    large = smooth(400, 480)
    data = jpeg(large)
    small = decode(data, at_least_px=at_least)
    assert min(small.shape[:2]) >= at_least
    resized = cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert difference(small, np.asarray(resized)) < 2


def test_jpeg_without_its_end_marker() -> None:
    data = jpeg()[:-2]
    assert difference(decode(data), smooth()) < 2
    with pytest.raises(ImageError, match="end marker"):
        decode_jpeg(data, jpeg_header(data), strict=True)


def test_damaged_jpeg_decodes_unless_strict() -> None:
    intact = jpeg(smooth(400, 300), quality=90)
    middle = len(intact) * 2 // 3
    data = intact[:middle] + b"\xff" * 40 + intact[middle + 40 :]
    with pytest.raises(ImageError) as caught:
        decode_jpeg(data, jpeg_header(data), strict=True)
    assert caught.value.reason == "damaged"
    assert decode(data).shape == (300, 400, 3)
