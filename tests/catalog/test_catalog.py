from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from shopsight.catalog.about_record import about_path, read_about
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.files import sha256_bytes, write_json
from shopsight.paths import join
from shopsight.read_options import ReadOptions
from shopsight.tables.cell_numbers import decimal_numbers


def full_catalog(root: str = "/photos") -> Catalog:
    table = pl.DataFrame(
        {
            "image": ["a.jpg", "b/c.jpg", "d.jpg"],
            "label": ["shoe", "hat", "shoe"],
            "group": ["1", None, "2"],
            "split": ["train", "val", "test"],
            "box_x": [1.0, None, 3.0],
            "box_y": [1.0, None, 3.0],
            "box_w": [5.0, None, 5.0],
            "box_h": [5.0, None, 5.0],
            "price": [3, 4, 5],
        }
    )
    return Catalog(table, "shop", root, synthetic=True)


def several_labels() -> Catalog:
    table = pl.DataFrame({"image": ["a.jpg", "b.jpg", "c.jpg"], "label": [["x", "y"], ["y"], []]})
    return Catalog(table, "tags")


def test_labels_are_sorted_and_distinct() -> None:
    assert full_catalog().labels == ("hat", "shoe")
    assert several_labels().labels == ("x", "y")
    assert Catalog(pl.DataFrame({"image": ["a"]}), "bare").labels == ()


def test_targets_follow_the_order_of_the_labels() -> None:
    assert full_catalog().targets(["shoe", "hat"]).tolist() == [0, 1, 0]


def test_targets_of_several_labels_are_rows_of_zeros_and_ones() -> None:
    catalog = several_labels()
    assert catalog.multilabel
    targets = catalog.targets(["y", "z", "x"])
    assert isinstance(targets, csr_array)
    assert targets.dtype == np.uint8
    assert targets.has_sorted_indices
    assert targets.toarray().tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_a_label_that_a_row_names_twice_counts_once() -> None:
    table = pl.DataFrame({"image": ["a", "b"], "label": [["x", "x"], ["y", "x"]]})
    assert Catalog(table, "twice").targets(["x", "y"]).toarray().tolist() == [[1, 0], [1, 1]]


def test_targets_refuse_a_label_the_model_does_not_know() -> None:
    with pytest.raises(CatalogError, match="1 label is unknown to the model"):
        full_catalog().targets(["hat"])


def test_targets_refuse_a_row_without_label() -> None:
    catalog = Catalog(pl.DataFrame({"image": ["a", "b"], "label": ["x", None]}), "gaps")
    with pytest.raises(CatalogError, match="1 of 2 images has no label"):
        catalog.targets(["x"])


def test_rows_of_a_part() -> None:
    assert full_catalog().rows_of("val").tolist() == [1]
    with pytest.raises(CatalogError, match="not split"):
        several_labels().rows_of("train")


def test_boxes_are_nan_where_the_whole_image_counts() -> None:
    boxes = full_catalog().boxes()
    assert boxes is not None
    assert boxes[0].tolist() == [1, 1, 5, 5]
    assert np.isnan(boxes[1]).all()
    assert several_labels().boxes() is None


def test_take_keeps_the_given_order() -> None:
    assert full_catalog().take([2, 0]).table["image"].to_list() == ["d.jpg", "a.jpg"]


@pytest.mark.parametrize(
    ("root", "image", "ref"),
    [
        ("/photos", "a.jpg", "/photos/a.jpg"),
        ("/photos/", "b/c.jpg", "/photos/b/c.jpg"),
        ("/photos", "/elsewhere/a.jpg", "/elsewhere/a.jpg"),
        ("/photos", "s3://bucket/a.jpg", "s3://bucket/a.jpg"),
        ("s3://bucket/photos", "a.jpg", "s3://bucket/photos/a.jpg"),
    ],
)
def test_references(root: str, image: str, ref: str) -> None:
    assert join(root, image) == ref


def test_relative_roots_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert full_catalog("photos").refs()[0] == f"{tmp_path}/photos/a.jpg"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv"])
@pytest.mark.parametrize("make", [full_catalog, several_labels])
def test_a_written_catalog_reads_back_the_same(
    tmp_path: Path, suffix: str, make: type[Catalog]
) -> None:
    before = make()
    before.write(tmp_path / f"shop.{suffix}")
    after = Catalog.read(tmp_path / f"shop.{suffix}")
    assert after.table.equals(before.table)
    assert (after.name, after.root, after.synthetic) == (before.name, before.root, before.synthetic)
    assert after.fingerprint() == before.fingerprint()


