"""The export of each platform is written back: missing categories, and no other byte."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from shopsight.exports.category_cells import category_cells
from shopsight.read_options import ReadOptions
from shopsight.review.cells import accepted_cells, written_categories
from shopsight.review.shop_products import open_shop
from shopsight.review.write_export import import_files, write_import
from tests.exports import test_platforms as exports
from tests.tables.test_write_back import changed

WOO = "\n".join([exports.WOO_HEADER, *exports.WOO_ROWS])
CASES = [
    ("feed.tsv", exports.tsv(exports.GOOGLE), {"4"}, "Apparel > Shirts"),
    ("woo.csv", WOO, {"MUG"}, "Clothing, Clothing > Hoodies"),
    ("presta.csv", exports.PRESTASHOP, {"2"}, "Home,Home/iPods"),
    ("big.csv", exports.BIGCOMMERCE, {"78"}, "Shop/Men;Shop/Men/Shirts"),
]


@pytest.mark.parametrize(("name", "text", "missing", "cell"), CASES)
def test_a_missing_category_is_what_other_cells_hold(
    tmp_path: Path, name: str, text: str, missing: set[str], cell: str
) -> None:
    file, read = tmp_path / name, ReadOptions()
    file.write_bytes(text.encode())
    shop = open_shop(str(file), read)
    given = dict(shop.table.select("product", "given").iter_rows())
    assert {product for product, label in given.items() if label is None} == missing
    written = written_categories(shop, ())
    label = next(label for label, value in written.items() if value == cell)
    accepted = accepted_cells(shop, dict.fromkeys(missing, label), written)
    assert accepted.kept == {}
    (imported,) = import_files(shop, accepted, tmp_path / "out")
    imported.path.parent.mkdir()
    write_import(imported, accepted.by_file[str(file)], shop, read, minimal=False)
    before, after = category_cells([str(file)]), category_cells([str(imported.path)])
    for old, new in zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True):
        assert new["value"] == (cell if old["group"] in missing else old["value"])
    gone, come = changed(text.encode(), imported.path.read_bytes())
    # No more than the cell, with quotes around it.
    old = max(len(value or "") for value in before["value"].filter(before["group"].is_in(missing)))
    assert len(gone) <= old + 2
    assert len(come) <= len(cell) + 2


@pytest.mark.parametrize(("name", "text", "missing", "cell"), CASES)
def test_minimal(tmp_path: Path, name: str, text: str, missing: set[str], cell: str) -> None:
    file, read = tmp_path / name, ReadOptions()
    file.write_bytes(text.encode())
    shop = open_shop(str(file), read)
    written = written_categories(shop, ())
    label = next(label for label, value in written.items() if value == cell)
    accepted = accepted_cells(shop, dict.fromkeys(missing, label), written)
    (imported,) = import_files(shop, accepted, tmp_path / "out")
    imported.path.parent.mkdir()
    write_import(imported, accepted.by_file[str(file)], shop, read, minimal=True)
    header, row = imported.path.read_bytes().decode().splitlines()
    separator = {"feed.tsv": "\t", "presta.csv": ";"}.get(name, ",")
    names, cells = csv.reader([header, row], delimiter=separator)
    assert len(names) == len(cells) <= 5
    assert cell in cells
    assert "http" not in row


def test_of_several_categories_none_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "woo.csv"
    file.write_bytes(WOO.encode())
    shop = open_shop(str(file), ReadOptions())
    written = written_categories(shop, ())
    accepted = accepted_cells(shop, {"CD": "Clothing > Hoodies"}, written)
    assert accepted.by_file == {}
    assert accepted.kept == {"CD": "is in 2 categories"}
    categories = dict(shop.table.select("product", "categories").iter_rows())
    # Either of them is what is given.
    assert categories["CD"] == ["Music, Film > Rock", "Sale"]


def test_files_of_one_export_have_an_import_file_each(tmp_path: Path) -> None:
    header = "Handle,Title,Product Category,Image Src\n"
    first, second = tmp_path / "p_1.csv", tmp_path / "p_2.csv"
    first.write_text(f"{header}a,A,X > Y,http://s.example/a.jpg\n", encoding="utf-8")
    second.write_text(f"{header}b,B,,http://s.example/b.jpg\n", encoding="utf-8")
    read = ReadOptions()
    shop = open_shop(f"{first},{second}", read)
    accepted = accepted_cells(shop, {"b": "X > Y"}, written_categories(shop, ()))
    (imported,) = import_files(shop, accepted, tmp_path / "out")
    assert imported.path.name == "products_import_2.csv"
    imported.path.parent.mkdir()
    write_import(imported, accepted.by_file[str(second)], shop, read, minimal=False)
    assert imported.path.read_text(encoding="utf-8").endswith("b,B,X > Y,http://s.example/b.jpg\n")
