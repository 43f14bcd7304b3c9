from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.folders import folder_catalog, pattern_catalog
from shopsight.catalog.scan import scan_folder
from shopsight.errors import CatalogError


def init_run_folder(folder: Path, *names: str) -> str:
    """Files that only their names matter of."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


def read(folder: Path, *names: str) -> Catalog:
    root = init_run_folder(folder, *names)
    return folder_catalog(scan_folder(root), name="shop", root=root)


def read_by_pattern(folder: Path, pattern: str, *names: str) -> Catalog:
    root = init_run_folder(folder, *names)
    return pattern_catalog(scan_folder(root), pattern, name="shop", root=root)


def labels_of(catalog: Catalog) -> dict[str, str]:
    return dict(catalog.table.select("image", "label").iter_rows())


def test_scan_sorts_and_tells_kinds_apart(tmp_path: Path) -> None:
    root = init_run_folder(
        tmp_path, "b/2.JPG", "a/1.png", "labels.csv", "notes.txt", ".hidden/3.jpg",
        "__MACOSX/4.jpg", "a/.5.jpg", "train-images-idx3-ubyte.gz", "a/inner.csv", "README",
    )  # fmt: skip
    scan = scan_folder(root)
    assert scan.images == ["a/1.png", "b/2.JPG"]
    assert scan.tables == ["labels.csv"]
    assert scan.containers == ["train-images-idx3-ubyte.gz"]
    assert dict(scan.others) == {".txt": 1, ".csv": 1, "no suffix": 1}


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_scan_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    init_run_folder(tmp_path / "elsewhere", "1.jpg")
    root = init_run_folder(tmp_path / "shop", "hat/2.jpg")
    (tmp_path / "shop" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "shop" / "hat" / "up").symlink_to(tmp_path / "shop")
    assert scan_folder(root).images == ["hat/2.jpg", "linked/1.jpg"]


def test_scan_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        scan_folder(str(tmp_path / "absent"))


def test_scan_reads_a_url(tmp_path: Path) -> None:
    init_run_folder(tmp_path, "hat/2.jpg", "shoe/1.jpg", ".git/3.jpg", "shop.csv")
    scan = scan_folder(f"file://{tmp_path}")
    assert scan.images == ["hat/2.jpg", "shoe/1.jpg"]
    assert scan.tables == ["shop.csv"]


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
    assert "the only split folder" in catalog.notes[0]


def test_unlabeled_test_images_are_skipped_by_name(tmp_path: Path) -> None:
    catalog = read(tmp_path, "train/shoe/1.jpg", "val/shoe/2.jpg", "test/3.jpg")
    assert len(catalog) == 2
    assert catalog.unlisted == ("test/3.jpg",)
    assert any("skipped" in line and "test/3.jpg" in line for line in catalog.notes)


def test_a_class_named_like_a_split_stays_a_class(tmp_path: Path) -> None:
    assert read(tmp_path, "train/1.jpg", "plane/2.jpg", "car/3.jpg").labels == (
        "car", "plane", "train",
    )  # fmt: skip


def test_splits_mixed_with_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="test, train look like splits, hats like classes"):
        read(tmp_path, "train/a/1.jpg", "test/a/2.jpg", "hats/3.jpg")


def test_images_beside_class_folders_are_skipped(tmp_path: Path) -> None:
    catalog = read(tmp_path, "shoe/1.jpg", "hat/2.jpg", "cover.jpg")
    assert catalog.unlisted == ("cover.jpg",)
    assert len(catalog) == 2


def test_deeper_images_belong_to_their_class(tmp_path: Path) -> None:
    catalog = read(tmp_path, "shoe/red/1.jpg", "hat/2.jpg")
    assert labels_of(catalog)["shoe/red/1.jpg"] == "shoe"
    assert any("shoe/red/1.jpg is 'shoe'" in line for line in catalog.notes)


@pytest.mark.parametrize("names", [("1.jpg", "2.jpg"), ("images/1.jpg", "images/2.jpg")])
def test_a_folder_without_classes_has_no_labels(tmp_path: Path, names: tuple[str, ...]) -> None:
    catalog = read(tmp_path, *names)
    assert catalog.table.columns == ["image"]
    assert len(catalog) == 2


def test_no_images_at_all(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no image files") as caught:
        read(tmp_path, "a.txt", "b.txt")
    assert "2 files with .txt" in str(caught.value)


def test_the_label_in_the_name(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, "*_{label}.jpg", "a/1_x_bluzy.jpg", "2_bryuki.jpg", "3.jpg")
    assert labels_of(catalog) == {"2_bryuki.jpg": "bryuki", "a/1_x_bluzy.jpg": "bluzy"}
    assert catalog.unlisted == ("3.jpg",)


def test_label_group_and_split_in_the_path(tmp_path: Path) -> None:
    catalog = read_by_pattern(
        tmp_path, "{split}/**/{group}_{label}.*", "train/x/y/sku1_hat.jpg", "valid/sku2_shoe.png"
    )
    rows = sorted(catalog.table.select("group", "label", "split").iter_rows())
    assert rows == [("sku1", "hat", "train"), ("sku2", "shoe", "val")]


def test_the_innermost_folder(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, "**/{label}/*", "men/shirt/1.jpg", "women/dress/2.jpg")
    assert catalog.labels == ("dress", "shirt")


def test_a_regular_expression(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, r"(?P<label>[a-z]+)(\d+)\.jpg$", "shop/hat12.jpg", "7.jpg")
    assert labels_of(catalog) == {"shop/hat12.jpg": "hat"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.jpg", "has no label"),
        ("(?P<label>[a-z", "not a valid pattern"),
        ("{label}__*.png", "matches none of 1 image"),
    ],
)
def test_unusable_patterns(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read_by_pattern(tmp_path, pattern, "hat_1.jpg")
