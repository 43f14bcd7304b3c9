from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from shopsight.cache_place import use_cache_dir
from shopsight.datasets.open import open_catalog, unused_options
from shopsight.datasets.split_files import split_of_file
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from tests.helpers import make_products, touch


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Photos of two classes in one folder, and their names and labels by part of a split."""
    photos = make_products(tmp_path / "source", per_class=6)
    (tmp_path / "data" / "images").mkdir(parents=True)
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, photo in enumerate(sorted(Path(photos.folder).rglob("*.jpg"))):
        name = f"images/{photo.parent.name}{number}.jpg"
        photo.rename(tmp_path / "data" / name)
        rows[("train", "train", "val", "test")[number % 4]].append(f"{name} {photo.parent.name}")
    for split, lines in rows.items():
        (tmp_path / "data" / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "data" / "README.txt").write_text("Photos of a shop.\n", encoding="utf-8")
    return tmp_path / "data"


def test_a_folder_with_a_list_for_each_part(flat: Path) -> None:
    catalog = open_catalog(flat)
    assert len(catalog) == 18
    assert Counter(catalog.table["split"].to_list()) == {"train": 10, "val": 4, "test": 4}
    assert len(catalog.labels) == 3
    assert Path(catalog.refs()[0]).is_file()
    assert catalog.unlisted == ()
    assert "train.txt (10 rows) is train, val.txt (4 rows) is val" in catalog.notes[0]


def test_the_lists_can_be_named(flat: Path) -> None:
    catalog = open_catalog(f"{flat}/train.txt,{flat}/test.txt")
    assert Counter(catalog.table["split"].to_list()) == {"train": 10, "test": 4}
    assert len(catalog.unlisted) == 4
    assert unused_options(ReadOptions(label="2"), f"{flat}/train.txt,{flat}/test.txt") == ()


def test_one_list_is_the_labels_of_a_folder(flat: Path) -> None:
    (flat / "val.txt").unlink()
    (flat / "test.txt").unlink()
    catalog = open_catalog(flat)
    assert len(catalog) == 10
    assert "split" not in catalog.table.columns
    assert any("labels from train.txt" in note for note in catalog.notes)


def test_a_part_without_labels_is_to_be_predicted(flat: Path) -> None:
    names = [line.split()[0] for line in (flat / "test.txt").read_text("utf-8").splitlines()]
    (flat / "test.txt").write_text("\n".join(names), encoding="utf-8")
    catalog = open_catalog(flat)
    of_test = catalog.table.filter(catalog.table["label"].is_null())
    assert sorted(of_test["image"].to_list()) == sorted(names)
    assert of_test["split"].null_count() == len(names)
    (flat / "val.txt").unlink()
    assert "split" not in open_catalog(flat).table.columns


def test_files_of_two_kinds_and_unclear_parts(flat: Path) -> None:
    for split in ("train", "val"):
        text = (flat / f"{split}.txt").read_text("utf-8").replace(" ", ",")
        (flat / f"{split}.csv").write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match="several files could be one part"):
        open_catalog(flat)
    (flat / "more.txt").write_text((flat / "val.txt").read_text("utf-8"), encoding="utf-8")
    with pytest.raises(CatalogError, match=r"the name of more.txt says no part"):
        open_catalog(f"{flat}/train.txt,{flat}/more.txt")


def test_a_broken_table_does_not_make_images_unlabeled(flat: Path) -> None:
    for name in ("train", "val", "test"):
        (flat / f"{name}.txt").unlink()
    (flat / "shop.csv").write_text("image,label\nimages/a.jpg,a,b\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="line 2, 3 cells") as caught:
        open_catalog(flat)
    assert "--label none" in str(caught.value)
    assert len(open_catalog(flat, ReadOptions(label="none"))) == 18


def test_a_data_set_of_the_hub_in_its_shards(flat: Path, tmp_path: Path) -> None:
    photos = sorted((flat / "images").iterdir())
    folder = tmp_path / "hub"
    folder.mkdir()
    names = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    for at, name in enumerate(names):
        rows = [
            {"image": {"bytes": photo.read_bytes(), "path": photo.name}, "label": photo.name[:3]}
            for photo in photos[at::3]
        ]
        pl.DataFrame(rows).write_parquet(folder / f"{name}.parquet")
    with use_cache_dir(tmp_path / "cache"):
        catalog = open_catalog(folder)
    assert Counter(catalog.table["split"].to_list()) == {"train": 12, "test": 6}
    assert len(catalog.labels) == 3
    assert all(Path(ref).is_file() for ref in catalog.refs())


def test_names_of_parts() -> None:
    names = [
        "train.txt",
        "a/test.csv.gz",
        "shop_train.csv",
        "valid2.tsv",
        "list.txt",
        "train-val.txt",
    ]
    assert [split_of_file(name) for name in names] == ["train", "test", "train", "val", None, None]


@pytest.mark.parametrize("name", ["metadata.csv", "_classes.csv"])
def test_a_table_in_each_part(tmp_path: Path, name: str) -> None:
    """The Hub's folders of images, and exports of Roboflow."""
    for part, count in {"train": 4, "valid": 2}.items():
        root = Path(touch(tmp_path / part, *(f"{i}.jpg" for i in range(count))))
        rows = [f"{i}.jpg,{'hat' if i % 2 else 'shoe'}" for i in range(count)]
        (root / name).write_text("\n".join(["file_name,label", *rows]), encoding="utf-8")
    catalog = open_catalog(tmp_path)
    assert Counter(catalog.table["split"].to_list()) == {"train": 4, "val": 2}
    assert Counter(catalog.table["label"].to_list()) == {"hat": 3, "shoe": 3}
    assert all(Path(ref).is_file() for ref in catalog.refs())
    assert f"train/{name} (4 rows) is train, valid/{name} (2 rows) is val" in catalog.notes[0]
    assert not any("not an image file" in note for note in catalog.notes)


def test_a_part_without_the_named_column_is_to_be_predicted(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"train/{i}.png" for i in range(6)), "test/a.png")
    rows = "".join(f"{i},{i % 3}\n" for i in range(6))
    (tmp_path / "train.csv").write_text(f"id_code,diagnosis\n{rows}", encoding="utf-8")
    (tmp_path / "test.csv").write_text("id_code\na\n", encoding="utf-8")
    catalog = open_catalog(root, ReadOptions(label="diagnosis"))
    assert Counter(catalog.table["label"].to_list()) == {"0": 2, "1": 2, "2": 2, None: 1}
    assert "split" not in catalog.table.columns
    with pytest.raises(CatalogError, match="no column 'breed'"):
        open_catalog(root, ReadOptions(label="breed"))
