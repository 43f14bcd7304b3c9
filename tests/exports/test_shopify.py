"""Shopify's CSV of both generations, with the traps that real exports have."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.commands.import_export import import_export
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ConfigError, TableError
from shopsight.exports.category_cells import category_cells
from shopsight.read_options import ReadOptions

COLOR = "Farbe (product.metafields.shopify.color-pattern)"
OLD = (
    *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published"),
    *("Option1 Name", "Option1 Value", "Option2 Name", "Option2 Value", "Variant SKU"),
    *("Variant Price", "Image Src", "Image Position", "Variant Image", "Status", COLOR),
)
NEW_NAMES = {
    "Handle": "URL handle",
    "Body (HTML)": "Description",
    "Product Category": "Product category",
    "Published": "Published on online store",
    "Option1 Name": "Option1 name",
    "Option1 Value": "Option1 value",
    "Option2 Name": "Option2 name",
    "Option2 Value": "Option2 value",
    "Variant SKU": "SKU",
    "Variant Price": "Price",
    "Image Src": "Product image URL",
    "Image Position": "Image position",
    "Variant Image": "Variant image URL",
    COLOR: "Färg (product.metafields.shopify.color-pattern)",
}
RINGS = "Apparel & Accessories > Jewelry > Rings"
CDN = "https://cdn.shopify.com/s/files"
HTML = '<p>A "fine" ring,\nsee <a href="https://shop.example/a.jpg">the photo</a></p>'

Row = Mapping[str, str]


def product(handle: str, **cells: str) -> dict[str, str]:
    base = {"Handle": handle, "Title": handle.title(), "Body (HTML)": HTML, "Status": "active"}
    return base | {"Option1 Name": "Title", "Option1 Value": "Default Title"} | named(cells)


def named(cells: Row) -> dict[str, str]:
    short = {
        "image": "Image Src", "position": "Image Position", "category": "Product Category",
        "type": "Type", "status": "Status", "price": "Variant Price", "tags": "Tags",
        "variant_image": "Variant Image", "color": COLOR, "option1": "Option1 Value",
        "option2": "Option2 Value", "title": "Title",
    }  # fmt: skip
    return {short.get(key, key): cell for key, cell in cells.items()}


def further(handle: str, **cells: str) -> dict[str, str]:
    return {"Handle": handle} | named(cells)


def text_of(rows: Sequence[Row], header: Sequence[str] = OLD, *, separator: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, header, restval="", delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def export(tmp_path: Path, rows: Sequence[Row], name: str = "products_export.csv") -> str:
    (tmp_path / name).write_text(text_of(rows), encoding="utf-8")
    return str(tmp_path / name)


SHOP: tuple[Row, ...] = (
    product("ring", category=RINGS, type="Ring", image=f"{CDN}/1.jpg?v=5", position="1",
            variant_image=f"{CDN}/1.jpg?v=5", option1="Gold", option2="S", price="10.00",
            color="gold; silver"),
    further("ring", option1="Gold", option2="M", price="11.00", image=f"{CDN}/2.jpg?v=5",
            position="2", variant_image=f"{CDN}/1.jpg?v=5"),
    further("ring", option1="Silver", option2="S", variant_image=f"{CDN}/2.jpg?v=5"),
    further("ring", image=f"{CDN}/3.heic?v=5", position="3"),
    product("hat", category="Uncategorized", type="Hat", image=f"{CDN}/4.jpg", status="draft"),
    product("sock", type="Sock"),
)  # fmt: skip


def read(path: str, **options: object) -> Catalog:
    return open_catalog(path, ReadOptions(**options))  # type: ignore[arg-type]


def noted(catalog: Catalog, start: str) -> str:
    return next(note for note in catalog.notes if note.startswith(start))


def test_a_row_for_each_product_and_image(tmp_path: Path) -> None:
    table = read(export(tmp_path, SHOP)).table
    assert table.columns == [
        *("image", "label", "group", "variant", "text", "price", "position", "status"),
        *("source_file", "source_row", "color-pattern"),
    ]
    assert table.select("image", "label", "group", "variant", "position").rows() == [
        (f"{CDN}/1.jpg?v=5", RINGS, "ring", "Gold", 1),
        (f"{CDN}/2.jpg?v=5", RINGS, "ring", "Silver / S", 2),
        (f"{CDN}/3.heic?v=5", RINGS, "ring", None, 3),
        (f"{CDN}/4.jpg", None, "hat", None, 1),
    ]
    assert table["text"].to_list() == ["Ring"] * 3 + ["Hat"]
    assert table["price"].to_list() == [10.0, 10.0, 10.0, None]
    assert table["status"].to_list() == ["active"] * 3 + ["draft"]
    assert table["source_file"].unique().to_list() == ["products_export.csv"]
    assert table["source_row"].to_list() == [2, 2, 2, 6]
    assert table["color-pattern"].to_list() == ["gold; silver"] * 3 + [None]


def test_what_was_decided_is_said_and_adds_up(tmp_path: Path) -> None:
    catalog = read(export(tmp_path, SHOP))
    assert noted(catalog, "read as").endswith(
        "6 rows: 3 of products, 2 of variants, 1 of further images"
    )
    assert noted(catalog, "3 products") == (
        "3 products, 4 images, 1 product without one; 2 without a category are unlabeled"
    )
    assert noted(catalog, "no label") == "no label, such as 'Uncategorized': 1 product"
    assert noted(catalog, "status").startswith("status of the products: 2 active, 1 draft")


def test_both_generations_of_the_header_are_read_alike(tmp_path: Path) -> None:
    old = read(export(tmp_path, SHOP)).table
    rows = [{NEW_NAMES.get(name, name): cell for name, cell in row.items()} for row in SHOP]
    names = [NEW_NAMES.get(name, name) for name in OLD]
    header = ["Title", *(name for name in names if name != "Title")]
    path = tmp_path / "new" / "products_export.csv"
    path.parent.mkdir()
    path.write_text(text_of(rows, header), encoding="utf-8")
    assert read(str(path)).table.equals(old)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_encodings_separators_and_line_ends(
    tmp_path: Path, encoding: str, separator: str, line_end: str
) -> None:
    rows = [*SHOP, product("größe", title="Schöne große Tüte für Käse", image=f"{CDN}/5.jpg")]
    text = text_of(rows, separator=separator).replace("\n", line_end)
    path = tmp_path / "products_export.csv"
    path.write_bytes(text.encode(encoding))
    table = read(str(path)).table
    assert table["image"].to_list()[-1] == f"{CDN}/5.jpg"
    assert table["text"].to_list()[-1] == "Schöne große Tüte für Käse"
    assert table["source_row"].to_list() == [2, 2, 2, 6, 8]


def test_product_cells_are_those_of_the_key_alone(tmp_path: Path) -> None:
    rows = [
        product("a", category=RINGS, image=f"{CDN}/a.jpg"),
        product("b", image=f"{CDN}/b.jpg"),
        further("a", image=f"{CDN}/a2.jpg"),
        further("b", image=f"{CDN}/b2.jpg"),
    ]
    table = read(export(tmp_path, rows)).table
    assert table.select("group", "image", "label", "position").rows() == [
        ("a", f"{CDN}/a.jpg", RINGS, 1),
        ("a", f"{CDN}/a2.jpg", RINGS, 2),
        ("b", f"{CDN}/b.jpg", None, 1),
        ("b", f"{CDN}/b2.jpg", None, 2),
    ]


def test_positions_order_the_images(tmp_path: Path) -> None:
    rows = [
        product("a", image=f"{CDN}/second.jpg", position="2"),
        further("a", image=f"{CDN}/first.jpg", position="1"),
        further("a", image=f"{CDN}/last.jpg"),
    ]
    table = read(export(tmp_path, rows)).table
    assert table.select("image", "position").rows() == [
        (f"{CDN}/first.jpg", 1), (f"{CDN}/second.jpg", 2), (f"{CDN}/last.jpg", 3),
    ]  # fmt: skip


def test_one_address_is_kept_once_for_each_product(tmp_path: Path) -> None:
    rows = [
        product("a", image=f"{CDN}/same.jpg?v=1"),
        further("a", image=f"{CDN}/same.jpg?v=2"),
        product("b", image="HTTPS://CDN.Shopify.com/s/files/same.jpg"),
        further("b", image="//cdn.shopify.com/s/files/other.jpg"),
    ]
    catalog = read(export(tmp_path, rows))
    assert catalog.table.select("group", "image").rows() == [
        ("a", f"{CDN}/same.jpg?v=1"),
        ("b", "HTTPS://CDN.Shopify.com/s/files/same.jpg"),
        ("b", f"{CDN}/other.jpg"),
    ]
    assert "images that their product names again, kept once: 1" in catalog.notes
    assert "images of several products, kept once for each: 1" in catalog.notes


def test_the_image_of_a_variant_adds_none(tmp_path: Path) -> None:
    rows = [
        product("a", image=f"{CDN}/a.jpg", variant_image=f"{CDN}/a.jpg", option1="Red"),
        further("a", option1="Blue", variant_image=f"{CDN}/elsewhere.jpg"),
    ]
    catalog = read(export(tmp_path, rows))
    assert catalog.table.select("image", "variant").rows() == [(f"{CDN}/a.jpg", "Red")]
    assert noted(catalog, "images of variants that are none").endswith(": 1")


def test_texts_are_never_images(tmp_path: Path) -> None:
    rows = [
        product("a", image=HTML),
        further("a", image="<img src='https://shop.example/x.jpg'>"),
        further("a", image="coming soon"),
        product("b", image=f"{CDN}/b.jpg"),
    ]
    catalog = read(export(tmp_path, rows))
    assert catalog.table["image"].to_list() == [f"{CDN}/b.jpg"]
    assert noted(catalog, "cells that name no image").startswith("cells that name no image: 3")
    assert noted(catalog, "2 products") == (
        "2 products, 1 image, 1 product without one; 2 without a category are unlabeled"
    )


def test_without_any_category_the_label_is_the_type(tmp_path: Path) -> None:
    rows = [
        product("a", type="Ear Hook", category="Uncategorized", image=f"{CDN}/a.jpg"),
        product("b", type="simple", image=f"{CDN}/b.jpg"),
    ]
    catalog = read(export(tmp_path, rows))
    assert catalog.table["label"].to_list() == ["Ear Hook", None]
    assert noted(catalog, "label from 'Type'").startswith("label from 'Type': 1 type (no product")
    assert noted(catalog, "2 products").endswith("1 without a type is unlabeled")


def test_the_column_of_the_label_can_be_chosen(tmp_path: Path) -> None:
    rows = [
        product("a", type="Ring", category=RINGS, tags="gold, new,gold", image=f"{CDN}/a.jpg"),
        product("b", type="", category=RINGS, image=f"{CDN}/b.jpg"),
    ]
    path = export(tmp_path, rows)
    assert read(path).table["label"].to_list() == [RINGS, RINGS]
    assert read(path, label_column="type").table["label"].to_list() == ["Ring", None]
    tags = read(path, label_column="tags")
    assert tags.multilabel
    assert tags.table["label"].to_list() == [["gold", "new"], None]
    assert read(path, label="Vendor").table["label"].to_list() == [None, None]
    assert read(path, label="Type").table["label"].to_list() == ["Ring", None]
    assert "label" not in read(path, label="none").table.columns


def test_a_status_can_be_chosen(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP)
    catalog = read(path, status="active")
    assert catalog.table["group"].to_list() == ["ring"] * 3
    assert noted(catalog, "--status") == "--status active: 2 of 3 products; left out: 1 draft"
    assert noted(catalog, "2 products") == (
        "2 products, 3 images, 1 product without one; 1 without a category is unlabeled"
    )
    with pytest.raises(CatalogError, match="no product is 'gone'"):
        read(path, status="gone")


def test_an_export_without_a_status_has_what_is_published(tmp_path: Path) -> None:
    header = [name for name in OLD if name != "Status"]
    rows = [product("a", Published="TRUE", image=f"{CDN}/a.jpg"), product("b", Published="false")]
    for row in rows:
        del row["Status"]
    path = tmp_path / "products_export.csv"
    path.write_text(text_of(rows, header), encoding="utf-8")
    catalog = read(str(path))
    assert catalog.table["status"].to_list() == ["active"]
    assert noted(catalog, "status").startswith("status of the products: 1 active, 1 draft")


def test_the_files_of_one_export_are_read_together(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    first = export(parts, SHOP[:2], "products_export_9.csv")
    second = export(parts, SHOP[2:], "products_export_10.csv")
    whole = read(export(tmp_path, SHOP)).table
    for data in (f"{first},{second}", str(parts)):
        table = read(data).table
        same = table.drop("source_file", "source_row")
        assert same.equals(whole.drop("source_file", "source_row"))
        assert table.select("source_file", "source_row").rows() == [
            *[("products_export_9.csv", 2)] * 3,
            ("products_export_10.csv", 4),
        ]


def test_half_an_export_is_an_error(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP[1:])
    with pytest.raises(CatalogError, match=r"begins within a product: row 2 is a further row of "):
        read(path)
    text = text_of(SHOP)
    cut = tmp_path / "cut.csv"
    cut.write_text(text[: text.rindex("<p>") + 8], encoding="utf-8")
    with pytest.raises(TableError, match="ends within quotes"):
        read(str(cut))


def test_blank_rows_are_counted_and_keep_the_numbers_right(tmp_path: Path) -> None:
    path = Path(export(tmp_path, SHOP))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\nhat,", f"\n\n{',' * (len(OLD) - 1)}\nhat,"), encoding="utf-8")
    catalog = read(str(path))
    assert catalog.table["source_row"].to_list() == [2, 2, 2, 8]
    assert "rows with nothing that is read: 2" in catalog.notes
    _check_cells(category_cells([str(path)]))


def _check_cells(cells: pl.DataFrame) -> None:
    """Each cell is where Python's csv module finds it."""
    for cell in cells.iter_rows(named=True):
        with Path(cell["file"]).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[cell["row"] - 1][cell["column"]] == (cell["value"] or "")
        assert rows[0][cell["column"]] == cell["name"]
        assert rows[cell["row"] - 1][0] == cell["group"]


