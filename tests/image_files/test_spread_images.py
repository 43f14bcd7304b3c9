"""Images of one table in several folders, and in folders beside that of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from tests.helpers import touch


def read(
    folder: Path,
    names: Sequence[str],
    files: Sequence[str],
    *,
    at: str = "shop.csv",
    root: str = "",
) -> Catalog:
    """A table of these names, read among these files (only their names matter)."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    rows = [f"{name},{'ab'[row % 2]}" for row, name in enumerate(names)]
    (folder / at).parent.mkdir(parents=True, exist_ok=True)
    (folder / at).write_text("\n".join(["image,label", *rows, ""]), encoding="utf-8")
    images_root = folder / root if root else None
    return table_catalog(str(folder / at), ReadOptions(images_root=images_root))


def ids(count: int) -> list[str]:
    return [f"{number:04d}" for number in range(count)]


@pytest.mark.parametrize(
    "pattern",
    [
        # The chest X-rays of the NIH, HAM10000, H&M, and a folder for each class.
        *("images_{half}/images/{id}.png", "HAM_images_part_{half}/{id}.jpg"),
        *("images/0{third}/{id}.jpg", "train/{color}/{id}.jpg"),
    ],
)
@pytest.mark.parametrize("root", ["", "."])
def test_bare_names_in_several_folders(tmp_path: Path, pattern: str, root: str) -> None:
    files = [
        pattern.format(id=name, half=int(row > 7), third=row % 3, color=("red", "blue")[row % 2])
        for row, name in enumerate(ids(12))
    ]
    catalog = read(tmp_path, ids(12), files, root=root)
    assert [*map(Path, catalog.refs())] == [tmp_path / file for file in files]
    spread = "image names without a folder, each found in one of several folders: 12 rows"
    assert any(note.startswith(spread) for note in catalog.notes)


def test_a_name_in_two_folders_says_that_they_are_not_one_set(tmp_path: Path) -> None:
    files = [f"part_{half}/{name}.jpg" for half in range(2) for name in ids(4)]
    with pytest.raises(CatalogError, match="2 folders hold files of the names"):
        read(tmp_path, ids(4), files)


def test_what_a_folder_lacks_is_not_taken_from_another_one(tmp_path: Path) -> None:
    files = [f"images/{name}.jpg" for name in ids(9)]
    catalog = read(tmp_path, ids(10), [*files, "backup/0009.jpg"])
    assert catalog.root == (tmp_path / "images").as_posix()
    assert "1 row of 10 without a file" in catalog.notes


def test_a_missing_image_among_several_folders_stays_missing(tmp_path: Path) -> None:
    files = [f"images_{row % 2}/{name}.jpg" for row, name in enumerate(ids(9))]
    assert "1 row of 10 without a file" in read(tmp_path, ids(10), files).notes


@pytest.mark.parametrize(
    ("at", "pattern"),
    [
        *(("annotations/list.csv", "images/{i}.jpg"), ("lists/a.csv", "data/v2/{i}.jpg")),
        *(("meta/train.csv", "Images/{i}.jpg"), ("Anno/list.csv", "Img/{i}.jpg")),
        *(("images/metadata/images.csv", "images/small/{i}.jpg"),),
    ],
)
def test_images_beside_the_folder_of_the_table(tmp_path: Path, at: str, pattern: str) -> None:
    files = [pattern.format(i=f"{'ab'[row % 2]}/{name}") for row, name in enumerate(ids(6))]
    names = [f"{'ab'[row % 2]}/{name}" for row, name in enumerate(ids(6))]
    catalog = read(tmp_path, names, files, at=at)
    assert [*map(Path, catalog.refs())] == [tmp_path / file for file in files]


def test_folders_that_say_nothing_of_images_are_not_searched(tmp_path: Path) -> None:
    files = [f"downloads/{name}.jpg" for name in ids(6)]
    with pytest.raises(CatalogError, match="no column names existing image files"):
        read(tmp_path, ids(6), files, at="lists/a.csv")


def test_a_table_of_numbers_is_not_taken_for_names_beside_it(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "sales.csv").write_text("day,sum\n1,2\n2,3\n3,4\n", encoding="utf-8")
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "images/3.jpg")
    with pytest.raises(CatalogError, match="no column names existing image files"):
        table_catalog(str(tmp_path / "shop" / "sales.csv"))
