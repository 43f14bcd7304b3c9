"""A shop's export is reviewed, and written back with categories filled in and no other byte."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.errors import CatalogError, ChangedFilesError, ConfigError, WriteError
from shopsight.read_options import ReadOptions
from tests.helpers import run_command
from tests.review.shop import NEW, VIEWS, Shop, make_shop, path_of

# 54 labeled products promise no more, all of them right: .945 to the 54th power is .047.
PROMISED = 0.7


def rows_of(path: Path, encoding: str = "utf-8") -> list[list[str]]:
    text = path.read_bytes().decode(encoding)
    return list(csv.reader(io.StringIO(text, newline="")))


def column(path: Path, name: str) -> dict[str, str]:
    """A column by product, of the products' own rows."""
    header, *rows = rows_of(path)
    keys = [row[header.index("Handle")] for row in rows[::VIEWS]]
    return dict(zip(keys, [row[header.index(name)] for row in rows[::VIEWS]], strict=True))


def edited(table: Path, to: Path, accept: Callable[[dict[str, str | None]], str | None]) -> Path:
    """review.csv with another column `accept`."""
    found = pl.read_csv(table, infer_schema=False)
    words = [accept(row) for row in found.iter_rows(named=True)]
    found.with_columns(accept=pl.Series(words, dtype=pl.String)).write_csv(to)
    return to


@pytest.fixture(scope="session")
def dry(shop: Shop, shop_run: Path, tmp_path_factory: pytest.TempPathFactory) -> api.ReviewResult:
    out = tmp_path_factory.mktemp("dry")
    return api.review(shop_run, shop.export, out=out, precision=PROMISED)


def test_a_dry_run_writes_the_review_and_nothing_else(dry: api.ReviewResult, shop: Shop) -> None:
    assert sorted(path.name for path in dry.page.parent.iterdir()) == ["review.csv", "review.html"]
    assert not dry.written
    assert [one.path.name for one in dry.imports] == ["products_import.csv"]
    table = pl.read_csv(dry.table, infer_schema=False)
    assert len(table) == len(shop.truth)
    missing = table.filter(pl.col("given").is_null())
    assert set(missing["product"]) == shop.missing
    fills = table.filter(pl.col("accept") == "yes")
    assert set(fills["product"]) <= shop.missing
    assert dict(dry.review.table["action"].value_counts().iter_rows())["fill"] == len(fills)
    assert dry.imports[0].num_cells == len(fills) > 0
    # Planted mistakes are the first of the list.
    assert set(table["product"][:3]) == shop.wrong
    assert (table["action"][:3] == "doubt").all()
    assert set(table.filter(pl.col("judged") == "out of fold")["product"]) == (
        set(shop.truth) - shop.missing
    )
    assert set(table.filter(pl.col("judged") == "not seen")["product"]) == shop.missing


def test_the_page_shows_what_is_said(dry: api.ReviewResult) -> None:
    page = dry.page.read_text(encoding="utf-8")
    assert f"Doubtful categories: {len(dry.review.of('doubt'))} products" in page
    assert "data:image/webp;base64" in page
    assert f"{len(dry.review.of('fill'))} of 9 products without a category filled" in page
    assert dry.to_json()["missing"] == 9


def test_nothing_but_the_filled_cells_changes(
    shop: Shop, shop_run: Path, dry: api.ReviewResult, tmp_path: Path
) -> None:
    before = shop.export.read_bytes()
    done = api.review(shop_run, shop.export, out=tmp_path, precision=PROMISED, write=True)
    assert shop.export.read_bytes() == before
    after = done.imports[0].path.read_bytes()
    filled = column(done.imports[0].path, "Product Category")
    given = column(shop.export, "Product Category")
    changed = {key: path for key, path in filled.items() if given[key] != path}
    assert changed == {
        row["product"]: row["suggested"] for row in dry.review.of("fill").iter_rows(named=True)
    }
    right = [shop.truth[key] == path for key, path in changed.items()]
    assert sum(right) >= PROMISED * len(right)
    # Byte for byte: taking the new cells out again gives the export.
    for key, path in changed.items():
        row = f'{key},"The ""{key.partition("-")[0]}"", no. {int(key[-3:])}","<p>=1+1,\nsoft</p>",'
        assert f"{row}{path},9.90\r\n".replace("9.90", "9.90").encode()[: len(row)] in after
        after = after.replace(f"{row}{path},".encode(), f"{row},".encode())
    assert after == before


