from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, WriteError
from shopsight.images.decode import decode, read_bytes
from shopsight.read_options import ReadOptions
from tests.helpers import ProductPhotos, make_products, touch


def test_a_folder_per_class(product_photos: ProductPhotos, said: list[str]) -> None:
    catalog = open_catalog(product_photos.folder)
    assert len(catalog) == product_photos.count
    assert catalog.labels == product_photos.labels
    assert catalog.name == product_photos.folder.name
    assert said == list(catalog.notes)
    assert decode(read_bytes(catalog.refs()[0])).ndim == 3


def test_a_table(product_photos: ProductPhotos) -> None:
    catalog = open_catalog(str(product_photos.table))
    assert len(catalog) == product_photos.count
    assert catalog.table["group"].n_unique() == product_photos.count // 2
    assert all(Path(ref).is_file() for ref in catalog.refs())
    assert catalog.unlisted == ()


def test_folder_and_table_agree(product_photos: ProductPhotos) -> None:
    by_folder = open_catalog(product_photos.folder).table.select("image", "label")
    by_table = open_catalog(product_photos.table).table.select("image", "label")
    assert by_folder.sort("image").equals(by_table.sort("image"))


def test_columns_can_be_named(product_photos: ProductPhotos) -> None:
    catalog = open_catalog(product_photos.table, ReadOptions(label="product", group="none"))
    assert len(catalog.labels) == product_photos.count // 2
    assert "group" not in catalog.table.columns


def test_the_pattern_of_file_names(product_photos: ProductPhotos) -> None:
    catalog = open_catalog(product_photos.folder, ReadOptions(label_pattern="{label}/*.jpg"))
    assert catalog.labels == product_photos.labels


def test_a_named_part_of_the_pattern_can_be_the_group(product_photos: ProductPhotos) -> None:
    pattern = r"(?P<label>[a-z]+)-(?P<number>\d+)"
    catalog = open_catalog(
        product_photos.folder, ReadOptions(label_pattern=pattern, group="number")
    )
    assert catalog.table["group"].n_unique() == 10
    with pytest.raises(CatalogError, match="no column 'sku'"):
        open_catalog(product_photos.folder, ReadOptions(group="sku"))
    with pytest.raises(CatalogError, match="goes with a folder"):
        open_catalog(product_photos.table, ReadOptions(label_pattern=pattern))


