from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from shopsight.inference.precision_images import (
    MOST_IMAGES,
    choose_rows,
    read_precision_images,
    write_precision_images,
)
from shopsight.loading.pixel_sources import DecodingSource, ImageSet
from shopsight.preprocess import Preprocess
from tests.fuzz.kept_bytes import hostile_precision_files, read_as_precision_images
from tests.helpers import ProductPhotos


def test_rows_are_a_sample_of_the_part() -> None:
    few = np.arange(100, 140)
    assert sorted(choose_rows(few, seed=0).tolist()) == few.tolist()
    many = choose_rows(np.arange(10_000), seed=0)
    assert len(set(many.tolist())) == MOST_IMAGES
    # The first ones decide alone where they leave no doubt.
    assert 3_000 < many[:100].mean() < 7_000
    assert len(choose_rows(np.arange(0), seed=0)) == 0


def test_what_is_kept_is_what_the_network_sees(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    files = [str(path) for path in sorted(product_photos.folder.rglob("*.jpg"))]
    source = DecodingSource(ImageSet(files, None, Preprocess(size_px=96)))
    rows = np.arange(0, len(files), 7)
    kept = write_precision_images(tmp_path / "images.npz", source, rows)
    assert kept.shape == (len(rows), 96, 96, 3)
    difference = np.abs(kept.astype(int) - source.gather(rows))
    assert difference.mean() < 4
    read = read_precision_images(tmp_path / "images.npz", size_px=96)
    assert read is not None
    np.testing.assert_array_equal(read, kept)


@pytest.mark.parametrize("kind", hostile_precision_files())
def test_what_somebody_else_made_counts_as_none(kind: str, tmp_path: Path) -> None:
    (tmp_path / "images.npz").write_bytes(hostile_precision_files()[kind])
    tracemalloc.start()
    assert read_as_precision_images(tmp_path / "images.npz") == "none"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The file three times, whatever it says.
    assert most < 3 * (tmp_path / "images.npz").stat().st_size + 2_000_000


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive"])
def test_a_file_that_cannot_be_read_is_as_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    assert read_precision_images(path, size_px=96) is None
    path.write_bytes(content)
    assert read_precision_images(path, size_px=96) is None