def test_accepted_corrections_are_written_and_declined_ones_are_not(
    shop: Shop, shop_run: Path, dry: api.ReviewResult, tmp_path: Path
) -> None:
    first, second, third = sorted(shop.wrong)
    fill = dry.review.of("fill")["product"][0]

    def accept(row: dict[str, str | None]) -> str | None:
        # One as suggested, one by its name, one declined; a proposed one is taken back.
        words = {first: "yes", second: shop.truth[second], third: "no", fill: "no"}
        return words.get(str(row["product"]), row["accept"])

    table = edited(dry.table, tmp_path / "mine.csv", accept)
    again = api.review(
        shop_run, shop.export, out=tmp_path / "out", precision=PROMISED, decisions=table
    )
    assert not again.written
    # Two mistakes fewer among those that measure it.
    assert again.review.promise.num_right / again.review.promise.num_measured > (
        dry.review.promise.num_right / dry.review.promise.num_measured
    )
    done = api.review(
        shop_run, shop.export, out=tmp_path / "out", precision=PROMISED, decisions=table, write=True
    )
    now, before = (column(path, "Product Category") for path in (done.imports[0].path, shop.export))
    assert now[first] == shop.truth[first]
    assert now[second] == shop.truth[second]
    assert now[third] == before[third] != shop.truth[third]
    assert now[fill] == ""
    kept = pl.read_csv(done.table, infer_schema=False)
    words = dict(kept.select("product", "accept").iter_rows())
    assert (words[first], words[third], words[fill]) == ("yes", "no", "no")


def test_minimal_has_three_columns_of_the_products_that_change(
    shop: Shop, shop_run: Path, tmp_path: Path
) -> None:
    done = api.review(
        shop_run, shop.export, out=tmp_path, precision=PROMISED, write=True, minimal=True
    )
    header, *rows = rows_of(done.imports[0].path)
    assert header == ["Handle", "Title", "Product Category"]
    assert len(rows) == done.accepted.count
    for handle, title, category in rows:
        assert title.startswith('The "')
        assert category.startswith("Apparel & Accessories > Clothing > ")
        assert handle in shop.missing


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_the_new_header_and_other_encodings(
    shop: Shop, shop_run: Path, tmp_path: Path, encoding: str
) -> None:
    names = NEW | {"title": "Title", "vendor": "Vendor"}
    other = make_shop(tmp_path / "shop", per_class=21, wrong=1, names=names)
    text = other.export.read_bytes().decode().replace("The ", "Für große Käse ")
    data = text.encode(encoding)
    other.export.write_bytes(data)
    done = api.review(shop_run, other.export, out=tmp_path / "out", precision=PROMISED, write=True)
    after = done.imports[0].path.read_bytes()
    assert after[:2] == data[:2]
    header, *rows = rows_of(done.imports[0].path, encoding)
    place = header.index("Product category")
    old = rows_of(other.export, encoding)[1:]
    changed = [(a[1], b[place]) for a, b in zip(old, rows, strict=True) if a != b]
    assert len(changed) == done.accepted.count > 0
    assert all(path == path_of(key.partition("-")[0]) for key, path in changed)


def test_a_feed_of_variants(shop: Shop, shop_run: Path, tmp_path: Path) -> None:
    _, *rows = rows_of(shop.export)
    lines = ["id\titem_group_id\ttitle\timage_link\tlink\tprice\tgoogle_product_category"]
    for first in rows[::VIEWS]:
        key, category = first[0], first[3]
        for size in ("S", "M"):
            image = (shop.folder / first[5]).as_posix()
            lines.append(
                f"{key}-{size}\t{key}\tThe {key}\t{image}\thttp://a.b/{key}\t9 EUR\t{category}"
            )
    feed = tmp_path / "feed.tsv"
    feed.write_bytes(("\n".join(lines) + "\n").encode())
    read = ReadOptions(images_root=str(shop.folder))
    done = api.review(
        shop_run, feed, out=tmp_path / "out", precision=PROMISED, write=True, read=read,
        accept=["changed-file"],
    )  # fmt: skip
    after = done.imports[0].path.read_bytes().decode().split("\n")
    changed = [(old, new) for old, new in zip(lines, after, strict=False) if old != new]
    # Both variants of a product get its category.
    assert len(changed) == done.accepted.count == 2 * len(done.accepted.products) > 0
    suggested = dict(done.review.of("fill").select("product", "suggested").iter_rows())
    assert all(new == old + suggested[new.split("\t")[1]] for old, new in changed)


def test_a_feed_of_xml_is_not_written_back(shop: Shop, shop_run: Path, tmp_path: Path) -> None:
    _, *rows = rows_of(shop.export)
    items = "".join(
        f"<item><g:id>{row[0]}-1</g:id><g:item_group_id>{row[0]}</g:item_group_id>"
        f"<title>{row[0]}</title><link>http://a.b/{row[0]}</link><g:price>9 EUR</g:price>"
        f"<g:image_link>{(shop.folder / row[5]).as_posix()}</g:image_link>"
        f"<g:google_product_category>{row[3].replace('&', '&amp;')}</g:google_product_category>"
        "</item>"
        for row in rows[::VIEWS]
    )
    feed = tmp_path / "feed.xml"
    start = '<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>s</title>'
    feed.write_text(f"{start}{items}</channel></rss>", encoding="utf-8")
    read = ReadOptions(images_root=str(shop.folder))
    out = tmp_path / "out"
    done = api.review(
        shop_run, feed, out=out, precision=PROMISED, read=read, write=True, accept=["changed-file"]
    )
    assert done.imports == ()
    assert set(done.accepted.kept.values()) == {"this kind of file is not written back"}
    assert done.supplement is not None
    header, *lines = rows_of(done.supplement)
    assert header == ["id", "google_product_category"]
    fills = done.review.of("fill")
    assert {tuple(line) for line in lines} == {
        (f"{row['product']}-1", row["suggested"]) for row in fills.iter_rows(named=True)
    }
    assert len(fills) > 0


