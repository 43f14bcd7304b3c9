"""Every kind of input gives the same pixels, in order, and failures come as values."""

from __future__ import annotations

import io
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight.errors import CatalogError
from shopsight.images.model_input import preprocess_image
from shopsight.inference.image_stream import ImageInput
from shopsight.inference.inputs import Prepared, prepare_inputs
from shopsight.prefetch import THREAD_NAME
from shopsight.preprocess import Preprocess

SMALL = Preprocess(size_px=32)


def all_of(images: object) -> list[Prepared]:
    return list(prepare_inputs(images, SMALL, window=4, threads=2))  # type: ignore[arg-type]


def test_every_kind_of_input_gives_the_same_image(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    file = io.BytesIO()
    image.save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    expected = preprocess_image(file.getvalue(), SMALL)
    kinds: list[object] = [
        str(tmp_path / "a.png"), tmp_path / "a.png", tmp_path, file.getvalue(), image, rgb,
        rgb[None], [rgb], [tmp_path],
    ]  # fmt: skip
    for kind in kinds:
        (found,) = all_of(kind)
        assert found.error is None
        assert found.pixels is not None
        assert np.array_equal(found.pixels, expected)


def test_pillow_images_are_treated_as_their_files() -> None:
    rng = np.random.default_rng(1)
    rgba = Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8))
    turned = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    turned.getexif()[0x0112] = 6
    palette = turned.quantize(16)
    gray = Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16))
    for image in (rgba, turned, palette, gray, deep):
        file = io.BytesIO()
        image.save(file, "PNG", exif=image.getexif())
        (found,) = all_of(image)
        assert found.pixels is not None
        assert np.array_equal(found.pixels, preprocess_image(file.getvalue(), SMALL)), image.mode
    for wide in (np.asarray(gray) / np.float32(255), np.asarray(gray).astype(np.int32)):
        file = io.BytesIO()
        Image.fromarray(wide).save(file, "TIFF")
        (found,) = all_of(Image.fromarray(wide))
        assert found.pixels is not None
        assert np.array_equal(found.pixels, preprocess_image(file.getvalue(), SMALL)), wide.dtype
    (cmyk,) = all_of(turned.convert("CMYK"))
    assert cmyk.pixels is not None


def test_arrays_with_one_or_four_channels() -> None:
    gray = np.random.default_rng(2).integers(0, 256, (20, 30), dtype=np.uint8)
    first, second = all_of([gray, gray[:, :, None]])
    assert first.pixels is not None
    assert second.pixels is not None
    assert np.array_equal(first.pixels, second.pixels)
    (clear,) = all_of(np.zeros((8, 8, 4), np.uint8))
    assert clear.pixels is not None
    assert clear.pixels.min() == 255  # transparent: the pad color


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(3)],
)
def test_other_arrays_are_refused_with_a_reason(array: np.ndarray) -> None:
    (found,) = all_of(array)
    assert found.error is not None
    assert found.error.reason == "unsupported"


def test_failures_keep_their_position(files: list[str], tmp_path: Path) -> None:
    cut = Path(files[0]).read_bytes()[:200]
    found = all_of([files[0], tmp_path / "gone.jpg", files[1], b"", cut, b"text", files[2]])
    reasons = [one.error.reason if one.error else None for one in found]
    assert reasons[:4] == [None, "missing", None, "empty"]
    assert reasons[4] in {"truncated", "damaged", "not an image"}
    assert reasons[5:] == ["not an image", None]
    assert found[1].source == str(tmp_path / "gone.jpg")
    assert [found[index].source for index in (3, 4, 5)] == ["image 4", "image 5", "image 6"]


def test_order_is_kept_and_folders_are_listed(files: list[str]) -> None:
    folder = str(Path(files[0]).parents[1])
    assert [one.source for one in all_of(folder)] == files
    assert [one.source for one in all_of([files[3], folder, files[1]])] == [
        files[3],
        *files,
        files[1],
    ]


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no image here"):
        all_of(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    if os.access(tmp_path / "locked", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(CatalogError):
        all_of(tmp_path / "locked")


def test_takes_no_more_than_the_window(files: list[str]) -> None:
    taken = 0

    def endless() -> Iterator[ImageInput]:
        nonlocal taken
        for file in itertools.cycle(files):
            taken += 1
            yield file

    stream = prepare_inputs(endless(), SMALL, window=5, threads=2)
    for count in range(1, 8):
        next(stream)
        assert taken <= count + 5
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]