def test_labels_that_look_like_numbers_or_hold_blanks_survive_csv(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": ["a", "b", "c"], "label": ["050", "50 ", " x,y"]})
    Catalog(table, "odd").write(tmp_path / "odd.csv")
    assert Catalog.read(tmp_path / "odd.csv").table["label"].to_list() == ["050", "50 ", " x,y"]


def test_labels_that_hold_the_separator_survive_csv(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": ["a"], "label": [["x|y", "z"]]})
    Catalog(table, "odd").write(tmp_path / "odd.csv")
    assert Catalog.read(tmp_path / "odd.csv").table["label"].to_list() == [["x|y", "z"]]


def test_a_table_moved_with_its_images_finds_them(tmp_path: Path) -> None:
    (tmp_path / "old" / "photos").mkdir(parents=True)
    full_catalog(str(tmp_path / "old" / "photos")).write(tmp_path / "old" / "shop.parquet")
    (tmp_path / "old").rename(tmp_path / "new")
    assert Catalog.read(tmp_path / "new" / "shop.parquet").root == str(tmp_path / "new" / "photos")


def test_reading_what_shopsight_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("image,label\na.jpg,x\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="not a catalog that shopsight wrote"):
        Catalog.read(tmp_path / "other.csv")
    with pytest.raises(CatalogError, match="no such catalog"):
        Catalog.read(tmp_path / "absent.csv")


def test_unusable_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no column `image`"):
        Catalog(pl.DataFrame({"file": ["a"]}), "x")
    with pytest.raises(CatalogError, match="1 row without an image name"):
        Catalog(pl.DataFrame({"image": ["a", None]}), "x")
    with pytest.raises(CatalogError, match="unknown split names"):
        Catalog(pl.DataFrame({"image": ["a"], "split": ["dev"]}), "x")
    with pytest.raises(CatalogError, match=r"cannot write a catalog as '\.xlsx'"):
        full_catalog().write(tmp_path / "shop.xlsx")


def test_the_fingerprint_is_of_content_not_of_location() -> None:
    catalog = full_catalog("/photos")
    assert catalog.fingerprint() == full_catalog("/moved").fingerprint()
    other = catalog.with_table(catalog.table.with_columns(price=pl.lit(0)))
    assert catalog.fingerprint() == other.fingerprint()


def test_the_fingerprint_of_many_rows_is_that_of_all_at_once() -> None:
    names = [f"{row}é.jpg" for row in range(100_001)]
    lengths = np.array([len(name.encode()) for name in names])
    whole = sha256_bytes(b"image" + lengths.tobytes() + "".join(names).encode())
    assert Catalog(pl.DataFrame({"image": names}), "x").fingerprint() == whole


@pytest.mark.parametrize("column", ["image", "label", "group", "split", "box_w"])
def test_the_fingerprint_sees_every_column_that_matters(column: str) -> None:
    catalog = full_catalog()
    values = catalog.table[column].to_list()
    changed = catalog.table.with_columns(pl.Series(column, [values[2], *values[1:2], values[0]]))
    if column == "label":
        changed = catalog.table.with_columns(pl.Series("label", ["hat", "shoe", "shoe"]))
    if column == "box_w":
        changed = catalog.table.with_columns(pl.lit(6.0).alias("box_w"))
    assert catalog.with_table(changed).fingerprint() != catalog.fingerprint()


words = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1
)


@given(words, words)
def test_different_names_have_different_fingerprints(first: list[str], second: list[str]) -> None:
    one, two = (Catalog(pl.DataFrame({"image": names}), "x") for names in (first, second))
    assert (one.fingerprint() == two.fingerprint()) == (first == second)


def about_of(table: Path) -> dict[str, object]:
    return dict(json.loads(about_path(table).read_text(encoding="utf-8")))


def test_images_on_another_drive_have_no_way_from_here(tmp_path: Path) -> None:
    """Windows knows no relative path from C: to D:; the catalog is written and read even so."""
    path = tmp_path / "splits.csv"
    Catalog(pl.DataFrame({"image": ["1.jpg"]}), "shop", "D:\\photos").write(path)
    about = about_of(path)
    assert about["root"] == "D:/photos"
    write_json(about_path(path), {name: about[name] for name in about if name != "root_from_here"})
    found = Catalog.read(path)
    assert found.root == "D:/photos"
    assert found.refs() == ["D:/photos/1.jpg"]


def test_a_catalog_that_windows_wrote_finds_its_images_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "runs").mkdir()
    path = tmp_path / "runs" / "splits.csv"
    Catalog(pl.DataFrame({"image": ["1.jpg"]}), "shop", str(tmp_path / "photos")).write(path)
    assert about_of(path)["root_from_here"] == "../photos"
    for way in ("../photos", "..\\photos"):
        windows = {"root": "C:\\shop\\photos", "root_from_here": way}
        write_json(about_path(path), about_of(path) | windows)
        assert Catalog.read(path).refs() == [(tmp_path / "photos" / "1.jpg").as_posix()]


def boxes() -> Catalog:
    return Catalog(
        pl.DataFrame(
            {
                "image": ["a.jpg", "b.jpg", "c.jpg"],
                "label": ["050", "Hüte", None],
                "split": ["train", "val", "test"],
                "box_x": [1.5, 0.25, None],
                "box_y": [2.0, 3.0, None],
                "box_w": [10.5, 20.0, None],
                "box_h": [30.0, 1200.125, None],
                "sku": ["007", "008", "009"],
                "price": [1, 2, None],
                "new": [True, False, None],
            }
        ),
        "shop",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_that_excel_saved_again_is_the_same(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    path = tmp_path / "splits.csv"
    boxes().write(path)
    text = path.read_text(encoding="utf-8").replace(",", separator).replace("val", "Validation")
    text = text.replace("true", "TRUE").replace("false", "FALSE").replace("\n", "\r\n")
    if separator == ";":
        text = text.replace(".5", ",5").replace(".25", ",25").replace(".0;", ";")
        text = text.replace("1200.125", "1200,125") + ";;;;;;;;;\r\n"
    path.write_bytes(text.encode(encoding))
    again = Catalog.read(path)
    assert again.table.equals(boxes().table)
    assert bool(again.notes) == (not encoding.startswith("utf-8") or separator == ";")


def test_an_own_table_with_a_bad_row_or_number(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    boxes().write(path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("b.jpg,", "b,jpg,"), encoding="utf-8")
    with pytest.raises(CatalogError, match="line 3, 11 cells"):
        Catalog.read(path)
    assert len(Catalog.read(path, ReadOptions(on_bad_row="skip"))) == 2
    path.write_text(text.replace("1.5", "wide"), encoding="utf-8")
    with pytest.raises(CatalogError, match="column 'box_x' holds 'wide', not float"):
        Catalog.read(path)
    path.write_text(text.replace("1.5", '"1,500"').replace("0.25", "2"), encoding="utf-8")
    with pytest.raises(CatalogError, match="'1,500' could be thousands or decimals"):
        Catalog.read(path)


def test_no_label_and_an_unknown_one_stay_apart_in_csv(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": ["a", "b", "c"], "label": [["x", "y"], [], None]})
    Catalog(table, "tags").write(tmp_path / "tags.csv")
    assert Catalog.read(tmp_path / "tags.csv").table["label"].to_list() == [["x", "y"], [], None]


OTHERS = [
    *("", "[1]", '{"name": "x"}', "{", "\udce9"),
    '{"name": {}, "root": "", "synthetic": false}',
    '{"name": "x", "root": "", "synthetic": "no"}',
    '{"name": "x", "root": "", "synthetic": false, "types": []}',
    '{"name": "x", "root": "", "root": "/etc", "synthetic": false}',
    '{"name": "x", "root": "\\ud800", "synthetic": false}',
    '{"name": "x", "root": "", "synthetic": false, "x": ' + "[" * 100_000,
]


@pytest.mark.parametrize("about", OTHERS)
def test_a_file_of_a_user_that_is_named_like_our_record(tmp_path: Path, about: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("image,label\na.jpg,x\n", encoding="utf-8")
    about_path(path).write_bytes(about.encode("utf-8", "surrogateescape"))
    assert read_about(path) is None


def test_durations_are_text_in_csv(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": ["a.jpg"], "kept": [timedelta(days=1, seconds=2)]})
    Catalog(table, "shop").write(tmp_path / "shop.csv")
    assert Catalog.read(tmp_path / "shop.csv").table["kept"].to_list() == ["1d 2s"]


def test_numbers_in_nested_columns_are_none() -> None:
    column = pl.Series("box_x", [[1.0], [2.0]])
    assert decimal_numbers(column, "t.parquet").to_list() == [None, None]
    codes = pl.Series("box_x", ["1,5", "2"], dtype=pl.Categorical)
    assert decimal_numbers(codes, "t.parquet").to_list() == [1.5, 2.0]


def test_labels_that_hold_every_separator_need_parquet(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": ["a.jpg"], "label": [["x|y", "x;y", "x\x1fy"]]})
    catalog = Catalog(table, "shop")
    with pytest.raises(CatalogError, match="hold every separator"):
        catalog.write(tmp_path / "shop.csv")
    catalog.write(tmp_path / "shop.parquet")
    assert Catalog.read(tmp_path / "shop.parquet").labels == catalog.labels
