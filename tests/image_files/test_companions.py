"""Raw files, HEIC and thumbnails beside the image that they show again."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from shopsight.image_files import companions, empty_folders
from shopsight.image_files.companions import companions_of
from shopsight.image_files.scan import scan_folder
from tests.helpers import touch


@pytest.mark.parametrize("module", [companions, empty_folders])
def test_the_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize(
    "companion",
    [
        *("hat/1.CR2", "hat/1.nef", "hat/1.HEIC", "hat/1.psd", "Hat/1.dng"),
        *("hat/1_mask.png", "hat/1-mask-2.png", "hat/1 Segmentation.png", "hat/1_thumb.jpg"),
        *("hat/thumbs/1.JPG", "hat/Thumbnails/1.png", "thumbs/hat/1.jpg"),
    ],
)
def test_what_shows_an_image_again(companion: str) -> None:
    assert companions_of([companion, "hat/1.jpg"]) == {companion: "hat/1.jpg"}


@pytest.mark.parametrize(
    "images",
    [
        *(["hat/1.CR2", "hat/2.jpg"], ["hat/1.CR2", "shoe/1.jpg"], ["hat/1.CR2", "hat/1.NEF"]),
        *(["hat/1.png", "hat/1.jpg"], ["hat/thumbs/3.jpg", "hat/1.jpg"], ["thumbs/1.jpg"]),
        *(["ski/mask.jpg", "ski/1.jpg"], ["ski_mask.jpg"], ["hat/1_mask.png", "hat/2.jpg"]),
        # A thumbnail is no photo of its own to keep a raw file out.
        ["hat/1.CR2", "hat/thumbs/2.jpg"],
    ],
)
def test_what_is_an_image_of_its_own(images: list[str]) -> None:
    assert companions_of(images) == {}


def test_a_scan_counts_them(tmp_path: Path) -> None:
    root = touch(tmp_path, "hat/1.JPG", "hat/1.CR2", "hat/2.CR2", "hat/thumbs/1.jpg")
    scan = scan_folder(root)
    assert scan.images == ["hat/1.JPG", "hat/2.CR2"]
    assert scan.notes() == [
        "skipped, they belong to other images: 2 files, e.g. hat/1.CR2 beside hat/1.JPG"
    ]


@pytest.mark.parametrize("name", ["", "1.mp4", "hat.zip"])
def test_a_class_folder_without_an_image_is_said(tmp_path: Path, name: str) -> None:
    root = touch(tmp_path, "shoe/1.jpg", "bag/1.jpg")
    (tmp_path / "hat" / "new").mkdir(parents=True)
    if name:
        touch(tmp_path, f"hat/{name}")
    assert scan_folder(root).empty == ["hat"]
    assert scan_folder(root).notes()[0] == "folders without an image: hat/"
