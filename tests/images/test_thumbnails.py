"""Thumbnails: what they hold, and that they come back from the file.

Their comparison is tested with the search for near duplicates, in tests/audit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.images.thumbnails import (
    LUMA_BYTES,
    THUMB_BYTES,
    is_near_duplicate,
    luma,
    read_thumbs,
    thumb,
    write_thumbs,
)
from tests.images.samples import smooth


@pytest.mark.parametrize("size", [(1, 1), (24, 24), (300, 7), (640, 480)])
def test_every_size_gives_the_same_number_of_values(size: tuple[int, int]) -> None:
    assert thumb(smooth(*size)).shape == (THUMB_BYTES,)


def test_a_plain_color_is_its_luma_and_chroma() -> None:
    values = thumb(np.full((50, 80, 3), (200, 100, 50), np.uint8))
    luma_of_color = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert np.abs(values[:LUMA_BYTES] - luma_of_color).max() <= 1
    red, blue = values[LUMA_BYTES::2], values[LUMA_BYTES + 1 :: 2]
    assert np.abs(red - (128 + 0.713 * (200 - luma_of_color))).max() <= 1
    assert np.abs(blue - (128 + 0.564 * (50 - luma_of_color))).max() <= 1
    assert (luma(values[None]) == 0).all()


def test_gain_and_offset_are_excused_and_color_is_not() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(60, 190, (24, 24, 1), dtype=np.uint8).repeat(3, axis=2)
    brighter = (rgb * 0.8 + 60).astype(np.uint8)
    redder = rgb.copy()
    redder[:, :, 0] += 40
    plain, other, tinted = (thumb(pixels)[None] for pixels in (rgb, brighter, redder))
    assert is_near_duplicate(plain, other)[0]
    assert not is_near_duplicate(plain, tinted)[0]


def test_thumbnails_come_back_by_content(tmp_path: Path) -> None:
    thumbs = np.stack([thumb(smooth(seed=seed)) for seed in range(4)])
    thumbs[2] = 0  # Too small to be compared.
    hashes = pl.Series(["a", "b", "c", "a"])
    write_thumbs(tmp_path / "thumbs.parquet", hashes, thumbs)
    found = read_thumbs(tmp_path / "thumbs.parquet", pl.Series(["b", "a", "c", "absent", "b"]))
    assert (found == thumbs[:2]).all()
