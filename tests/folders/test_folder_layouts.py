"""Layouts of folders as data sets have them: which folder is a split, a class, a group, or none."""

from __future__ import annotations

import doctest
import os
import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split import check_leakage
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError
from shopsight.folders.folders import folder_catalog
from shopsight.folders.label_patterns import pattern_catalog
from shopsight.image_files.scan import Scan
from shopsight.read_options import ReadOptions
from shopsight.tables import split_names
from tests.helpers import touch

REAL_DATA = Path(os.environ.get("SHOPSIGHT_TEST_DATA", "no-such-folder"))


def scan_of(layout: str) -> Scan:
    """The scan of folders with so many images each: `hat:3 train/shoe:2`."""
    images = []
    for folder in layout.split():
        path, _, count = folder.rpartition(":")
        images += [f"{path}/{number}.jpg".lstrip("/") for number in range(int(count))]
    return Scan(sorted(images), Counter(), [], [])


def read(layout: str) -> Catalog:
    return folder_catalog(scan_of(layout), name="shop", root="shop")


def counts(catalog: Catalog, *columns: str) -> dict[Any, int]:
    """The number of images by the columns that the catalog has of these."""
    there = [column for column in columns or ("label", "split") if column in catalog.table.columns]
    rows = catalog.table.group_by(there).len().rows() if there else [(len(catalog),)]
    return {row[0] if len(row) == 2 else row[:-1]: row[-1] for row in rows}


TWO = {("hat", "train"): 4, ("shoe", "train"): 4, ("hat", "test"): 2, ("shoe", "test"): 2}
TWO_VAL = {(label, "val" if part == "test" else part): n for (label, part), n in TWO.items()}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "TEST"),
        ("training", "testing"),
        ("training_set", "test_set"),
        ("Training_Images", "Testing_Images"),
        ("train_images", "test_images"),
        ("trainset", "testset"),
        ("TrainImages", "TestImages"),
        ("images-train", "images-test"),
        ("train2017", "test2017"),
        ("train", "test1"),
        ("train", "holdout"),
        ("train", "hold-out"),
        ("train", "eval"),
        ("trainval", "test"),
        ("train(1)", "test(1)"),
        ("data_train", "data_test"),
        ("train_split", "test_split"),
        ("train/train", "test/test"),
        ("train/images", "test/images"),
        ("data/train", "data/test"),
        ("archive/data/train", "archive/data/test"),
        ("dataset_split/train", "dataset_split/test"),
        ("shop/shop/train", "shop/shop/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Shoes_train", "Shoes_test"),
        ("catalogTrain", "catalogTest"),
        ("training/train", "training/test"),
        ("images/train/things", "images/test/things"),
    ],
)
def test_splits_above_classes(train: str, test: str) -> None:
    layout = f"{train}/hat:4 {train}/shoe:4 {test}/hat:2 {test}/shoe:2"
    catalog = read(layout)
    assert counts(catalog) == TWO
    assert any(line.startswith("splits from the folders: ") for line in catalog.notes)


