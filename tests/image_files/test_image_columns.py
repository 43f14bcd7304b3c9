"""Tables of shops: several image columns, rows without images, folders that are not named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions

LABELS = ("hat", "bag")


def shop(folder: Path, header: str, rows: Sequence[str], files: Sequence[str] = ()) -> str:
    """A table `shop.csv`, and files beside it (only their names matter)."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    table = folder / "shop.csv"
    table.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return str(table)


def names(count: int, *patterns: str) -> list[str]:
    return [pattern.format(i=i) for i in range(count) for pattern in patterns]


def note(catalog: Catalog, what: str) -> str:
    (line,) = [line for line in catalog.notes if what in line]
    return line


@pytest.mark.parametrize(
    ("main", "other"),
    [
        ("image", "image_2"),
        ("main_image", "other_image"),
        ("image_link", "additional_image_link"),
        ("Image Src", "Variant Image"),
        ("shot", "mask"),
        ("photo1", "photo2"),
        ("foto 1", "foto 02"),
        ("cover", "rear"),
    ],
)
def test_the_main_image_column_says_so(tmp_path: Path, main: str, other: str) -> None:
    files = names(8, "images/{i}.jpg", "images/{i}_b.jpg")
    rows = [f"{i}_b.jpg,{i}.jpg,{LABELS[i % 2]}" for i in range(8)]
    catalog = table_catalog(shop(tmp_path, f"{other},{main},label", rows, files))
    assert catalog.table["image"].to_list() == names(8, "{i}.jpg")
    line = note(catalog, "image from column")
    assert f"image from column {main!r}" in line
    assert f"also naming images: {other!r}; --image " in line


def test_numbers_of_classes_name_no_images(tmp_path: Path) -> None:
    rows = [f"{i},{i % 3}" for i in range(6)]
    table = shop(tmp_path, "no,grade", rows, names(6, "{i}.jpg"))
    assert table_catalog(table, ReadOptions(label="grade")).labels == ("0", "1", "2")
    table = shop(tmp_path, "no,label", rows)
    assert table_catalog(table).labels == ("0", "1", "2")


def test_no_main_image_column(tmp_path: Path) -> None:
    files = names(8, "images/{i}.jpg", "images/{i}_b.jpg")
    rows = [f"{i}.jpg,{i}_b.jpg,{LABELS[i % 2]}" for i in range(8)]
    table = shop(tmp_path, "left,right,label", rows, files)
    with pytest.raises(CatalogError, match="several columns name image files") as caught:
        table_catalog(table)
    assert caught.value.details == ("left", "right")
    assert caught.value.fix is not None
    assert "--image left --image right takes each" in caught.value.fix


def test_each_image_of_a_row_is_a_row_of_one_group(tmp_path: Path) -> None:
    files = names(6, "images/{i}.jpg", "images/{i}_b.jpg")
    rows = [f"{i}.jpg,{f'{i}_b.jpg' if i != 2 else ''},{LABELS[i % 2]},SKU" for i in range(6)]
    table = shop(tmp_path, "front,back,label,note", rows, files)
    read = ReadOptions(image=("front", "back"))
    catalog = table_catalog(table, read)
    images = catalog.table["image"].to_list()
    assert images == [name for name in names(6, "{i}.jpg", "{i}_b.jpg") if name != "2_b.jpg"]
    assert catalog.table["label"].to_list()[:4] == ["hat", "hat", "bag", "bag"]
    assert catalog.table["group"].to_list()[:5] == ["row 1", "row 1", "row 2", "row 2", "row 3"]
    assert "11 images of 6 rows" in note(catalog, "each is a row")
    alone = table_catalog(table, read.merged(ReadOptions(group="none")))
    assert "group" not in alone.table.columns


def test_a_product_column_groups_the_images_of_its_rows(tmp_path: Path) -> None:
    files = names(8, "images/{i}.jpg", "images/{i}_b.jpg")
    rows = [f"{i}.jpg,{i}_b.jpg,{LABELS[i % 2]},{f'p{i}' if i else ''}" for i in range(8)]
    table = shop(tmp_path, "front,back,label,product_id", rows, files)
    catalog = table_catalog(table, ReadOptions(image=("front", "back")))
    assert catalog.table["group"].to_list()[:4] == ["row 1", "row 1", "p1", "p1"]


def test_rows_that_name_no_image_are_left_out(tmp_path: Path) -> None:
    cells = ["0.jpg", "", "n/a", "<p><em>A hat.</em></p>", "4.jpg", "gone.jpg"]
    rows = [f"SKU{i},{cell},{LABELS[i % 2]}" for i, cell in enumerate(cells)]
    table = shop(tmp_path, "sku,image,label", rows, ["images/0.jpg", "images/4.jpg"])
    catalog = table_catalog(table)
    assert catalog.table["image"].to_list() == ["0.jpg", "4.jpg", "gone.jpg"]
    assert catalog.table["label"].to_list() == ["hat", "hat", "bag"]
    line = note(catalog, "name no image")
    assert "left out: 3 of 6, e.g. row 2 (SKU1, bag)" in line
    assert "1 row of 3 without a file" in catalog.notes
    with pytest.raises(CatalogError, match="4 of 6 rows name no image or a missing one") as caught:
        table_catalog(table, ReadOptions(on_missing_image="error"))
    assert caught.value.details[0] == "row 2 (SKU1, bag) names no image"
    assert caught.value.details[3] == "row 6 (SKU5, gone.jpg): gone.jpg is not there"