def test_bad_rows_are_left_out_only_when_asked(tmp_path: Path) -> None:
    path = Path(export(tmp_path, SHOP))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\nhat,", "\ntoo,few\n\nhat,"), encoding="utf-8")
    with pytest.raises(TableError, match="1 row of 7 cannot be read"):
        read(str(path))
    catalog = read(str(path), on_bad_row="skip")
    assert catalog.table["source_row"].to_list() == [2, 2, 2, 8]


def test_the_cells_of_categories(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP)
    cells = category_cells([path])
    assert cells.rows() == [
        ("ring", path, 2, 4, "Product Category", RINGS),
        ("hat", path, 6, 4, "Product Category", "Uncategorized"),
        ("sock", path, 7, 4, "Product Category", None),
    ]
    _check_cells(cells)
    assert category_cells([path], column="type")["value"].to_list() == ["Ring", "Hat", "Sock"]


def test_an_imported_export_opens_again(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP)
    read_now = read(path)
    for name in ("catalog.parquet", "catalog.csv"):
        done = import_export([path], out=tmp_path / name)
        assert done.to_json()["num_products"] == 2
        again = open_catalog(tmp_path / name)
        assert again.table.equals(read_now.table)
        assert again.labels == (RINGS,)


def test_formulas_stay_text(tmp_path: Path) -> None:
    path = export(tmp_path, [product("=A1", title='=HYPERLINK("x")', image=f"{CDN}/a.jpg")])
    import_export([path], out=tmp_path / "catalog.csv")
    assert ",=" not in (tmp_path / "catalog.csv").read_text(encoding="utf-8")
    again = open_catalog(tmp_path / "catalog.csv").table
    assert again.select("group", "text").row(0) == ("=A1", '=HYPERLINK("x")')