@pytest.mark.parametrize(
    "val", ["val", "valid", "validation", "dev", "val_images", "valid2", "Dev"]
)
def test_validation_images(val: str) -> None:
    assert counts(read(f"train/hat:4 train/shoe:4 {val}/hat:2 {val}/shoe:2")) == TWO_VAL


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [
        # Kaggle: pictures to label lie beside those with classes.
        ("train/hat:4 train/shoe:4 pred:3", {"hat": 4, "shoe": 4, None: 3}),
        ("train/hat:4 train/shoe:4 to_predict:3", {"hat": 4, "shoe": 4, None: 3}),
        ("train/hat:4 train/shoe:4 unlabeled/a:3", {"hat": 4, "shoe": 4, None: 3}),
        ("hat:4 shoe:4 unlabelled:3", {"hat": 4, "shoe": 4, None: 3}),
        ("hat:4 shoe:4 predictions:3", {"hat": 4, "shoe": 4, None: 3}),
        ("train/hat:4 train/shoe:4 test:3", {"hat": 4, "shoe": 4, None: 3}),
        ("train/hat:4 train/shoe:4 test1:3", {"hat": 4, "shoe": 4, None: 3}),
        ("train/hat:4 train/shoe:4 test/test:3", {"hat": 4, "shoe": 4, None: 3}),
        ("train/hat:4 train/shoe:4 test/images:3", {"hat": 4, "shoe": 4, None: 3}),
        (
            "train/hat:4 train/shoe:4 test/hat:2 test/shoe:2 test/unlabeled:3",
            TWO | {(None, None): 3},
        ),
        (
            "seg_train/seg_train/hat:4 seg_train/seg_train/shoe:4 seg_pred/seg_pred:3 "
            "seg_test/seg_test/hat:2 seg_test/seg_test/shoe:2",
            TWO | {(None, None): 3},
        ),
        # Classes of one part only: the given split stays.
        (
            "train/hat:4 train/shoe:4 train/cap:1 test/hat:2 test/shoe:2 test/bag:1",
            TWO | {("cap", "train"): 1, ("bag", "test"): 1},
        ),
        # A part in pieces, and a lone part.
        ("train-00/hat:2 train-00/shoe:4 train-01/hat:2", {"hat": 4, "shoe": 4}),
        ("train/hat:4 train/shoe:4", {"hat": 4, "shoe": 4}),
        # The images of one data set in several archives.
        ("HAM_images_part_1:4 HAM_images_part_2:4", {(): 8}),
        ("photos_1/hat:2 photos_2/hat:2 photos_2/shoe:4", {"hat": 4, "shoe": 4}),
        ("part_1:4 part_2:4", {"part_1": 4, "part_2": 4}),
        # Tiny ImageNet.
        (
            "train/hat/images:4 train/shoe/images:4 val/images:2 test/images:1",
            {"hat": 4, "shoe": 4, None: 3},
        ),
        # Parts in parts, in classes, and with the class in their names.
        (
            "training/train/hat:4 training/train/shoe:4 training/val/hat:1 test/hat:2 test/shoe:2",
            TWO | {("hat", "val"): 1},
        ),
        ("hat/train:4 hat/test:2 shoe/train:4 shoe/test:2", TWO),
        ("photos/hat/train:4 photos/hat/test:2 photos/shoe/train:4 photos/shoe/test:2", TWO),
        ("hat_train:4 hat_test:2 shoe_train:4 shoe_test:2", TWO),
        ("train_hat:4 test_hat:2 train_shoe:4 test_shoe:2", TWO),
        # The evaluation images are for validation where there are test images.
        ("train/hat:4 train/shoe:4 eval/hat:1 test/hat:2 test/shoe:2", TWO | {("hat", "val"): 1}),
        # COCO, YOLO: no class folders.
        ("images/train2017:4 images/val2017:2", {"train": 4, "val": 2}),
        ("train/images:4 valid/images:2 test/images:1", {"train": 4, "val": 2, "test": 1}),
        ("train:4 test1:2", {"train": 4, "test": 2}),
    ],
)  # fmt: skip
def test_splits(layout: str, wanted: dict[Any, int]) -> None:
    assert counts(read(layout)) == wanted