def test_a_label_whose_rows_name_no_image_is_said(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{LABELS[i % 2]}" for i in range(4)] + [",scarf"] * 3
    table = shop(tmp_path, "image,label", rows, names(4, "{i}.jpg"))
    line = note(table_catalog(table), "labels of which")
    assert line == "labels of which no row names an image: scarf"
    others = shop(tmp_path, "image,label", [*rows[:4], f",{LABELS[0]}"], names(4, "{i}.jpg"))
    assert not any("labels of which" in line for line in table_catalog(others).notes)


def test_nothing_is_missing(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "image,label", rows, names(4, "{i}.jpg"))
    assert len(table_catalog(table, ReadOptions(on_missing_image="error"))) == 4


def test_na_is_a_name_where_there_is_such_a_file(tmp_path: Path) -> None:
    files = ["flags/NA.png", "flags/DE.png"]
    table = shop(tmp_path, "image,label", ["NA,a", "DE,b"], files)
    assert table_catalog(table).table["image"].to_list() == ["NA.png", "DE.png"]


def test_descriptions_and_pages_are_no_images(tmp_path: Path) -> None:
    rows = [
        f"https://shop.example/p/{i},<p>See ://{i}</p>,pics/{i}.jpg,{i}.0,{LABELS[i % 2]}"
        for i in range(8)
    ]
    table = shop(tmp_path, "page,body,main,price,label", rows, names(8, "pics/{i}.jpg"))
    catalog = table_catalog(table)
    assert catalog.table["image"].to_list() == names(8, "pics/{i}.jpg")


def test_several_images_in_a_cell(tmp_path: Path) -> None:
    rows = [f"{i}.jpg|{i}_b.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "images,label", rows, names(4, "pics/{i}.jpg"))
    catalog = table_catalog(table, ReadOptions(image="images"))
    assert catalog.table["image"].to_list() == names(4, "{i}.jpg")
    assert "4 rows, e.g. 0.jpg|0_b.jpg" in note(catalog, "several images in a cell")


def test_files_go_before_addresses(tmp_path: Path) -> None:
    rows = [f"https://shop.example/{i}.jpg,{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "image_url,filename,label", rows, names(4, "deep/raw/{i}.jpg"))
    assert table_catalog(table).root == f"{tmp_path.as_posix()}/deep/raw"


def test_images_among_many_folders_and_deep_ones(tmp_path: Path) -> None:
    others = [f"a{i:03}/x.jpg" for i in range(60)]
    rows = [f"{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    files = [*others, *names(4, "zz/raw/{i}.jpg")]
    catalog = table_catalog(shop(tmp_path, "image,label", rows, files))
    assert catalog.root == f"{tmp_path.as_posix()}/zz/raw"


def test_files_of_these_names_in_several_folders(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "image,label", rows, names(4, "large/{i}.jpg", "small/{i}.jpg"))
    with pytest.raises(CatalogError, match="2 folders hold files of the names") as caught:
        table_catalog(table)
    assert [Path(one).name for one in caught.value.details] == ["large", "small"]
    root = tmp_path / "small"
    assert table_catalog(table, ReadOptions(images_root=root)).root == root.as_posix()


def test_the_folder_named_as_the_table_goes_first(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = Path(shop(tmp_path, "image,label", rows, names(4, "train/{i}.jpg", "test/{i}.jpg")))
    test_table = table.rename(tmp_path / "test.csv")
    assert table_catalog(str(test_table)).root == f"{tmp_path.as_posix()}/test"


def test_bare_names_are_no_evidence(tmp_path: Path) -> None:
    rows = [f"/me/shop/images/{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "image,label", rows, names(3, "pics/{i}.jpg"))
    with pytest.raises(CatalogError, match="no column names existing image files") as caught:
        table_catalog(table, ReadOptions(images_root=tmp_path / "pics"))
    assert "3 of 4 sampled names have a file in" in caught.value.details[0]
    assert caught.value.fix is not None
    assert "that it has in the table: 'images'" in caught.value.fix


def test_bare_names_in_folders_are_named(tmp_path: Path) -> None:
    rows = [f"/me/shop/images/{i}.jpg,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "image,label", rows, names(4, "a/b/{i}.jpg"))
    with pytest.raises(CatalogError, match="no column names existing image files") as caught:
        table_catalog(table, ReadOptions(images_root=tmp_path / "a"))
    found_in = tmp_path / "a" / "b"
    assert f"4 of 4 sampled names have a file in {found_in.as_posix()}," in caught.value.details[0]


def test_ids_that_lost_their_zeros(tmp_path: Path) -> None:
    rows = [f"{i}.0,{LABELS[i % 2]}" for i in range(4)]
    table = shop(tmp_path, "image_id,label", rows, names(4, "images/0000{i}.jpg"))
    catalog = table_catalog(table)
    assert catalog.table["image"].to_list() == names(4, "0000{i}.jpg")
    assert "4 rows, e.g. 0 is 00000.jpg" in note(catalog, "leading zeros")


def test_columns_that_hold_something_else(tmp_path: Path) -> None:
    table = shop(tmp_path, "image,label", ["<p>A hat.</p>,hat", "<p>A bag.</p>,bag"])
    with pytest.raises(CatalogError, match="no row names an image") as caught:
        table_catalog(table)
    assert caught.value.details[0] == "column 'image': such as '<p>A hat.</p>'"
