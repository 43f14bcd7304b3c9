from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.folders.folders import folder_catalog
from shopsight.image_files.scan import scan_folder
from tests.helpers import touch


def read(folder: Path, *names: str) -> Catalog:
    root = touch(folder, *names)
    return folder_catalog(scan_folder(root), name="shop", root=root)


def labels_of(catalog: Catalog) -> dict[str, str]:
    return dict(catalog.table.select("image", "label").iter_rows())


def test_one_folder_per_class(tmp_path: Path) -> None:
    catalog = read(tmp_path, "shoe/1.jpg", "hat/2.jpg", "hat/3.png")
    assert labels_of(catalog) == {"hat/2.jpg": "hat", "hat/3.png": "hat", "shoe/1.jpg": "shoe"}
    assert catalog.notes[0] == "one folder per class: 2 classes, 3 images"
    assert "split" not in catalog.table.columns


def test_a_folder_around_everything_is_looked_through(tmp_path: Path) -> None:
    catalog = read(tmp_path, "shop/photos/shoe/1.jpg", "shop/photos/hat/2.jpg")
    assert catalog.labels == ("hat", "shoe")


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev"])
def test_splits_above_the_classes(tmp_path: Path, val: str) -> None:
    catalog = read(
        tmp_path, "Train/shoe/1.jpg", "Train/hat/2.jpg", f"{val}/hat/3.jpg", "test/hat/4.jpg"
    )
    splits = dict(catalog.table.select("image", "split").iter_rows())
    assert splits["Train/shoe/1.jpg"] == "train"
    assert splits[f"{val}/hat/3.jpg"] == "val"
    assert splits["test/hat/4.jpg"] == "test"
    assert catalog.labels == ("hat", "shoe")


def test_splits_inside_a_wrapper(tmp_path: Path) -> None:
    catalog = read(tmp_path, "data/train/shoe/1.jpg", "data/test/hat/2.jpg")
    assert sorted(catalog.table["split"]) == ["test", "train"]


def test_train_alone_is_no_split(tmp_path: Path) -> None:
    catalog = read(tmp_path, "train/shoe/1.jpg", "train/hat/2.jpg")
    assert catalog.labels == ("hat", "shoe")
    assert "split" not in catalog.table.columns
    assert catalog.notes[0] == "only train has classes (train/): not used as a split"


def test_test_images_without_classes_are_unlabeled(tmp_path: Path) -> None:
    catalog = read(tmp_path, "train/shoe/1.jpg", "val/shoe/2.jpg", "test/3.jpg")
    assert catalog.table.rows() == [
        ("test/3.jpg", None, None),
        ("train/shoe/1.jpg", "shoe", "train"),
        ("val/shoe/2.jpg", "shoe", "val"),
    ]
    assert "in no class folder: 1 image unlabeled, e.g. test/3.jpg" in catalog.notes


def test_images_beside_class_folders_are_unlabeled(tmp_path: Path) -> None:
    catalog = read(tmp_path, "shoe/1.jpg", "hat/2.jpg", "cover.jpg")
    assert labels_of(catalog)["cover.jpg"] is None
    assert catalog.labels == ("hat", "shoe")
    assert catalog.unlisted == ()


def test_deeper_images_belong_to_their_class(tmp_path: Path) -> None:
    catalog = read(tmp_path, "shoe/red/1.jpg", "hat/2.jpg")
    assert labels_of(catalog)["shoe/red/1.jpg"] == "shoe"
    assert any("shoe/red/ is 'shoe' of group 'red'" in line for line in catalog.notes)


@pytest.mark.parametrize("names", [("1.jpg", "2.jpg"), ("images/1.jpg", "images/2.jpg")])
def test_a_folder_without_classes_has_no_labels(tmp_path: Path, names: tuple[str, ...]) -> None:
    catalog = read(tmp_path, *names)
    assert catalog.table.columns == ["image"]
    assert len(catalog) == 2


def test_no_images_at_all(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no image files") as caught:
        read(tmp_path, "a.txt", "b.txt")
    assert "2 .txt, e.g. " in str(caught.value)
