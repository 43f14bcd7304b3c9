"""Feeds in XML, and Shopify's JSON: what is read, and what is refused."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, TableError
from shopsight.exports.category_cells import category_cells
from shopsight.inference.image_stream import open_images
from shopsight.read_options import ReadOptions

CDN = "https://shop.example"
RSS = f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0" xmlns:media="http://search.yahoo.com/mrss/">
<channel><title>A shop</title><link>{CDN}</link><description>Feed &amp; more</description>
<item>
  <title>Tee from the shop</title><link>{CDN}/1</link>
  <description><![CDATA[<p>A <img src="{CDN}/x.jpg"> tee</p>]]></description>
  <g:id>1</g:id><g:title><![CDATA[Tee & more]]></g:title>
  <media:title>no title</media:title>
  <g:image_link>{CDN}/1.jpg</g:image_link>
  <g:additional_image_link>{CDN}/2.jpg</g:additional_image_link>
  <g:additional_image_link>{CDN}/3.jpg</g:additional_image_link>
  <g:google_product_category>Apparel &amp; Accessories &gt; Clothing</g:google_product_category>
  <g:price>12.50 EUR</g:price>
  <g:shipping><g:country>DE</g:country><g:price>4.99 EUR</g:price></g:shipping>
</item>
<item><g:id>2</g:id><title>Cup</title><g:image_link>{CDN}/4.jpg</g:image_link></item>
</channel></rss>
"""
ATOM = f"""<?xml version="1.0"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>A shop</title><link rel="self" href="{CDN}"/>
<entry><g:id>1</g:id><title>Tee</title><link href="{CDN}/1"/><summary>...</summary>
<g:image_link>{CDN}/1.jpg</g:image_link><g:product_type>Tees</g:product_type>
<g:availability>in stock</g:availability></entry>
</feed>
"""
LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>
<rss><channel><item><title>&d;</title></item></channel></rss>
"""
SECRET = """<?xml version="1.0"?>
<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<rss><channel><item><title>&x;</title></item></channel></rss>
"""


def file(tmp_path: Path, text: str, name: str = "feed.xml") -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


def read(path: str, **options: object) -> Catalog:
    return open_catalog(path, ReadOptions(**options))  # type: ignore[arg-type]


def test_rss(tmp_path: Path) -> None:
    path = file(tmp_path, RSS)
    table = read(path).table
    columns = ("image", "label", "group", "text", "price", "currency", "source_row")
    label = "Apparel & Accessories > Clothing"
    assert table.select(columns).rows() == [
        (f"{CDN}/1.jpg", label, "1", "Tee & more", 12.5, "EUR", 1),
        (f"{CDN}/2.jpg", label, "1", "Tee & more", 12.5, "EUR", 1),
        (f"{CDN}/3.jpg", label, "1", "Tee & more", 12.5, "EUR", 1),
        (f"{CDN}/4.jpg", None, "2", "Cup", None, None, 2),
    ]
    cells = category_cells([path]).select("group", "row", "column", "name", "value").rows()
    assert cells == [
        ("1", 1, None, "google_product_category", label),
        ("2", 2, None, "google_product_category", None),
    ]


def test_atom_and_other_encodings(tmp_path: Path) -> None:
    table = read(file(tmp_path, ATOM)).table
    assert table.select("image", "label", "text").rows() == [(f"{CDN}/1.jpg", "Tees", "Tee")]
    for encoding in ("utf-16", "windows-1252", "iso-8859-1"):
        text = ATOM.replace("<title>Tee", "<title>Tüte")
        text = text.replace('version="1.0"', f'version="1.0" encoding="{encoding}"', 1)
        path = tmp_path / f"{encoding}.xml"
        path.write_bytes(text.encode(encoding))
        assert read(str(path)).table["text"].to_list() == ["Tüte"]
    packed = tmp_path / "feed.xml.gz"
    packed.write_bytes(gzip.compress(ATOM.encode()))
    assert len(read(str(packed))) == 1


@pytest.mark.parametrize("text", [LAUGHS, SECRET])
def test_entities_are_refused_at_once(tmp_path: Path, text: str) -> None:
    start = time.monotonic()
    with pytest.raises(TableError, match="declares entities"):
        read(file(tmp_path, text))
    assert time.monotonic() - start < 20


def test_broken_feeds(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the XML ends too early"):
        read(file(tmp_path, RSS[:900]))
    with pytest.raises(TableError, match="not well-formed XML in line 5: mismatched tag"):
        read(file(tmp_path, RSS.replace("</link>\n  <desc", "</lnk>\n  <desc")))
    with pytest.raises(TableError, match="begins with <annotation>, and neither RSS nor Atom"):
        read(file(tmp_path, "<annotation><object/></annotation>"))
    with pytest.raises(TableError, match="the feed has no items"):
        read(file(tmp_path, '<rss version="2.0"><channel><title>x</title></channel></rss>'))
    with pytest.raises(CatalogError, match="not an export of a shop system"):
        read(file(tmp_path, "<rss><channel><item><title>News</title></item></channel></rss>"))
    with pytest.raises(TableError, match="unknown encoding"):
        read(file(tmp_path, ATOM.replace('"1.0"', '"1.0" encoding="klingon"', 1)))


def products() -> dict[str, object]:
    return {
        "products": [
            {
                "id": 1,
                "handle": "ring",
                "title": "Ring",
                "product_type": "Rings",
                "tags": ["gold", "new"],
                "body_html": f"<p>See <img src='{CDN}/x.jpg'></p>",
                "images": [
                    {"src": f"{CDN}/2.jpg?v=1", "position": 2},
                    {"src": f"{CDN}/1.jpg?v=1", "position": 1},
                ],
                "variants": [
                    {"price": "10.00", "option1": "Gold", "option2": "S",
                     "featured_image": {"src": f"{CDN}/1.jpg?v=1"}},
                    {"price": "11.00", "option1": "Gold", "option2": "M",
                     "featured_image": {"src": f"{CDN}/1.jpg?v=1"}},
                    {"price": "11.00", "option1": "Silver", "option2": None,
                     "featured_image": None},
                ],
            },
            {"id": 2, "handle": None, "title": "Hat", "product_type": "", "tags": "",
             "images": [], "variants": [{"option1": "Default Title"}]},
        ]
    }  # fmt: skip


def test_shopifys_json(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps(products()), "products.json")
    catalog = read(path)
    columns = ("image", "label", "group", "variant", "position", "price", "source_row")
    assert catalog.table.select(columns).rows() == [
        (f"{CDN}/1.jpg?v=1", "Rings", "ring", "Gold", 1, 10.0, 1),
        (f"{CDN}/2.jpg?v=1", "Rings", "ring", None, 2, 10.0, 1),
    ]
    assert "2 products, 2 images, 1 product without one; 1 without a type is unlabeled" in (
        catalog.notes
    )
    tags = read(path, label_column="tags")
    assert tags.table["label"].to_list() == [["gold", "new"]] * 2


def test_pages_of_json_are_one_export(tmp_path: Path) -> None:
    first = file(tmp_path, json.dumps(products()), "page1.json")
    more = {"products": [{"id": 3, "handle": "cup", "title": "Cup", "variants": [],
                          "images": [{"src": f"{CDN}/cup.jpg"}]}]}  # fmt: skip
    second = file(tmp_path, json.dumps(more), "page2.json")
    assert read(f"{first},{second}").table["group"].to_list() == ["ring", "ring", "cup"]
    assert read(str(tmp_path)).table["group"].to_list() == ["ring", "ring", "cup"]


def test_broken_json(tmp_path: Path) -> None:
    text = json.dumps(products())
    with pytest.raises(TableError, match="not JSON"):
        read(file(tmp_path, text[:-9], "products.json"))
    with pytest.raises(TableError, match="product 1 is no object"):
        read(file(tmp_path, '{"products": [3], "variants": 1, "images": 1}', "products.json"))
    with pytest.raises(CatalogError, match="JSON"):
        read(file(tmp_path, '{"a": 1}', "other.json"))


def test_predict_takes_feeds(tmp_path: Path) -> None:
    path = file(tmp_path, RSS)
    assert [one.name for one in open_images(path)] == [f"{CDN}/{n}.jpg" for n in (1, 2, 3, 4)]
    assert len(list(open_images(str(tmp_path)))) == 4