def test_a_relative_path_stays_found(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(product_photos.folder.parent)
    by_folder, by_table = (open_catalog(name) for name in ("products", "products.csv"))
    monkeypatch.chdir(tmp_path)
    assert all(Path(ref).is_file() for ref in (*by_folder.refs(), *by_table.refs()))


def test_a_table_inside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in "abcd":
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("image,label\na,hat\nb,shoe\nc,hat\n", encoding="utf-8")
    catalog = open_catalog(tmp_path)
    assert catalog.labels == ("hat", "shoe")
    assert catalog.unlisted == ("d.jpg",)
    (tmp_path / "more.csv").write_text("image,label\na,hat\nb,shoe\nc,hat\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="several tables could hold the labels"):
        open_catalog(tmp_path)


def test_a_folder_whose_tables_fit_nothing_has_no_labels(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "sales.csv").write_text("day,sum\n1,2\n2,3\n", encoding="utf-8")
    assert open_catalog(tmp_path).labels == ()
    assert any("sales.csv is skipped" in line for line in said)


@pytest.mark.parametrize("form", ["sampleSubmission.csv", "sample_submission.csv"])
def test_the_form_of_a_contest_holds_no_labels(tmp_path: Path, form: str) -> None:
    root = touch(tmp_path, *(f"train/{i}.jpg" for i in range(4)), *(f"test/{i}.jpg" for i in "ab"))
    (tmp_path / form).write_text("id,label\na,0\nb,0\n", encoding="utf-8")
    assert open_catalog(root).labels == ()
    (tmp_path / "train.csv").write_text("id,label\n0,x\n1,x\n2,y\n3,y\n", encoding="utf-8")
    assert open_catalog(root).table["label"].to_list() == ["x", "x", "y", "y"]


def test_one_image(product_photos: ProductPhotos) -> None:
    image = sorted((product_photos.folder / "hat").iterdir())[0]
    assert open_catalog(image).refs() == [str(image)]


def test_idx_files_in_a_folder_or_named(tmp_path: Path) -> None:
    head = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(head + bytes(range(32)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 2, 1, 0)))
    for data in (tmp_path, tmp_path / "train-images-idx3-ubyte"):
        catalog = open_catalog(data)
        assert catalog.table["label"].to_list() == ["1", "0"]
        assert decode(read_bytes(catalog.refs()[1]))[0, 0].tolist() == [16, 16, 16]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_shopsight_wrote_is_read_as_it_is(
    tmp_path: Path, product_photos: ProductPhotos, suffix: str
) -> None:
    before = open_catalog(product_photos.folder)
    split = before.with_table(before.table.with_columns(split=pl.lit("train"), other=pl.lit("x")))
    split.write(tmp_path / f"splits.{suffix}")
    after = open_catalog(tmp_path / f"splits.{suffix}")
    assert after.fingerprint() == split.fingerprint()
    assert after.refs() == before.refs()
    assert open_catalog(tmp_path / f"splits.{suffix}", ReadOptions(label="other")).labels == ("x",)
    moved = open_catalog(tmp_path / f"splits.{suffix}", ReadOptions(images_root=tmp_path))
    assert moved.refs()[0].startswith(str(tmp_path))


def test_a_catalog_passes_through(product_photos: ProductPhotos, said: list[str]) -> None:
    catalog = open_catalog(product_photos.table)
    said.clear()
    assert open_catalog(catalog) is catalog
    dropped = open_catalog(catalog, ReadOptions(drop=("hat",)))
    assert "hat" not in dropped.labels
    assert said == ["dropped hat: 20 images"]


def test_drop_before_and_after_the_map(tmp_path: Path, product_photos: ProductPhotos) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("label,to\ndress,clothes\nshoe,feet\n", encoding="utf-8")
    catalog = open_catalog(
        product_photos.folder,
        ReadOptions(
            label_map=labels,
            drop=(
                "hat",
                "feet",
            ),
        ),
    )
    assert catalog.labels == ("clothes",)
    with pytest.raises(CatalogError, match="no such label to drop"):
        open_catalog(product_photos.folder, ReadOptions(label_map=labels, drop=("feat",)))


def test_a_data_set_by_name_wins_over_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lamoda").mkdir()
    (tmp_path / "lamoda" / "1_bluzy.jpg").write_bytes(b"x")
    catalog = open_catalog("lamoda", ReadOptions(root="lamoda"))
    assert catalog.name == "lamoda"
    assert any("./lamoda is the folder of that name" in line for line in catalog.notes)
    assert open_catalog("./lamoda").labels == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("fashion-mnst", "did you mean 'fashion-mnist'"),
        ("no/such/folder", "no such folder, table or data set"),
    ],
)
def test_nothing_there(data: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        open_catalog(data)


@pytest.mark.posix("devices have paths")
@pytest.mark.parametrize("data", ["/dev/null", "/dev/zero"])
def test_pipes_and_devices(data: str) -> None:
    with pytest.raises(CatalogError, match="neither a folder nor a regular file"):
        open_catalog(data)


def test_other_files_and_stray_roots(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x", encoding="utf-8")
    with pytest.raises(CatalogError, match="neither a folder nor a table"):
        open_catalog(tmp_path / "notes.md")
    (tmp_path / "notes.txt").write_text("x\ny z", encoding="utf-8")
    with pytest.raises(CatalogError, match="no column names existing image files"):
        open_catalog(tmp_path / "notes.txt")
    with zipfile.ZipFile(tmp_path / "shop.xlsx", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "x")
    with pytest.raises(CatalogError, match="an Excel workbook, not a table"):
        open_catalog(tmp_path / "shop.xlsx")
    with pytest.raises(CatalogError, match="--root goes with a named data set"):
        open_catalog(tmp_path, ReadOptions(root=tmp_path))


def test_targets_of_an_opened_catalog(product_photos: ProductPhotos) -> None:
    catalog = open_catalog(product_photos.table)
    assert isinstance(catalog, Catalog)
    assert np.bincount(catalog.targets(catalog.labels)).tolist() == [20, 20, 20]


def test_results_do_not_go_into_the_folder_of_the_images(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=2)
    before = sorted(Path(photos.folder).rglob("*"))
    around = Path(photos.folder) / "hat" / ".."
    for data, out in ((photos.folder, photos.folder), (photos.table, around)):
        with pytest.raises(WriteError, match="this is the folder of the images") as raised:
            api.audit(data, out=out)
        assert raised.value.where == str(out)
    with pytest.raises(WriteError, match="this is the folder of the images"):
        api.train(photos.folder, out=photos.folder)
    assert sorted(Path(photos.folder).rglob("*")) == before
    api.audit(photos.folder, out=Path(photos.folder) / "results")
    assert len(open_catalog(photos.folder)) == photos.count


def test_labels_of_every_source_are_read_alike(tmp_path: Path) -> None:
    images = [f"{i}.jpg" for i in range(4)]
    cells = ["['red' 'cotton']", "{'red'}", "('cotton',)", " "]
    catalog = Catalog(pl.DataFrame({"image": images, "kind": cells}), "shop", str(tmp_path))
    own = tmp_path / "own.csv"
    catalog.write(own)
    foreign = tmp_path / "foreign.csv"
    catalog.table.write_csv(foreign)
    for image in images:
        (tmp_path / image).write_bytes(b"x")
    found = [
        open_catalog(data, ReadOptions(label="kind", empty_label="none"))
        for data in (catalog, own, foreign)
    ]
    for one in found:
        assert one.table["label"].to_list() == [["red", "cotton"], ["red"], ["cotton"], []]
        assert "1 row without a label: no label applies to these images" in one.notes


def test_labels_that_a_catalog_has_are_read_anew(tmp_path: Path) -> None:
    catalog = Catalog(pl.DataFrame({"image": ["a", "b"], "label": ["x+y", None]}), "shop")
    found = open_catalog(catalog, ReadOptions(label_separator="+", empty_label="none"))
    assert found.table["label"].to_list() == [["x", "y"], []]


def test_two_unicode_forms_of_a_folder_are_one_class(tmp_path: Path, said: list[str]) -> None:
    forms = [unicodedata.normalize(form, "grün") for form in ("NFC", "NFD")]
    for number, name in enumerate([*forms, "hat"]):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{number}.jpg").write_bytes(b"x")
    assert open_catalog(tmp_path).labels == (forms[0], "hat")
    assert any("in one Unicode form" in line for line in said)
    assert open_catalog(tmp_path, ReadOptions(drop=(forms[1],))).labels == ("hat",)


def test_names_from_a_list(tmp_path: Path) -> None:
    catalog = Catalog(pl.DataFrame({"image": ["a", "b"], "label": ["0", "1"]}), "shop")
    (tmp_path / "names.txt").write_text("hat\nshoe\n", encoding="utf-8")
    found = open_catalog(catalog, ReadOptions(label_map=tmp_path / "names.txt", drop=("shoe",)))
    assert found.table["label"].to_list() == ["hat"]
    assert "names of labels by their line, counted from 0: 0 is 'hat'" in found.notes


def test_a_column_that_is_called_none(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": ["a", "b"], "none": ["0", "1"], "hat": ["1", "0"]})
    catalog = Catalog(table, "shop")
    with pytest.raises(CatalogError, match="rename the column 'none'"):
        open_catalog(catalog, ReadOptions(label="none"))
    found = open_catalog(catalog, ReadOptions(label=("none", "hat")))
    assert found.table["label"].to_list() == ["hat", "none"]


def test_labels_that_no_bundle_takes(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=2)
    text = photos.table.read_text(encoding="utf-8").replace(",hat,", f",{'h' * 4097},")
    photos.table.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match="1 label has more than 4,096 characters") as caught:
        open_catalog(photos.table)
    assert "hhh... (4,097 characters)" in str(caught.value)
    photos.table.write_text(text.replace("h" * 4097, "h" * 4096), encoding="utf-8")
    assert len(open_catalog(photos.table).labels) == 3
