from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from shopsight.tables.column_names import canonical


def shop(tmp_path: Path, text: str, images: Sequence[str], *, name: str = "shop.csv") -> str:
    """A table with image files beside it (only their names matter)."""
    for image in images:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image).write_bytes(b"x")
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


def rows(header: str, line: str, count: int = 8) -> str:
    """`count` lines; `{i}` is the row, `{h}` half of it."""
    return "\n".join([header, *(line.format(i=i, h=i // 2, p=i % 2) for i in range(count))]) + "\n"


def jpgs(folder: str = "images", count: int = 8) -> list[str]:
    return [f"{folder}/{i}.jpg" for i in range(count)]


def test_canonical_names() -> None:
    assert canonical("articleType") == "article_type"
    assert canonical(" Image Path") == "image_path"


@pytest.mark.parametrize(
    "image", ["image", "Filename", "img_path", "photo", "picture", "id", "unheard_of"]
)
@pytest.mark.parametrize("label", ["label", "Category", "articleType", "class"])
def test_columns_are_found_by_name_or_content(tmp_path: Path, image: str, label: str) -> None:
    table = shop(tmp_path, rows(f"{image},{label},price", "{i}.jpg,c{p},{i}.5"), jpgs())
    catalog = table_catalog(table)
    assert catalog.table["image"].to_list() == [f"{i}.jpg" for i in range(8)]
    assert catalog.root == f"{tmp_path}/images"
    assert catalog.labels == ("c0", "c1")
    assert catalog.table["price"][1] == "1.5"
    assert any(f"column {image!r}" in line for line in catalog.notes)
    assert any(f"label from column {label!r}" in line for line in catalog.notes)


@pytest.mark.parametrize("folder", ["images", "Photos", "pictures", "jpg"])
def test_the_folder_of_the_files_is_found_beside_the_table(tmp_path: Path, folder: str) -> None:
    table = shop(tmp_path, rows("sku,file_name,label", "{i},{i}.jpg,c{p}"), jpgs(folder))
    assert table_catalog(table).root == str(tmp_path / folder)


def test_content_decides_between_telling_names(tmp_path: Path) -> None:
    # `name` and `id` sound like images; only `file` names files.
    table = shop(tmp_path, rows("name,id,file,label", "shirt,{i}00,{i}.jpg,c{p}"), jpgs("photos"))
    assert table_catalog(table).table["image"][3] == "3.jpg"


def test_a_suffix_is_added_where_ids_lack_one(tmp_path: Path) -> None:
    images = [*jpgs(count=6), "images/6.png", "images/unused.jpg"]
    catalog = table_catalog(shop(tmp_path, rows("id,label", "{i},c{p}"), images))
    names = catalog.table["image"].to_list()
    assert names == [*(f"{i}.jpg" for i in range(6)), "6.png", "7.jpg"]
    assert catalog.unlisted == ("unused.jpg",)
    assert any("1 row of 8 without a file" in line for line in catalog.notes)
    assert any("without the file's suffix: 7 rows" in line for line in catalog.notes)


def test_paths_relative_to_the_table(tmp_path: Path) -> None:
    table = shop(
        tmp_path, rows("path,label", ".\\a\\{i}.jpg,c{p}"), [*jpgs("a"), "a/x.jpg", "b/y.jpg"]
    )
    catalog = table_catalog(table)
    assert catalog.table["image"][0] == "a/0.jpg"
    # Only folders that rows use are looked through for files without a row.
    assert catalog.unlisted == ("a/x.jpg",)


def test_images_root(tmp_path: Path) -> None:
    images = [*jpgs("small"), *jpgs("large")]
    table = shop(tmp_path, rows("image,label", "{i}.jpg,c{p}"), images)
    assert table_catalog(table, ReadOptions(images_root="small")).root == f"{tmp_path}/small"
    assert (
        table_catalog(table, ReadOptions(images_root=f"{tmp_path}/large")).root
        == f"{tmp_path}/large"
    )
    with pytest.raises(CatalogError, match="no such folder of images"):
        table_catalog(table, ReadOptions(images_root="absent"))


def test_urls_are_taken_as_they_are(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("url,label", "https://shop.example/{i}.jpg,c{p}"), [])
    assert table_catalog(table).refs()[1] == "https://shop.example/1.jpg"


def test_absolute_paths(tmp_path: Path) -> None:
    lines = rows("image,label", f"{tmp_path}/far/{{i}}.jpg,c{{p}}")
    shop(tmp_path, "", jpgs("far"), name="empty.csv")
    catalog = table_catalog(shop(tmp_path / "tables", lines, []))
    assert catalog.refs()[2] == f"{tmp_path}/far/2.jpg"


def test_no_files_found_says_where_it_looked(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,label", "{i}.jpg,c{p}"), ["images/other.jpg"])
    with pytest.raises(CatalogError, match="no column names existing image files") as caught:
        table_catalog(table)
    assert f"looked in {tmp_path}/images" in str(caught.value)


def test_two_columns_of_files_are_ambiguous(tmp_path: Path) -> None:
    images = [*jpgs("images"), *(f"images/back{i}.jpg" for i in range(8))]
    table = shop(tmp_path, rows("front,back,label", "{i}.jpg,back{i}.jpg,c{p}"), images)
    with pytest.raises(CatalogError, match="several columns name image files"):
        table_catalog(table)
    assert table_catalog(table, ReadOptions(image="back")).table["image"][0] == "back0.jpg"


def test_asking_for_an_absent_column_offers_the_nearest(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,category", "{i}.jpg,c{p}"), jpgs())
    with pytest.raises(CatalogError, match="did you mean 'category'"):
        table_catalog(table, ReadOptions(label="categori"))


def test_label_by_content_when_no_name_tells(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,kind,price,new", "{i}.jpg,c{p},{i}.99,True"), jpgs())
    catalog = table_catalog(table)
    assert catalog.labels == ("c0", "c1")
    assert any("label from column kind" in line for line in catalog.notes)


def test_several_possible_labels_are_ambiguous(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,color,brand", "{i}.jpg,c{p},b{p}"), jpgs())
    with pytest.raises(CatalogError, match="2 columns could hold the label") as caught:
        table_catalog(table)
    assert "--label COLUMN" in str(caught.value)
    assert table_catalog(table, ReadOptions(label="brand")).labels == ("b0", "b1")
    assert table_catalog(table, ReadOptions(label="none")).labels == ()


def test_a_table_without_labels(tmp_path: Path) -> None:
    catalog = table_catalog(shop(tmp_path, rows("image,price", "{i}.jpg,{i}.5"), jpgs()))
    assert catalog.labels == ()
    assert any("read as unlabeled" in line for line in catalog.notes)


def test_the_other_label_keeps_its_values_under_another_name(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,label,class", "{i}.jpg,c{p},k{p}"), jpgs())
    catalog = table_catalog(table, ReadOptions(label="class"))
    assert catalog.labels == ("k0", "k1")
    assert catalog.table["label_source"][1] == "c1"


def test_cells_are_kept_as_they_are(tmp_path: Path) -> None:
    table = shop(tmp_path, "image,label\n0.jpg,050\n1.jpg,50 \n2.jpg, Shoe\n3.jpg,\n", jpgs())
    catalog = table_catalog(table)
    assert catalog.table["label"].to_list() == ["050", "50 ", " Shoe", None]
    assert any("1 row without a label" in line for line in catalog.notes)


def test_groups(tmp_path: Path) -> None:
    # Product h is of class h // 2: four products of each class.
    lines = ["image,label,sku", *(f"{i}.jpg,c{i // 8},p{i // 2}" for i in range(16))]
    table = shop(tmp_path, "\n".join(lines), jpgs(count=16))
    catalog = table_catalog(table)
    assert catalog.table["group"].to_list() == [f"p{i // 2}" for i in range(16)]
    assert catalog.table["sku"].to_list() == catalog.table["group"].to_list()
    assert "group" not in table_catalog(table, ReadOptions(group="none")).table.columns


def test_a_group_above_the_classes_is_not_used(tmp_path: Path) -> None:
    lines = ["image,label,group", *(f"{i}.jpg,c{i // 4},g{i // 8}" for i in range(16))]
    table = shop(tmp_path, "\n".join(lines), jpgs(count=16))
    catalog = table_catalog(table)
    assert "group" not in catalog.table.columns
    assert catalog.table["group_source"][0] == "g0"
    assert any("--group group uses it" in line for line in catalog.notes)
    assert "group" in table_catalog(table, ReadOptions(group="group")).table.columns


def test_splits(tmp_path: Path) -> None:
    text = "image,label,subset\n0.jpg,a,Training\n1.jpg,b,valid\n2.jpg,a,test\n3.jpg,b,Train\n"
    catalog = table_catalog(shop(tmp_path, text, jpgs()))
    assert catalog.table["split"].to_list() == ["train", "val", "test", "train"]


def test_a_usage_column_of_other_words_is_not_a_split(tmp_path: Path) -> None:
    text = "image,label,Usage\n0.jpg,a,Public\n1.jpg,b,Private\n2.jpg,a,Public\n3.jpg,b,Private\n"
    catalog = table_catalog(shop(tmp_path, text, jpgs()), ReadOptions(label="label"))
    assert "split" not in catalog.table.columns
    assert catalog.table["Usage"][0] == "Public"
    assert any("'Usage' is not used as a split" in line for line in catalog.notes)


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("bbox_x,bbox_y,bbox_w,bbox_h", "10,20,30,40"),
        ("xmin,ymin,xmax,ymax", "10,20,40,60"),
        ("box_x,box_y,box_width,box_height", "10,20,30,40"),
    ],
)
def test_boxes(tmp_path: Path, header: str, cells: str) -> None:
    text = f"image,label,{header}\n0.jpg,a,{cells}\n1.jpg,b,,,,\n2.jpg,a,{cells}\n3.jpg,b,{cells}\n"
    boxes = table_catalog(shop(tmp_path, text, jpgs())).boxes()
    assert boxes is not None
    assert boxes[0].tolist() == [10, 20, 30, 40]


def test_boxes_with_decimal_commas(tmp_path: Path) -> None:
    text = "image;label;bbox_x;bbox_y;bbox_w;bbox_h\n0.jpg;a;1,5;2;30,25;40\n1.jpg;b;1;2;3;4\n"
    boxes = table_catalog(shop(tmp_path, text, jpgs())).boxes()
    assert boxes is not None
    assert boxes[0].tolist() == [1.5, 2, 30.25, 40]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("1,2,x,4", "not a number"),
        ("1,2,0,4", r"row 2: bbox_x=1, bbox_y=2, bbox_w=0, bbox_h=4"),
        ("1,2,3,", "row 2: .*bbox_h=none"),
        ("1,2,inf,4", "row 2: .*bbox_w=inf"),
    ],
)
def test_unusable_boxes(tmp_path: Path, cells: str, message: str) -> None:
    # Rows are counted in the file, with those that name no image.
    text = f"image,label,bbox_x,bbox_y,bbox_w,bbox_h\n,a,,,,\n0.jpg,a,{cells}\n1.jpg,b,1,2,3,4\n"
    table = shop(tmp_path, text, jpgs())
    with pytest.raises(CatalogError, match=message):
        table_catalog(table)
    if "x" not in cells:
        catalog = table_catalog(table, ReadOptions(on_bad_row="skip"))
        assert catalog.table.select("image", "label", "table_row").rows() == [("1.jpg", "b", 2)]
        assert any("left out, boxes without an area: 1 row" in line for line in catalog.notes)


def test_boxes_that_are_fractions_are_refused(tmp_path: Path) -> None:
    text = "image,label,x1,y1,x2,y2\n0.jpg,a,.1,.2,.9,1\n1.jpg,b,0,0,1,1\n2.jpg,b,,,,\n"
    with pytest.raises(CatalogError, match="fractions of the image's sides"):
        table_catalog(shop(tmp_path, text, jpgs()))


def test_the_note_on_boxes_counts_whole_images(tmp_path: Path) -> None:
    text = "image,label,x1,y1,x2,y2\n0.jpg,a,1,2,9,10\n1.jpg,b,0,0,10,12\n2.jpg,b,,,,\n"
    catalog = table_catalog(shop(tmp_path, text, jpgs()))
    note = "boxes from columns x1, y1, x2, y2; 1 row without one: the whole image"
    assert note in catalog.notes


def test_folds_and_text_are_kept(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,label,fold,title", "{i}.jpg,c{p},{p},Shirt {i}"), jpgs())
    catalog = table_catalog(table)
    assert catalog.table["fold"].to_list() == [0, 1] * 4
    assert catalog.table["text"][2] == "Shirt 2"


def test_several_labels_by_separator(tmp_path: Path) -> None:
    text = "image,label\n0.jpg,red|shirt\n1.jpg,red\n2.jpg,shirt | blue\n3.jpg,blue|red\n4.jpg,\n"
    table = shop(tmp_path, text, jpgs())
    catalog = table_catalog(table)
    assert catalog.multilabel
    assert catalog.labels == ("blue", "red", "shirt")
    assert catalog.table["label"].to_list()[2] == ["shirt", "blue"]
    assert any("separated by '|'" in line for line in catalog.notes)
    assert "red|shirt" in table_catalog(table, ReadOptions(label_separator="")).labels


def test_a_comma_in_a_name_is_no_separator(tmp_path: Path) -> None:
    text = 'image,label\n0.jpg,"Shirts, men"\n1.jpg,"Shirts, women"\n2.jpg,Hats\n3.jpg,Hats\n'
    assert not table_catalog(shop(tmp_path, text, jpgs())).multilabel


def test_tags_by_comma_and_python_lists(tmp_path: Path) -> None:
    text = 'image,tags\n0.jpg,"red, shirt"\n1.jpg,"red"\n2.jpg,"shirt"\n3.jpg,"shirt, red"\n'
    assert table_catalog(shop(tmp_path, text, jpgs())).labels == ("red", "shirt")
    text = "image,tags\n0.jpg,\"['red', 'x, y']\"\n1.jpg,[]\n2.jpg,['red']\n3.jpg,['red']\n"
    catalog = table_catalog(shop(tmp_path, text, jpgs()))
    assert catalog.table["label"].to_list() == [["red", "x, y"], [], ["red"], ["red"]]


def test_parquet_with_lists_and_whole_floats(tmp_path: Path) -> None:
    shop(tmp_path, "", jpgs())
    frame = pl.DataFrame(
        {"image": [f"{i}.jpg" for i in range(4)], "label": [["a"], ["a", "b"], [], ["b"]]}
    )
    frame.write_parquet(tmp_path / "shop.parquet")
    assert table_catalog(f"{tmp_path}/shop.parquet").labels == ("a", "b")
    frame.with_columns(label=pl.Series([1.0, 2.0, None, 1.0])).write_parquet(tmp_path / "n.parquet")
    assert table_catalog(f"{tmp_path}/n.parquet").labels == ("1", "2")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = ["image,label", "0.jpg,Täschchen", "1.jpg,Hut", "2.jpg,Täschchen", "3.jpg,Hut"]
    shop(tmp_path, "", jpgs(), name="other.csv")
    path = tmp_path / "shop.csv"
    path.write_bytes("\n".join(lines).replace(",", separator).encode(encoding))
    assert table_catalog(str(path)).labels == ("Hut", "Täschchen")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\n", "no rows"),
        ("image,label\n,a\n,b\n", "no row names an image"),
        ("", "the file is empty"),
    ],
)
def test_unusable_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        table_catalog(shop(tmp_path, text, jpgs()))


def test_an_absent_table(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        table_catalog(str(tmp_path / "absent.csv"))


def test_a_table_behind_a_url(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("image,label", "{i},c{p}"), jpgs())
    catalog = table_catalog(f"file://{table}")
    assert isinstance(catalog, Catalog)
    assert catalog.refs()[0] == f"{tmp_path}/images/0.jpg"


def test_one_hot_columns_are_labels(tmp_path: Path) -> None:
    text = "image,hat,shoe,bag\n0.jpg,1,0,0\n1.jpg,0,1,0\n2.jpg,0,0,1\n3.jpg,1,0,0\n"
    catalog = table_catalog(shop(tmp_path, text, jpgs()))
    assert catalog.table["label"].to_list() == ["hat", "shoe", "bag", "hat"]
    assert any("labels from the 3 columns of 0 and 1" in line for line in catalog.notes)
    assert "hat" not in catalog.table.columns


def test_other_columns_of_flags_must_be_named(tmp_path: Path) -> None:
    text = "image,hat,shoe,red one\n0.jpg,1,0,1\n1.jpg,0,1,0\n2.jpg,0,0,0\n3.jpg,1,0,1\n"
    table = shop(tmp_path, text, jpgs())
    with pytest.raises(CatalogError, match="3 columns of 0 and 1 could be labels") as caught:
        table_catalog(table)
    assert "--label hat --label shoe --label" in str(caught.value)
    several = table_catalog(table, ReadOptions(label=("hat", "red one")))
    assert several.table["label"].to_list() == [["hat", "red one"], [], [], ["hat", "red one"]]
    assert table_catalog(table, ReadOptions(label="none")).labels == ()


def test_columns_that_sound_like_labels_and_hold_none(tmp_path: Path) -> None:
    text = rows("image,label,tags,kind", "{i}.jpg,,<p>{i}</p>,c{p}")
    catalog = table_catalog(shop(tmp_path, text, jpgs()))
    assert catalog.labels == ("c0", "c1")
    note = "; column 'label' is empty; column 'tags' holds HTML"
    assert any(line.endswith(note) for line in catalog.notes)


@pytest.mark.parametrize(
    ("names", "first", "second", "label"),
    [
        ("Type,Categories", "simple", "c{p}", "Categories"),
        ("product_type,tags,categories", "simple,sale", "c{p}", "categories"),
        # A column of this name has the last word.
        ("label,type", "shoe", "c{p}", "label"),
        ("type", "simple", "", "type"),
    ],
)
def test_exports_whose_type_is_the_same_everywhere(
    tmp_path: Path, names: str, first: str, second: str, label: str
) -> None:
    line = ",".join(part for part in ("{i}.jpg", first, second) if part)
    catalog = table_catalog(shop(tmp_path, rows(f"image,{names}", line), jpgs()))
    assert any(note.startswith(f"label from column {label!r}") for note in catalog.notes)
    passed = [note for note in catalog.notes if "holds nothing but 'simple'" in note]
    assert len(passed) == (len(catalog.labels) == 2)


def test_images_of_one_product_of_a_shop_stay_together(tmp_path: Path) -> None:
    table = shop(tmp_path, rows("Handle,Image Src,Type", "h{h},{i}.jpg,t"), jpgs())
    assert table_catalog(table).table["group"].n_unique() == 4


@pytest.mark.parametrize("cells", [("0", "1"), ("yes", "no"), ("True", "False"), ("3", "7")])
def test_what_could_be_the_label_is_offered(tmp_path: Path, cells: tuple[str, str]) -> None:
    lines = [f"{i}.jpg,{cells[i % 2]},{i % 3}.5" for i in range(8)]
    table = shop(tmp_path, "\n".join(["image,diagnosis,price", *lines]), jpgs())
    catalog = table_catalog(table)
    assert catalog.labels == ()
    assert any("(diagnosis could be one: --label diagnosis)" in note for note in catalog.notes)


def test_ids_of_groups_are_no_classes(tmp_path: Path) -> None:
    """HAM10000: several photos of each lesion, and `dx` is the diagnosis."""
    catalog = table_catalog(shop(tmp_path, rows("image_id,lesion_id,dx", "{i},L{h},d{p}"), jpgs()))
    assert catalog.labels == ("d0", "d1")
    assert catalog.table["group"].to_list()[:3] == ["L0", "L0", "L1"]


@pytest.mark.parametrize("cells", [("0", "1"), ("0.0", "1.0")])
def test_given_folds(tmp_path: Path, cells: tuple[str, str]) -> None:
    lines = [f"{i}.jpg,c{i // 4},{cells[i % 2]}" for i in range(8)]
    table = shop(tmp_path, "\n".join(["image,label,fold", *lines]), jpgs())
    assert table_catalog(table).table["fold"].to_list() == [0, 1] * 4


def test_folds_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    catalog = table_catalog(shop(tmp_path, rows("image,label,fold", "{i}.jpg,c{p},f{p}"), jpgs()))
    assert "fold" not in catalog.table.columns
    assert any("it holds f0, f1" in note for note in catalog.notes)
