"""A table of shopsight's own whose images lie elsewhere by now, or are gone."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.moved_images import move_images
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions

NAMES = ["hat/0.jpg", "hat/1.jpg", "bag/0.jpg"]


def photos(folder: Path, *names: str) -> Path:
    """Files in a folder (only their names matter)."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def written(path: Path, root: Path, images: list[str]) -> str:
    labels = [name.split("/")[-2] for name in images]
    Catalog(pl.DataFrame({"image": images, "label": labels}), "own", str(root)).write(path)
    return str(path)


def test_another_folder(tmp_path: Path) -> None:
    table = written(tmp_path / "own.csv", tmp_path / "gone", NAMES)
    root = photos(tmp_path / "new", *NAMES)
    catalog = open_catalog(table, read=ReadOptions(images_root=root))
    assert catalog.table["image"].to_list() == NAMES
    assert all(Path(ref).is_file() for ref in catalog.refs())
    assert any("3 of 3 rows found" in line for line in catalog.notes)


def test_full_paths_of_another_machine(tmp_path: Path) -> None:
    images = [f"/home/me/shop/{name}" for name in NAMES]
    table = written(tmp_path / "own.parquet", tmp_path, images)
    root = photos(tmp_path / "new", *NAMES)
    catalog = open_catalog(table, read=ReadOptions(images_root=root))
    assert catalog.table["image"].to_list() == NAMES
    assert catalog.table["label"].to_list() == ["hat", "hat", "bag"]


def test_what_is_missing_keeps_its_name_or_is_refused(tmp_path: Path) -> None:
    table = written(tmp_path / "own.csv", tmp_path / "gone", NAMES)
    root = photos(tmp_path / "new", *NAMES[:2])
    read = ReadOptions(images_root=root)
    assert open_catalog(table, read=read).table["image"].to_list() == NAMES
    with pytest.raises(CatalogError, match="1 of 3 rows name no image or a missing") as caught:
        open_catalog(table, read=read.merged(ReadOptions(on_missing_image="error")))
    assert caught.value.details == ("row 3: bag/0.jpg is not there",)
    with pytest.raises(CatalogError, match="no such folder of images"):
        open_catalog(table, read=ReadOptions(images_root=tmp_path / "absent"))


def test_members_of_containers(tmp_path: Path) -> None:
    root = photos(tmp_path / "mnist", "train-images-idx3-ubyte.gz")
    images = [f"train-images-idx3-ubyte.gz#{i}" for i in range(3)]
    catalog = move_images(Catalog(pl.DataFrame({"image": images}), "idx"), str(root), "idx")
    assert catalog.table["image"].to_list() == images