@pytest.mark.parametrize(
    "name",
    [
        "training-shoes", "testimonials", "validated", "Devices", "trains", "devil", "test-tubes",
        "evaluated", "predators", "trainers", "contest", "predata", "entrain",
    ],
)  # fmt: skip
def test_classes_that_only_begin_or_end_like_splits(name: str) -> None:
    assert counts(read(f"{name}:4 hats:3")) == {name: 4, "hats": 3}


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [
        ("hat:4 shoe:3", {"hat": 4, "shoe": 3}),
        ("0:4 1:3 2:2", {"0": 4, "1": 3, "2": 2}),
        ("photos/hat:4 photos/shoe:3", {"hat": 4, "shoe": 3}),
        ("photos/photos/hat:4 photos/photos/shoe:3", {"hat": 4, "shoe": 3}),
        (":1 photos/hat:4 photos/shoe:3", {"hat": 4, "shoe": 3, None: 1}),
        ("hat/hat:4 shoe/images:3", {"hat": 4, "shoe": 3}),
        ("hat/originals:14 shoe/originals:13", {"hat": 14, "shoe": 13}),
        ("hat:40 hat/old:12 shoe:30", {"hat": 52, "shoe": 30}),
        # One folder: a class when it has a name, a folder of images when it says only that.
        ("hat:4", {"hat": 4}),
        ("hat:4 :2", {"hat": 4, None: 2}),
        ("images:4", {4: 4}),
        ("2024-05:4", {4: 4}),
        ("images_001/images:2 images_002/images:2", {4: 4}),
        ("data1/hat:4 data2/hat:2 data2/shoe:3", {"hat": 6, "shoe": 3}),
        ("images/hat:4 images/shoe:3 predict:2", {"hat": 4, "shoe": 3, None: 2}),
        # Office-31: the same classes from several sources.
        ("web/images/hat:12 web/images/shoe:11 dslr/images/hat:10", {"hat": 22, "shoe": 11}),
        (":4", {4: 4}),
        # A part of a split beside classes that hold images too: no class.
        ("train:2 plane:4 car:3", {"plane": 4, "car": 3, None: 2}),
        ("test:2 hat:4", {"hat": 4, None: 2}),
    ],
)
def test_classes(layout: str, wanted: dict[Any, int]) -> None:
    catalog = read(layout)
    assert "split" not in catalog.table.columns
    found = counts(catalog) if "label" in catalog.table.columns else {len(catalog): len(catalog)}
    assert found == wanted


def flag_in(text: str) -> str:
    """The pattern of the first --label-pattern in a text, as a shell reads it."""
    words = shlex.split(text[text.index("--label-pattern") :])
    return words[1]


def other_reading(catalog: Catalog, layout: str) -> Catalog:
    (line,) = [line for line in catalog.notes if "folder would make" in line]
    return pattern_catalog(scan_of(layout), flag_in(line), name="shop", root="shop")


FINE = (
    "Fruit/Apple/Golden-Delicious:20 Fruit/Apple/Pink-Lady:12 Fruit/Banana:30 "
    "Vegetables/Potato/Sweet:15 Vegetables/Carrot:11 Packages/Milk/Arla/Fresh:18"
)
FINE_LABELS = ("Banana", "Carrot", "Fresh", "Golden-Delicious", "Pink-Lady", "Sweet")
COARSE_LABELS = ("Fruit", "Packages", "Vegetables")


def with_splits(layout: str, *parts: str) -> str:
    return " ".join(f"{part}/{folder}" for part in parts for folder in layout.split())


@pytest.mark.parametrize(
    "layout",
    [
        FINE,
        with_splits(FINE, "photos"),
        with_splits(FINE, "photos/photos"),
        with_splits(FINE, "train", "val"),
        with_splits(FINE, "data/train2017", "data/val2017"),
        with_splits(FINE, "train/train", "test"),
        with_splits(FINE, "Shop_train", "Shop_test"),
        f"{FINE} unlabeled:5",
        f"{with_splits(FINE, 'train', 'test')} pred/x/y:5",
    ],
)
def test_deep_folders_of_many_images_are_classes(layout: str) -> None:
    catalog = read(layout)
    assert catalog.labels == FINE_LABELS
    assert "group" not in catalog.table.columns
    assert any("the innermost folder is the class" in line for line in catalog.notes)
    other = other_reading(catalog, layout)
    assert other.labels == COARSE_LABELS
    assert other.table["label"].null_count() == catalog.table["label"].null_count()
    for one in (catalog, other):
        if "split" in one.table.columns:
            assert one.table["split"].equals(catalog.table["split"], check_names=False)


PRODUCTS = " ".join(f"{kind}/SKU{kind[0]}{n}:3" for kind in ("hats", "shirts") for n in range(40))


