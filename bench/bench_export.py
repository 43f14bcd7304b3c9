"""A Shopify export of a million rows becomes a catalog: time, and peak memory.

    python bench/bench_export.py            (1,000,000 rows; another number as its argument)

The export is generated: the columns of Shopify's, several photos and variants a product, and in its
own row a description in HTML with quotes, commas and line ends. Each reader runs in a process of
its own. polars' own reader of all columns is the floor: it makes no product of a row and checks
nothing. Processor time, and the peak resident memory of the process.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

COLUMNS = (
    *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published"),
    *("Option1 Name", "Option1 Value", "Option2 Name", "Option2 Value", "Option3 Name"),
    *("Option3 Value", "Variant SKU", "Variant Grams", "Variant Inventory Tracker"),
    *("Variant Inventory Qty", "Variant Inventory Policy", "Variant Fulfillment Service"),
    *("Variant Price", "Variant Compare At Price", "Variant Requires Shipping", "Variant Taxable"),
    *("Variant Barcode", "Image Src", "Image Position", "Image Alt Text", "Gift Card"),
    *("SEO Title", "SEO Description", "Google Shopping / Gender", "Google Shopping / Age Group"),
    *("Color (product.metafields.shopify.color-pattern)", "Variant Image", "Variant Weight Unit"),
    *("Variant Tax Code", "Cost per item", "Status"),
)
PLACE = {name: place for place, name in enumerate(COLUMNS)}
COLORS = ("red", "blue", "green", "black", "white; black")
SIZES = ("S", "M", "L")
PARAGRAPH = (
    '<p class=""lead"">A fine, sturdy thing, made of <b>good</b> stuff.</p>\n'
    '<ul>\n<li>Washable, at 40 degrees</li>\n<li>Called ""the best"" by many</li>\n</ul>\n'
)


def lines(rows: int) -> Iterator[str]:
    """The rows of an export, the header first."""
    rng = random.Random(0)
    yield ",".join(COLUMNS)
    number = 0
    while rows > 0:
        images, variants = 1 + rng.randrange(5), rng.choice((1, 1, 3, 6))
        for row in range(min(rows, max(images, variants))):
            yield ",".join(cells(rng, number, row, images, variants))
        rows -= max(images, variants)
        number += 1


def cells(rng: random.Random, number: int, row: int, images: int, variants: int) -> list[str]:
    found = [""] * len(COLUMNS)
    address = f"https://cdn.shopify.com/s/files/1/0533/2089/files/photo-{number:07}"

    def put(**named: str) -> None:
        for name, cell in named.items():
            found[PLACE[name.replace("_", " ")]] = cell

    put(Handle=f"product-{number:07}")
    if row == 0:
        put(Title=f'"Product {number}, fine"', Vendor="Acme", Published="true", Tags='"new, sale"')
        found[PLACE["Body (HTML)"]] = f'"{PARAGRAPH * (2 + rng.randrange(8))}"'
        leaf = rng.randrange(60)
        if rng.random() < 0.45:
            put(Product_Category=f"Apparel & Accessories > Group {leaf % 9} > Class {leaf}")
        if rng.random() < 0.6:
            put(Type=f"Class {leaf}")
        put(Status="active" if rng.random() < 0.8 else "draft")
        if rng.random() < 0.2:
            found[PLACE["Color (product.metafields.shopify.color-pattern)"]] = rng.choice(COLORS)
    if row < images:
        put(Image_Src=f"{address}-{row}.jpg?v=17{number:08}", Image_Position=str(row + 1))
    if row < variants:
        put(Option1_Value=COLORS[row % 2], Option2_Value=SIZES[row // 2], Variant_Price="19.90")
        put(Variant_SKU=f"SKU-{number}-{row}", Variant_Inventory_Policy="deny")
        put(Variant_Image=f"{address}-{row % images % 2}.jpg?v=17{number:08}")
    return found


def measured(work: str, path: str) -> None:
    """Run one reader in this process, and print what it took."""
    start = time.process_time()
    if work == "polars":
        import polars as pl

        print(f"polars, all columns: {len(pl.read_csv(path, infer_schema=False)):,} rows")
    else:
        from shopsight.datasets.open import open_catalog

        catalog = open_catalog(path)
        for note in catalog.notes:
            print(f"  {note}")
        print(f"catalog: {len(catalog):,} images of {catalog.table['group'].n_unique():,} products")
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {seconds:.1f} s, peak memory {peak:,.0f} MiB")


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "products_export.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(f"{line}\n" for line in lines(rows))
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
        sys.stdout.flush()
        for work in ("polars", "catalog"):
            subprocess.run([sys.executable, __file__, work, str(path)], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measured(sys.argv[1], sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
