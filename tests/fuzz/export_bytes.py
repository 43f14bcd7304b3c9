"""Exports of shop systems, to be broken in many ways."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path

from shopsight.datasets.open import open_catalog
from shopsight.errors import ShopsightError
from shopsight.exports.category_cells import category_cells
from shopsight.memory import use_memory_budget
from tests.fuzz.limits import named
from tests.fuzz.table_bytes import BUDGET_GB

CDN = "https://cdn.shop.example"


def read_as_export(path: Path) -> str:
    """Read the catalog, and where its categories stand: it is one, or an error that says where."""
    with use_memory_budget(BUDGET_GB):
        try:
            catalog = open_catalog(path)
            assert catalog.table["image"].null_count() == 0
            has_types = path.name.endswith((".json", ".tsv", ".xml", ".xml.gz"))
            cells = category_cells([str(path)], column="type" if has_types else "category")
            assert cells["row"].min() >= 1  # type: ignore[operator]
        except ShopsightError as error:
            return named(error)
    return "catalog"


@functools.cache
def exports() -> dict[str, bytes]:
    """Whole exports, by a name that has the suffix of their kind."""
    shopify = _shopify()
    google = "id\ttitle\tlink\timage_link\tproduct_type\titem_group_id\tprice\tcolor\n" + "".join(
        f"{n}\tCup {n}\t{CDN}/{n}\t{CDN}/{n}.jpg,{CDN}/x.jpg\tCups\tg{n // 2}\t{n}.5 EUR\tred\n"
        for n in range(12)
    )
    woo = "ID,Type,SKU,Name,Published,Categories,Images,Parent,Attribute 1 name," + (
        "Attribute 1 value(s)\n"
    )
    woo += f'1,variable,A,Tee,1,"Tops, Tops > Tees","{CDN}/1.jpg, {CDN}/2.jpg",,Color,"Red, Blue"\n'
    woo += "".join(f"{n},variation,A{n},Tee,1,,{CDN}/v{n}.jpg,id:1,Color,Red\n" for n in range(8))
    magento = "sku,store_view_code,product_type,categories,name,base_image,configurable_variations"
    magento += f',additional_attributes\nA,,configurable,Default Category/A,A,{CDN}/a.jpg,"sku=B,'
    magento += f'size=S|sku=C,size=M",x=1|2\nB,,simple,,B,{CDN}/b.jpg,,"size=S,y=3"\nC,de,,,,,,\n'
    amazon = "x\ty\tz\tw\tv\nSKU\tName\tImage\tOf\tType\n"
    amazon += "item_sku\titem_name\tmain_image_url\tparent_sku\titem_type\n"
    amazon += "".join(f"S{n}\tHat\t{CDN}/{n}.jpg\tP{n // 3}\that\n" for n in range(9))
    return {
        "shopify.csv": shopify.encode(),
        "shopify-wide.csv": shopify.replace(",", ";").encode("utf-16"),
        "google.tsv": google.encode(),
        "woocommerce.csv": woo.encode("utf-8-sig"),
        "magento.csv": magento.encode(),
        "amazon.txt": amazon.encode(),
        "rss.xml": _rss().encode(),
        "packed.xml.gz": gzip.compress(_rss().encode("utf-16"), mtime=0),
        "products.json": json.dumps({"products": _products()}).encode(),
    }


def _shopify() -> str:
    rows = [
        "Handle,Title,Body (HTML),Product Category,Option1 Value,Image Src,Variant Image,Status"
    ]
    for n in range(9):
        image = f"{CDN}/{n}.jpg?v={n}"
        rows.append(f'p{n},P,"<p>""x""\n</p>",A > B{n % 3},Red,{image},{image},active')
        rows.append(f"p{n},,,,Blue,{CDN}/{n}b.jpg,,")
    return "\n".join(rows) + "\n"


def _rss() -> str:
    items = "".join(
        f"<item><g:id>{n}</g:id><title>Cup &amp; {n}</title><link>{CDN}/{n}</link>"
        f"<g:image_link>{CDN}/{n}.jpg</g:image_link><g:product_type>Cups &gt; C</g:product_type>"
        f"<description><![CDATA[<p>x</p>]]></description></item>"
        for n in range(8)
    )
    return (
        '<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>'
        f"<title>Shop</title>{items}</channel></rss>"
    )


def _products() -> list[dict[str, object]]:
    return [
        {
            "id": n, "handle": f"p{n}", "title": "P", "product_type": "Cups", "tags": ["a", "b"],
            "images": [{"src": f"{CDN}/{n}.jpg", "position": 1}],
            "variants": [{"price": "1.00", "option1": "Red", "featured_image": None}],
        }
        for n in range(6)
    ]  # fmt: skip
