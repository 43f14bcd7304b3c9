"""What `predict` and `embed` take: the DATA of all verbs, one image after another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.images.model_input import Box
from shopsight.inference import image_stream
from shopsight.inference.image_stream import ImageInput, NamedImage, open_images
from shopsight.inference.inputs import prepare_inputs
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200


def draw(path: Path, number: int = 0, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, kind)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("a/1.png", "a/2.png", "b/3.png")):
        draw(tmp_path / "photos" / name, number)
    return tmp_path / "photos"


def named(images: object, read: ReadOptions | None = None) -> list[NamedImage]:
    return list(open_images(images, read))  # type: ignore[arg-type]


def names(images: object, read: ReadOptions | None = None) -> list[str]:
    return [Path(one.source).name for one in named(images, read)]


def test_a_folder_stands_for_all_its_images_whatever_its_sub_folders_mean(photos: Path) -> None:
    for name in ("train/a/4.png", "unlabeled/5.png", "6.png"):
        draw(photos / name)
    assert names(photos) == ["6.png", "1.png", "2.png", "3.png", "4.png", "5.png"]


def test_what_could_be_an_image_is_tried_and_what_is_skipped_is_noted(
    photos: Path, said: list[str]
) -> None:
    draw(photos / "no-suffix", kind="JPEG")
    (photos / "IMG_1.HEIC").write_bytes(HEIC)
    (photos / "notes.txt").write_text("no image", encoding="utf-8")
    (photos / "Thumbs.db").write_bytes(b"x")
    assert names(photos) == ["IMG_1.HEIC", "1.png", "2.png", "3.png", "no-suffix"]
    (line,) = [line for line in said if "not an image file" in line]
    assert "1 file (1 .txt, e.g. notes.txt)" in line
    assert any("left behind by a system: 1 (Thumbs.db)" in line for line in said)


def test_nothing_to_predict_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x", encoding="utf-8")
    for images in (tmp_path / "empty", [tmp_path / "empty", tmp_path / "texts"]):
        with pytest.raises(CatalogError, match="there is no image here"):
            named(images)
    # But one without any beside one with some is not.
    assert len(named([tmp_path / "empty", draw(tmp_path / "x.png")])) == 1
    # Nor is a service's batch of none.
    assert named([]) == []


def test_a_table_gives_its_rows_with_boxes_labeled_or_not(photos: Path) -> None:
    table = photos.parent / "shop.csv"
    table.write_text(
        "sku,photo,label,box_x,box_y,box_w,box_h\n"
        "s1,a/1.png,hat,1,2,10,12\ns2,b/3.png,,,,,\ns3,a/1.png,shoe,5,5,8,8\n",
        encoding="utf-8",
    )
    read = ReadOptions(image="photo", images_root=photos)
    found = named(table, read)
    assert [(one.row, one.name) for one in found] == [
        (0, "a/1.png"),
        (1, "b/3.png"),
        (2, "a/1.png"),
    ]
    assert [one.box for one in found] == [Box(1, 2, 10, 12), None, Box(5, 5, 8, 8)]
    square = Preprocess(size_px=16, boxes=True)
    first, bare, third = prepare_inputs(table, square, window=4, read=read)
    assert (first.row, first.name, first.error) == (0, "a/1.png", None)
    assert first.pixels is not None
    assert third.pixels is not None
    assert not np.array_equal(first.pixels, third.pixels)
    assert bare.error is not None
    assert bare.error.reason == "no box"
    whole = [*prepare_inputs(table, square.of_whole_images, window=4, read=read)]
    assert whole[0].pixels is not None
    assert whole[1].pixels is not None
    assert np.array_equal(whole[0].pixels, whole[2].pixels)


def test_rows_keep_the_numbers_of_the_users_table(photos: Path) -> None:
    table = photos.parent / "shop.csv"
    table.write_text(
        "photo,label\na/1.png,hat\n,shoe\nb/3.png,shoe\na/2.png,hat\n", encoding="utf-8"
    )
    rows = [(one.row, one.name) for one in named(table, ReadOptions(images_root=photos))]
    assert rows == [(0, "a/1.png"), (2, "b/3.png"), (3, "a/2.png")]
    rows = [(one.row, one.name) for one in named(table, ReadOptions(drop=("hat",)))]
    assert rows == [(2, "b/3.png")]


def test_several_sources_of_every_kind_in_their_order(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "shop.csv"
    table.write_text("image\na/1.png\nb/3.png\n", encoding="utf-8")
    single = draw(tmp_path / "single.png")
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    catalog = Catalog(pl.DataFrame({"image": ["a/2.png"]}), "own", str(photos))
    given: list[ImageInput] = [single, photos / "b", table, file.getvalue(), catalog]
    found = named(given, ReadOptions(images_root=photos))
    assert [Path(one.source).name for one in found] == [
        "single.png", "3.png", "1.png", "3.png", "image 5", "2.png",
    ]  # fmt: skip
    assert [one.row for one in found] == [None, None, 0, 1, None, 0]


def test_options_that_no_source_uses_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="--image would change nothing"):
        named([photos, draw(tmp_path / "x.png")], ReadOptions(image="photo"))
    assert names(photos, ReadOptions(skip_folder=("a",))) == ["3.png"]


def test_a_table_that_cannot_be_read_is_known_before_the_first_image(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(CatalogError):
        open_images([photos, tmp_path / "bad.parquet"])
    with pytest.raises(CatalogError, match=r"none\.csv"):
        open_images(tmp_path / "none.csv")


def test_an_iterator_is_not_read_ahead_of_its_images(photos: Path, tmp_path: Path) -> None:
    def given() -> Iterator[ImageInput]:
        yield photos
        yield tmp_path / "none.csv"

    stream = open_images(given())
    assert [Path(next(stream).source).name for _ in range(3)] == ["1.png", "2.png", "3.png"]
    with pytest.raises(CatalogError, match=r"none\.csv"):
        next(stream)


def test_what_is_no_path_at_all_is_an_answer(tmp_path: Path) -> None:
    odd = ["x" * 5000, "a\0b", str(tmp_path / "gone.jpg"), "foo://bar/x.png"]
    found = list(prepare_inputs(odd, Preprocess(size_px=16), window=4, threads=1))
    assert [one.source for one in found] == odd
    assert all(one.error is not None for one in found)


def test_a_damaged_file_is_answered_and_marked(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=92)
    whole = file.getvalue()
    half = whole[: len(whole) // 2] + b"\xff\xd9"
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "half.jpg").write_bytes(half)
    given = [tmp_path / "whole.jpg", tmp_path / "half.jpg", half]
    found = list(prepare_inputs(given, Preprocess(size_px=32), window=4))  # type: ignore[arg-type]
    assert [one.damaged is not None for one in found] == [False, True, True]
    assert all(one.error is None and one.pixels is not None for one in found)


def test_rows_of_a_large_table_are_taken_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_stream, "ROWS_AT_ONCE", 3)
    boxes = {f"box_{side}": [float(row) for row in range(8)] for side in "xywh"}
    table = pl.DataFrame({"image": [f"{row}.png" for row in range(8)], **boxes})
    taken = named(Catalog(table, "many", root=str(tmp_path)))
    assert [one.row for one in taken] == list(range(8))
    assert [Path(one.source).name for one in taken] == table["image"].to_list()
    assert [one.box and one.box.x for one in taken] == [float(row) for row in range(8)]
    rows = Catalog(table.with_columns(table_row=pl.int_range(8) * 2), "some", root=str(tmp_path))
    assert [one.row for one in named(rows)] == list(range(0, 16, 2))