@pytest.mark.parametrize(
    "layout",
    [
        PRODUCTS,
        with_splits(PRODUCTS, "photos"),
        f"{PRODUCTS} unlabeled:3",
        " ".join(f"{folder.replace(':', '/front:')}" for folder in PRODUCTS.split()),
    ],
)
def test_deep_folders_of_few_images_are_groups(layout: str) -> None:
    catalog = read(layout)
    assert catalog.labels == ("hats", "shirts")
    assert catalog.table["group"].drop_nulls().n_unique() == 80
    assert "SKUh7" in catalog.table["group"].to_list()
    (line,) = [line for line in catalog.notes if "the outermost folder is the class" in line]
    assert "80 innermost folders, of 3 images in the median" in line
    assert "(--group none turns grouping off)" in line
    assert len(other_reading(catalog, layout).labels) == 80


@pytest.mark.parametrize(("size", "labels"), [(10, ("a", "b", "c")), (9, ("x", "y"))])
def test_ten_images_in_the_median_make_a_class(size: int, labels: tuple[str, ...]) -> None:
    assert read(f"x/a:1 x/b:{size} y/c:99").labels == labels


def test_products_that_a_given_split_tears_are_groups_all_the_same() -> None:
    layout = with_splits("hats/S1:3 hats/S2:2 shirts/S3:3", "train", "test")
    catalog = read(layout)
    assert counts(catalog, "group", "split")["S1", "test"] == 3
    assert not check_leakage(catalog).ok


def test_views_of_products_are_no_groups() -> None:
    layout = " ".join(
        f"{kind}/SKU{kind[0]}{n}/{view}:2"
        for kind in ("hats", "shirts") for n in range(9) for view in ("front", "back")
    )  # fmt: skip
    catalog = read(layout)
    assert catalog.labels == ("hats", "shirts")
    assert catalog.table["group"].n_unique() == 18
    assert any("equal names in several folders: back, front" in line for line in catalog.notes)


def test_a_single_class_of_many_products_is_one_class() -> None:
    catalog = read(" ".join(f"shirts/SKU{number}:3" for number in range(200)))
    assert catalog.labels == ("shirts",)
    assert catalog.table["group"].n_unique() == 200
    assert "only one class folder (shirts/): 600 images" in catalog.notes


def test_folders_above_and_at_the_class_mix() -> None:
    catalog = read("shoe/red:30 shoe/blue:30 hat:40 :2 shoe:1")
    assert counts(catalog) == {"red": 30, "blue": 30, "hat": 40, None: 3}


@pytest.mark.parametrize(("count", "labels"), [(12, ("shirts", "shoes")), (2, ("men", "women"))])
def test_equal_inner_names_are_said(count: int, labels: tuple[str, ...]) -> None:
    names = ("men/shoes", "men/shirts", "women/shoes", "women/shirts")
    catalog = read(" ".join(f"{name}:{count}" for name in names))
    assert catalog.labels == labels
    assert "split" not in catalog.table.columns
    (line,) = [line for line in catalog.notes if "equal names in several folders" in line]
    assert "shirts, shoes" in line
    assert "men/shirts, women/shirts" in line


@pytest.mark.parametrize(
    ("layout", "message", "skipped", "labels"),
    [
        # A split that holds folders, beside folders of images, and the other way round.
        ("train/hat:4 train/shoe:4 other:5", "train/ can be a split", "other", ("hat", "shoe")),
        ("hats/red:12 hats/blue:12 bags/old:12 test:5", "test/ can be", "test", None),
        ("train/hat:4 train/shoe:4 extra/hat:5", "train/ can be a split", "extra", ("hat", "shoe")),
        # Two parts of a split, and a folder that is none.
        ("train/hat:4 test/shoe:4 hats:5", "test/, train/ are splits; hats/ is neither", "hats",
         ("hat", "shoe")),
        ("data/train/hat:4 data/val/shoe:4 data/iconic/x:1", "iconic/ is neither", "iconic",
         ("hat", "shoe")),
        # Splits in classes, and a folder beside them.
        ("a/train/x:3 a/test/x:1 a/masks/x:1 b/train/x:2 b/test/x:3", "masks/ is neither", "masks",
         ("a", "b")),
        ("data/train/a:3 data/val/b:2 extra:4", "extra/ is neither", "extra", ("a", "b")),
        # Masks and the like beside the images.
        ("images/hat:4 images/shoe:5 masks/hat:4", "images/ says nothing of a class", "masks",
         ("hat", "shoe")),
        ("train/hat:4 test/shoe:3 train_masks/hat:4", "train_masks/ is neither", "train_masks",
         ("hat", "shoe")),
    ],
)  # fmt: skip
def test_two_readings_are_asked_about(
    layout: str, message: str, skipped: str, labels: tuple[str, ...] | None
) -> None:
    with pytest.raises(CatalogError, match=re.escape(message)) as caught:
        read(layout)
    first, second = str(caught.value.fix).splitlines()
    assert first.startswith(f"--skip-folder {skipped}   (")
    rest = " ".join(one for one in layout.split() if skipped not in re.split("[/:]", one))
    assert labels is None or read(rest).labels == labels
    every = pattern_catalog(scan_of(layout), flag_in(second), name="shop", root="shop")
    assert skipped in every.labels or "/" in layout.split(maxsplit=1)[0].rpartition("/")[0]


