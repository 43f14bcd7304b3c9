from __future__ import annotations

import doctest
import ntpath
import posixpath
from pathlib import Path, PureWindowsPath

import polars as pl
import pytest

from shopsight import paths
from shopsight.catalog.catalog import Catalog


def test_examples() -> None:
    found = doctest.testmod(paths)
    assert found.attempted >= 2
    assert found.failed == 0


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("s3://bucket/photos", True),
        ("file:///photos", True),
        ("zip://a.jpg::s3://bucket/photos.zip", True),
        ("simplecache::s3://bucket/photos", True),
        ("C:\\photos", False),
        ("C:/photos", False),
        ("C://photos", False),
        ("\\\\server\\share", False),
        ("hf:owner/name", False),
        ("photos/a.jpg", False),
    ],
)
def test_a_drive_is_no_scheme(location: str, url: bool) -> None:
    assert paths.is_url(location) == url


@pytest.mark.parametrize(
    ("location", "home"),
    [
        ("C:\\data\\labels.csv", "C:/data"),
        ("C:/data/labels.csv", "C:/data"),
        ("C:\\labels.csv", "C:/"),
        ("\\\\server\\share\\labels.csv", "//server/share/"),
        ("data\\labels.csv", "data"),
        ("labels.csv", "."),
        ("https://shop.example/data/labels.csv", "https://shop.example/data"),
    ],
)
def test_the_folder_of_a_table_on_windows(location: str, home: str) -> None:
    assert paths.parent_of(location, flavor=PureWindowsPath) == home


@pytest.mark.parametrize(
    ("path", "start", "way"),
    [
        ("C:\\photos\\shoes", "C:\\runs\\first", "../../photos/shoes"),
        ("D:\\photos", "C:\\runs", None),
        ("\\\\server\\share\\photos", "C:\\runs", None),
        ("\\\\server\\share\\photos", "\\\\server\\share\\runs", "../photos"),
        ("\\\\server\\share\\photos", "\\\\other\\share\\runs", None),
    ],
)
def test_the_way_from_drive_to_drive(path: str, start: str, way: str | None) -> None:
    assert paths.relative(path, start, flavor=ntpath) == way


def test_the_way_on_posix_keeps_backslashes() -> None:
    assert paths.relative("/data/a\\b", "/runs", flavor=posixpath) == "../data/a\\b"


def test_names_below_a_folder() -> None:
    assert paths.join("/photos/", "a.jpg") == "/photos/a.jpg"
    assert paths.join("/", "a.jpg") == "/a.jpg"
    assert paths.join("C:/", "a.jpg") == "C:/a.jpg"
    assert paths.join("photos", "\\\\server\\share\\a.jpg") == "\\\\server\\share\\a.jpg"
    assert paths.join("s3://bucket", "a/b.jpg") == "s3://bucket/a/b.jpg"


def test_full_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.full("photos") == (tmp_path / "photos").as_posix()
    assert paths.full("s3://bucket") == "s3://bucket"
    assert paths.full("D:\\photos") == "D:/photos"
    assert paths.name_of("photos/shoes/") == "shoes"
    assert paths.name_of("s3://bucket/shoes/") == "shoes"
    assert paths.name_of("/") == "/"


@pytest.mark.parametrize("root", ["", "/photos", "/", "C:/", "s3://bucket/photos/"])
def test_the_images_of_a_catalog_are_joined_as_single_ones(root: str) -> None:
    names = [
        "a.jpg",
        "a/b.jpg",
        "/a",
        "C:\\a",
        "C:a",
        "\\\\server\\a",
        "\\a",
        "s3://b/a",
        "x::y://a",
    ]
    catalog = Catalog(pl.DataFrame({"image": names}), "shop", root)
    base = paths.full(catalog.root)
    assert catalog.refs() == [paths.join(base, name) for name in names]
