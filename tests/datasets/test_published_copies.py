"""Readers of data sets that are read from a copy: each on a small one of the published layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight.audit.audit import audit
from shopsight.catalog.items import item_ids, products
from shopsight.datasets.open import open_catalog
from shopsight.datasets.registry import open_dataset
from shopsight.errors import SourceError
from shopsight.read_options import ReadOptions

SPACED = "{:<60}{:<18}{}"


def photos(folder: Path, *names: str, size: tuple[int, int] = (40, 30)) -> None:
    """Photos that differ."""
    for name in names:
        rng = np.random.default_rng(list(name.encode()))
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / name, "JPEG")


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def online_products(folder: Path) -> None:
    """Two products of each part, in two of the twelve kinds."""
    number = 0
    for split, kinds in (("train", ("bicycle", "coffee_maker")), ("test", ("chair", "mug"))):
        lines = ["image_id class_id super_class_id path"]
        for kind_id, kind in enumerate(kinds, start=1):
            for photo in range(2):
                number += 1
                path = f"{kind}_final/{1110 + kind_id}_{photo}.JPG"
                photos(folder, path)
                lines.append(f"{number} {kind_id + 10 * (split == 'test')} {kind_id} {path}")
        write(folder / f"Ebay_{split}.txt", *lines)


def inshop(
    folder: Path, *, images: str = "Img/img", eval_: str = "Eval/", anno: str = "Anno/"
) -> None:
    """Three items: one to train, one to be found, one without a box of its own."""
    names = {
        "WOMEN/Dresses/id_00000002/02_1_front.jpg": ("id_00000002", "train", "3 1 12 4 30 28"),
        "WOMEN/Dresses/id_00000002/02_3_back.jpg": ("id_00000002", "train", "3 3 10 2 31 29"),
        "MEN/Denim/id_00000080/01_1_front.jpg": ("id_00000080", "query", "2 1 5 5 25 20"),
        "MEN/Denim/id_00000080/01_2_side.jpg": ("id_00000080", "gallery", "2 2 9 9 9 20"),
    }
    photos(folder / images, *names)
    rows = [SPACED.format(f"img/{name}", item, part) for name, (item, part, _) in names.items()]
    write(
        folder / f"{eval_}list_eval_partition.txt",
        "4",
        "image_name item_id evaluation_status",
        *rows,
    )
    write(
        folder / f"{anno}list_bbox_inshop.txt",
        "4",
        "image_name clothes_type pose_type x_1 y_1 x_2 y_2",
        *(f"img/{name}   {box}" for name, (_, _, box) in names.items()),
    )
    described = [{"item": "id_00000080", "color": "Indigo", "description": ["Slim fit", "jeans"]}]
    write(folder / f"{anno}list_description_inshop.json", json.dumps(described))


def shopee(folder: Path) -> None:
    photos(folder / "train_images", "0000a6.jpg", "00039.jpg")
    write(
        folder / "train.csv",
        "posting_id,image,image_phash,title,label_group",
        "train_129,0000a6.jpg,94974f,Paper Bag Victoria Secret,249114794",
        'train_338,00039.jpg,af3f94,"Double Tape, 12 mm",2937985045',
        "train_339,00039.jpg,af3f94,Double Tape 3M,2937985045",
    )


def ali_products(folder: Path) -> None:
    for part, photo in (("train", "10.jpg"), ("val", "1849756.jpg")):
        photos(folder / part, f"00000/{photo}", f"00041/{photo}")
        images = [{"image_id": photo, "class_id": name} for name in ("00000", "00041")]
        write(folder / f"{part}.json", json.dumps({"images": images}))


def shelf_products(folder: Path) -> None:
    photos(
        folder / "all",
        "train/川南瓶装学生下饭菜330g/a.jpg",
        "train/伊利安慕希/b.jpg",
        "train/伊利安慕希/c.jpg",
        "test/川南瓶装学生下饭菜330g/d.jpg",
        "test/伊利安慕希/e.jpg",
    )


COPIES: dict[str, Callable[[Path], None]] = {
    "stanford-online-products": online_products,
    "deepfashion-inshop": inshop,
    "shopee": shopee,
    "aliproducts": ali_products,
    "rp2k": shelf_products,
}


@pytest.mark.parametrize("name", COPIES)
def test_all_images_of_a_copy_are_read(tmp_path: Path, name: str) -> None:
    COPIES[name](tmp_path)
    catalog = open_catalog(name, ReadOptions(root=tmp_path))
    report = audit(catalog, remember=False)
    assert set(report.files["status"]) == {"ok"}
    assert {"split-leak", "group-leak", "untrained-class"}.isdisjoint(report.counts)
    assert item_ids(catalog).n_unique() == len(catalog)


@pytest.mark.parametrize("name", [name for name in COPIES if name != "shopee"])
def test_without_a_folder_it_is_said_what_is_needed(name: str) -> None:
    with pytest.raises(SourceError, match="none was named") as caught:
        open_dataset(name)
    assert "https://" in str(caught.value)
    assert "--root FOLDER with " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "gone", "said"),
    [
        ("stanford-online-products", "Ebay_test.txt", "Ebay_test.txt is missing"),
        (
            "deepfashion-inshop",
            "Eval/list_eval_partition.txt",
            "list_eval_partition.txt is missing",
        ),
        ("shopee", "train.csv", r"train\.csv is missing"),
        ("aliproducts", "val.json", r"val\.json is missing"),
    ],
)
def test_a_missing_list_is_named(tmp_path: Path, name: str, gone: str, said: str) -> None:
    COPIES[name](tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(SourceError, match=said):
        open_dataset(name, root=tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "said"),
    [
        ("stanford-online-products", "mug_final", r"1 of 2 folders .*Ebay_test\.txt .*missing"),
        ("aliproducts", "train/00041", r"1 of 2 folders .*train\.json"),
        ("deepfashion-inshop", "Img/img/MEN", "1 of 2 folders"),
        ("rp2k", "all/test", "test/ is missing"),
        ("shopee", "train_images", "train_images/ is missing"),
    ],
)
def test_a_missing_folder_is_named_with_what_to_unpack(
    tmp_path: Path, name: str, folder: str, said: str
) -> None:
    COPIES[name](tmp_path)
    (tmp_path / folder).rename(tmp_path / "elsewhere")
    for place in ("", "all/", "Img/"):
        if (tmp_path / place).is_dir():
            (tmp_path / f"{place}images.zip").write_bytes(b"")
    with pytest.raises(SourceError, match=said) as caught:
        open_dataset(name, root=tmp_path)
    assert "unpack images.zip there" in str(caught.value)


def test_online_products_have_their_official_parts_and_kinds(tmp_path: Path) -> None:
    online_products(tmp_path / "Stanford_Online_Products")
    catalog = open_dataset("stanford-online-products", root=tmp_path)
    assert catalog.table["split"].to_list() == ["train"] * 4 + ["test"] * 4
    assert catalog.labels == ("1", "11", "12", "2")
    assert catalog.table["category"].unique(maintain_order=True).to_list() == [
        "bicycle", "coffee maker", "chair", "mug",
    ]  # fmt: skip
    shown = products(catalog)
    assert shown is not None
    assert shown.to_list() == catalog.table["label"].to_list()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["image_id class_id path", "1 1 a_final/1.JPG"], "not the published list"),
        (["image_id class_id super_class_id path", "1 1 1 a/1.JPG", "2 1"], "row 2 has 2 cells"),
        ([], "not the published list"),
    ],
)
def test_a_list_that_is_damaged(tmp_path: Path, lines: list[str], said: str) -> None:
    online_products(tmp_path)
    write(tmp_path / "Ebay_train.txt", *lines)
    with pytest.raises(SourceError, match=said):
        open_dataset("stanford-online-products", root=tmp_path)


@pytest.mark.parametrize("layout", ["published", "flat"])
def test_inshop_has_boxes_queries_and_descriptions(tmp_path: Path, layout: str) -> None:
    if layout == "flat":
        inshop(tmp_path, images="img", eval_="", anno="")
    else:
        inshop(tmp_path / "In-shop Clothes Retrieval Benchmark")
    catalog = open_dataset("deepfashion-inshop", root=tmp_path)
    rows = catalog.table
    assert rows["split"].to_list() == ["train", "train", "test", "test"]
    assert rows["evaluation_status"].to_list()[2:] == ["query", "gallery"]
    assert rows["department"].to_list() == ["WOMEN", "WOMEN", "MEN", "MEN"]
    assert rows["category"].to_list()[1:3] == ["Dresses", "Denim"]
    assert rows["pose"].to_list() == ["front", "back", "front", "side"]
    assert rows["text"].to_list() == [None, None, "Slim fit jeans", "Slim fit jeans"]
    boxes = catalog.boxes()
    assert boxes is not None
    # x, y, width, height; a box without an area is none.
    np.testing.assert_array_equal(boxes[[0, 2]], [[12, 4, 18, 24], [5, 5, 20, 15]])
    assert np.isnan(boxes[3]).all()
    assert any("1 row without one: the whole image" in note for note in catalog.notes)


def test_inshop_of_high_resolution_has_no_boxes(tmp_path: Path) -> None:
    inshop(tmp_path, images="Img/img_highres")
    catalog = open_dataset("deepfashion-inshop", root=tmp_path)
    assert catalog.boxes() is None
    assert all(Path(ref).is_file() for ref in catalog.refs())
    assert any("img_highres/ alone" in note for note in catalog.notes)


def test_inshop_still_packed_or_cut_off(tmp_path: Path) -> None:
    inshop(tmp_path)
    partition = tmp_path / "Eval" / "list_eval_partition.txt"
    text = partition.read_text(encoding="utf-8")
    write(partition, *text.splitlines()[:-1])
    with pytest.raises(SourceError, match="cut off: it says 4 rows and has 3"):
        open_dataset("deepfashion-inshop", root=tmp_path)
    (tmp_path / "Img" / "img").rename(tmp_path / "elsewhere")
    (tmp_path / "Img" / "img.zip").write_bytes(b"")
    with pytest.raises(SourceError, match=r"unpack .*img\.zip"):
        open_dataset("deepfashion-inshop", root=tmp_path)


def test_shopee_has_titles_and_offers(tmp_path: Path) -> None:
    shopee(tmp_path)
    catalog = open_dataset("shopee", root=tmp_path)
    assert catalog.labels == ("249114794", "2937985045")
    assert catalog.table["text"][1] == "Double Tape, 12 mm"
    assert item_ids(catalog).to_list() == ["train_129", "train_338", "train_339"]
    assert "split" not in catalog.table.columns
    write(tmp_path / "train.csv", "posting_id,image", "a,0000a6.jpg")
    with pytest.raises(SourceError, match="no column image_phash, title, label_group"):
        open_dataset("shopee", root=tmp_path)


def test_ali_products_take_the_part_of_the_challenge_that_has_labels(tmp_path: Path) -> None:
    ali_products(tmp_path)
    write(tmp_path / "test.json", "{}")
    catalog = open_dataset("aliproducts", root=tmp_path)
    assert catalog.table["image"].to_list()[-1] == "val/00041/1849756.jpg"
    assert catalog.table["split"].to_list() == ["train", "train", "val", "val"]
    assert products(catalog) is None
    assert any("test.json" in note for note in catalog.notes)
    write(tmp_path / "val.json", '{"images": [{"class_id": "00000"}]}')
    with pytest.raises(SourceError, match=r"is damaged: it is no \{\"images\""):
        open_dataset("aliproducts", root=tmp_path)


def test_rp2k_is_read_without_guesses(tmp_path: Path) -> None:
    shelf_products(tmp_path)
    photos(tmp_path / "all", "train/loose.jpg")
    catalog = open_dataset("rp2k", root=tmp_path)
    assert catalog.labels == ("伊利安慕希", "川南瓶装学生下饭菜330g")
    assert sorted(catalog.table["split"]) == ["test"] * 2 + ["train"] * 3
    assert catalog.unlisted == ("train/loose.jpg",)
    # The folder itself may be named, and a part of it without products is none.
    assert len(open_dataset("rp2k", root=tmp_path / "all")) == 5
    (tmp_path / "all" / "test").rename(tmp_path / "elsewhere")
    (tmp_path / "all" / "test").mkdir()
    with pytest.raises(SourceError, match="test/ has no folder of a product"):
        open_dataset("rp2k", root=tmp_path)