def test_what_was_imported_has_a_status_too(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP)
    import_export([path], out=tmp_path / "catalog.parquet")
    catalog = read(str(tmp_path / "catalog.parquet"), status="active")
    assert catalog.table["group"].to_list() == ["ring"] * 3
    assert "--status active: 3 of 4 images" in catalog.notes
    with pytest.raises(CatalogError, match="no product is 'gone'"):
        read(str(tmp_path / "catalog.parquet"), status="gone")


def test_how_images_become_files_is_said(tmp_path: Path, said: list[str]) -> None:
    path = export(tmp_path, SHOP)
    out = tmp_path / "catalog.parquet"
    import_export([path], out=out)
    assert said[-1].endswith(f"shopsight fetch {out} --out photos")


def test_what_stands_above_the_names_is_counted(tmp_path: Path) -> None:
    path = Path(export(tmp_path, SHOP))
    path.write_text("sep=,\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert read(str(path)).table["source_row"].to_list() == [3, 3, 3, 7]
    path.write_text("\n\n" + text_of(SHOP), encoding="utf-8")
    assert read(str(path)).table["source_row"].to_list() == [4, 4, 4, 8]


def test_ids_of_a_taxonomy_are_named(tmp_path: Path) -> None:
    rows = [product("a", category="aa-6-8", image=f"{CDN}/a.jpg")]
    catalog = read(export(tmp_path, rows))
    assert noted(catalog, "labels that are ids").startswith(
        "labels that are ids, such as 'aa-6-8': 1 product"
    )


def test_rows_without_a_key_are_counted(tmp_path: Path) -> None:
    rows = [*SHOP[:4], {"Title": "", "Image Src": f"{CDN}/lost.jpg"}]
    catalog = read(export(tmp_path, rows))
    assert "left out, of no product by their 'Handle': 1 row" in catalog.notes
    assert len(catalog) == 3


def test_an_import_never_replaces_the_export(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP)
    before = Path(path).read_bytes()
    with pytest.raises(Exception, match="the results would replace it"):
        import_export([path], out=path)
    assert Path(path).read_bytes() == before


def test_what_is_no_export_is_named(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,kind\na.jpg,hat\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="not an export of a shop system") as error:
        import_export([str(table)])
    assert "columns: file, kind" in str(error.value)
    with pytest.raises(CatalogError, match="not an export of Shopify") as error:
        read(str(table), platform="shopify")
    assert "no column 'Handle' or 'URL handle'" in str(error.value)
    with pytest.raises(ConfigError, match="'etsy' is not a choice"):
        ReadOptions(platform="etsy")  # type: ignore[arg-type]
    with pytest.raises(CatalogError, match="--status would change nothing"):
        read(str(table), status="active")


def test_columns_of_images_that_are_named_read_any_table(tmp_path: Path) -> None:
    path = export(tmp_path, SHOP)
    catalog = read(path, image="Image Src", label="Type", group="Handle")
    assert "position" not in catalog.table.columns
    assert len(catalog) == 4
    with pytest.raises(CatalogError, match="--image would change nothing"):
        read(path, image="Image Src", platform="shopify")


def test_no_image_at_all_is_an_error(tmp_path: Path) -> None:
    path = export(tmp_path, [product("a"), product("b")])
    with pytest.raises(CatalogError, match="none of 2 products has an image") as error:
        read(path)
    assert "images are named in 'Image Src'" in str(error.value)