def test_a_table_beside_unclear_folders_is_a_way_out() -> None:
    scan = replace(scan_of("images:4 masks:4"), tables=["products.csv"])
    with pytest.raises(CatalogError) as caught:
        folder_catalog(scan, name="shop", root="shop")
    assert "shop/products.csv   (as DATA: " in str(caught.value.fix)


def test_a_name_that_is_elsewhere_too_is_skipped_by_its_path(tmp_path: Path) -> None:
    for part in ("train", "test"):
        touch(tmp_path, f"xray/{part}/a/1.jpg", f"xray/{part}/b/2.jpg", f"xray/xray/{part}/a/3.jpg")
    with pytest.raises(CatalogError, match="xray/ is neither a split nor a class") as caught:
        open_catalog(tmp_path)
    flag = shlex.split(str(caught.value.fix))[:2]
    assert flag == ["--skip-folder", "xray/xray"]
    catalog = open_catalog(tmp_path, ReadOptions(skip_folder=(flag[1],)))
    assert len(catalog) == 4
    assert sorted(catalog.table["split"]) == ["test", "test", "train", "train"]


def test_many_classes_beside_a_split_name_the_split() -> None:
    with pytest.raises(CatalogError, match="train/ can be a split or a class") as caught:
        read("photos/train/x:4 photos/train/y:4 " + " ".join(f"photos/c{n}:2" for n in range(9)))
    assert str(caught.value.fix).startswith("shop/photos/train   (as DATA: ")


def test_a_class_with_the_name_of_a_split_has_a_flag() -> None:
    layout = "train:2 plane:4 car:3"
    (line,) = [line for line in read(layout).notes if "named like a split" in line]
    catalog = pattern_catalog(scan_of(layout), flag_in(line), name="shop", root="shop")
    assert catalog.labels == ("car", "plane", "train")


@pytest.mark.skipif(
    not (REAL_DATA / "grocery-store").is_dir(),
    reason="SHOPSIGHT_TEST_DATA names no folder with grocery-store",
)
def test_the_real_grocery_store() -> None:
    iconic = "iconic-images-and-descriptions"
    root = REAL_DATA / "grocery-store"
    with pytest.raises(CatalogError, match="is neither a split nor a class") as caught:
        open_catalog(root)
    assert shlex.split(str(caught.value.fix))[:2] == ["--skip-folder", iconic]
    catalog = open_catalog(root, ReadOptions(skip_folder=(iconic,)))
    assert len(catalog.labels) == 81
    assert counts(catalog, "split") == {"train": 2_640, "val": 296}
    (line,) = [line for line in catalog.notes if "folder would make 3 classes" in line]
    other = ReadOptions(skip_folder=(iconic,), label_pattern=flag_in(line))
    assert open_catalog(root, other).labels == ("Fruit", "Packages", "Vegetables")


def test_the_examples_of_names() -> None:
    found = doctest.testmod(split_names)
    assert found.attempted > 0
    assert found.failed == 0
