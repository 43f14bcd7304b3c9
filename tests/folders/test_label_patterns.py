from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.folders.label_patterns import pattern_catalog
from shopsight.image_files.scan import scan_folder
from tests.helpers import touch


def read_by_pattern(folder: Path, pattern: str, *names: str) -> Catalog:
    root = touch(folder, *names)
    return pattern_catalog(scan_folder(root), pattern, name="shop", root=root)


def labels_of(catalog: Catalog) -> dict[str, str | None]:
    return dict(catalog.table.select("image", "label").iter_rows())


def test_the_label_in_the_name(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, "*_{label}.jpg", "a/1_x_bluzy.jpg", "2_bryuki.jpg", "3.jpg")
    assert labels_of(catalog) == {
        "2_bryuki.jpg": "bryuki", "a/1_x_bluzy.jpg": "bluzy", "3.jpg": None,
    }  # fmt: skip
    assert "unlabeled, not matching: 1 image, e.g. 3.jpg" in catalog.notes


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
    assert labels_of(catalog) == {"shop/hat12.jpg": "hat", "7.jpg": None}


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


def test_the_split_in_the_path_may_have_any_name_of_a_split(tmp_path: Path) -> None:
    catalog = read_by_pattern(
        tmp_path, "{split}/{label}/*", "train2017/hat/1.jpg", "Shoes_test/hat/2.jpg",
        "pred/hat/3.jpg", "extra/hat/4.jpg",
    )  # fmt: skip
    rows = {
        image: (label, split)
        for image, label, split in catalog.table.select("image", "label", "split").iter_rows()
    }
    assert rows == {
        "train2017/hat/1.jpg": ("hat", "train"),
        "Shoes_test/hat/2.jpg": ("hat", "test"),
        "pred/hat/3.jpg": (None, None),
        "extra/hat/4.jpg": ("hat", None),
    }