def test_changed_exports_are_refused(shop: Shop, shop_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shop"
    shutil.copytree(shop.folder, copy)
    export = copy / shop.export.name
    key = sorted(set(shop.truth) - shop.missing - shop.wrong)[0]
    text = export.read_bytes().decode()
    start = text.index(f"{key},")
    place = text.index(shop.truth[key], start)
    end = place + len(shop.truth[key])
    export.write_bytes(f"{text[:place]}Hardware > Nails{text[end:]}".encode())
    with pytest.raises(
        ChangedFilesError, match="1 product of 54 changed since the training"
    ) as why:
        api.review(shop_run, export, out=tmp_path / "out", precision=PROMISED)
    row = [row[0] for row in rows_of(export)].index(key) + 1
    assert why.value.details == (f"{key} (row {row}): is Hardware > Nails, was {shop.truth[key]}",)
    found = api.review(
        shop_run, export, out=tmp_path / "out", precision=PROMISED, accept=["changed-file"]
    )
    assert found.review.unknown == {"Hardware > Nails": 1}


def test_a_review_of_an_export_that_changed_since(
    shop: Shop, shop_run: Path, dry: api.ReviewResult, tmp_path: Path
) -> None:
    fill = dry.review.of("fill")["product"][0]
    copy = tmp_path / "shop"
    shutil.copytree(shop.folder, copy)
    export = copy / shop.export.name
    text = export.read_bytes().decode()
    start = text.index("</p>", text.index(f"{fill},")) + len('</p>",')
    export.write_bytes(f"{text[:start]}{path_of('hat')}{text[start:]}".encode())
    with pytest.raises(ChangedFilesError, match="since this review: 1 product") as why:
        api.review(shop_run, export, out=tmp_path / "o", precision=PROMISED, decisions=dry.table)
    assert why.value.details == (f"{fill}: was without one, is {path_of('hat')}",)


def test_never_over_the_export(shop: Shop, shop_run: Path, tmp_path: Path) -> None:
    read = ReadOptions(images_root=str(shop.folder))
    before = shop.export.read_bytes()
    for name in ("products_import.csv", "review.csv"):
        export = tmp_path / name
        export.write_bytes(before)
        with pytest.raises(WriteError, match="the export itself"):
            api.review(shop_run, export, out=tmp_path, precision=PROMISED, write=True, read=read)
        assert export.read_bytes() == before


def test_a_catalog_is_reviewed_and_not_written_back(
    shop: Shop, shop_run: Path, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.parquet"
    api.import_export([shop.export], out=catalog)
    found = api.review(shop_run, catalog, out=tmp_path / "out", precision=PROMISED)
    assert found.imports == ()
    assert len(found.review.of("fill")) > 0
    with pytest.raises(ConfigError, match="nothing is written back"):
        api.review(shop_run, catalog, out=tmp_path / "out", precision=PROMISED, write=True)
    by_photos = api.review(
        shop_run, shop.export, out=tmp_path / "two", precision=PROMISED, photos=catalog
    )
    assert by_photos.review.table.equals(found.review.table)


def test_wrong_inputs(shop: Shop, shop_run: Path, tmp_path: Path) -> None:
    unknown = tmp_path / "products.csv"
    unknown.write_text("sku,name\n1,hat\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="not an export of a shop system"):
        api.review(shop_run, unknown, out=tmp_path / "o")
    with pytest.raises(CatalogError, match="no such export"):
        api.review(shop_run, tmp_path / "absent.csv", out=tmp_path / "o")
    with pytest.raises(ConfigError, match="is not a run folder"):
        api.review(shop_run / "model", shop.export, out=tmp_path / "o")
    with pytest.raises(ConfigError, match="between 0 and 1, not 98"):
        api.review(shop_run, shop.export, out=tmp_path / "o", precision=98)
    with pytest.raises(ConfigError, match="no such review"):
        api.review(shop_run, shop.export, out=tmp_path / "o", decisions=tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="has a column 'product'"):
        api.review(shop_run, shop.export, out=tmp_path / "o", decisions=unknown)
    assert not (tmp_path / "o" / "review.csv").exists()


def test_a_run_of_other_products_and_categories(shop: Shop, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="none of its products and none of its categories"):
        api.review(tiny_run, shop.export, out=tmp_path)


def test_the_command_says_what_would_be_written(
    shop: Shop, shop_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("review", shop_run, shop.export, "--out", tmp_path, "--precision", PROMISED)
    done = run_command(capsys, words)
    assert done.code == 0
    assert "products without a category filled, precision" in done.out
    assert "would be written (--write writes it): " in done.out
    assert not (tmp_path / "products_import.csv").exists()
    done = run_command(capsys, (*words, "--write", "--json"))
    assert done.json["written"] is True
    assert (tmp_path / "products_import.csv").is_file()
    done = run_command(capsys, (*words, "--accept", "a.csv", "--accept", "b.csv"))
    assert done.code == 2
