"""A generated shop: its export and photos, with all that real ones have wrong, and the truth.

Products are those of `synthetic`, each in a few photos. The export is Shopify's, whose categories
are partly missing, partly wrong, and partly so rare that nothing can be learned of them; some
products are drafts, some have no photo, one photo's address is dead, one has a description that
begins like a formula. As all of it is generated, the true category of each product is known, and so
is what a correction of the export is worth.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopsight.datasets.synthetic import draw_product, write_jpeg
from shopsight.files import atomic_folder, make_folder, write_text
from shopsight.progress import task

CLOTHING = "Apparel & Accessories > Clothing"
CATEGORIES = {
    "bag": "Apparel & Accessories > Handbags, Wallets & Cases > Handbags",
    "dress": f"{CLOTHING} > Dresses",
    "glasses": "Apparel & Accessories > Clothing Accessories > Sunglasses",
    "hat": "Apparel & Accessories > Clothing Accessories > Hats",
    "shirt": f"{CLOTHING} > Clothing Tops > T-Shirts",
    "shoe": "Apparel & Accessories > Shoes",
    "skirt": f"{CLOTHING} > Skirts",
    "trousers": f"{CLOTHING} > Pants",
}
"""True category of each kind of `synthetic.OUTLINES`."""
RARE = "Apparel & Accessories > Costumes & Accessories"
EXPORT, PHOTOS = "products_export.csv", "photos"
MISSING, WRONG, RARE_PRODUCTS, DRAFT = 0.35, 0.05, 3, 0.1
MOST_PHOTOS = 4
HEADER = (
    "Handle",
    "Title",
    "Body (HTML)",
    "Vendor",
    "Product Category",
    "Type",
    "Tags",
    "Published",
    "Option1 Name",
    "Option1 Value",
    "Variant SKU",
    "Variant Price",
    "Image Src",
    "Image Position",
    "Status",
)


@dataclass(frozen=True)
class GeneratedShop:
    """A shop and what is true of it.

    Attributes:
        folder: holds the export and the photos.
        export: the file.
        truth: the true category of each product, by its handle.
        missing: handles of products without a category.
        wrong: handles of products with a wrong one.
        dead: the address that answers nothing.
    """

    folder: Path
    export: Path
    truth: dict[str, str]
    missing: frozenset[str]
    wrong: frozenset[str]
    dead: str


@dataclass
class _Product:
    handle: str
    title: str
    category: str
    photos: list[str]
    rare: bool = False


def generate_shop(
    folder: Path, *, address: str, products_per_kind: int = 38, seed: int = 0
) -> GeneratedShop:
    """Draw the photos and write the export.

    Args:
        folder: what it held before is replaced.
        address: where the photos will be served, such as "http://127.0.0.1:8000".
        products_per_kind: of each of the eight kinds.
        seed: the same seed gives the same files.
    """
    rng = np.random.default_rng(seed)
    with atomic_folder(folder) as part:
        products = _draw(part / PHOTOS, products_per_kind, rng, seed)
        truth = {one.handle: one.category for one in products}
        common = [one.handle for one in products if not one.rare]
        mixed = rng.permutation(common).tolist()
        missing = frozenset(mixed[: round(MISSING * len(mixed))])
        wrong = frozenset(mixed[len(missing) : len(missing) + round(WRONG * len(mixed))])
        dead = f"{address}/{PHOTOS}/gone.jpg"
        written = _written(products, missing, wrong, rng)
        rows = [row for one in products for row in _rows(one, written, address, dead, rng)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, HEADER, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_text(part / EXPORT, text.getvalue())
    return GeneratedShop(folder, folder / EXPORT, truth, missing, wrong, dead)


def _draw(folder: Path, per_kind: int, rng: np.random.Generator, seed: int) -> list[_Product]:
    make_folder(folder)
    products = []
    total = len(CATEGORIES) * per_kind
    with task("Photographing products", total, "products") as advance:
        for kind, category in CATEGORIES.items():
            for number in range(per_kind):
                handle = f"{kind}-{number:04d}"
                photos = []
                for view in range(int(rng.integers(1, MOST_PHOTOS + 1))):
                    name = f"{handle}-{view}.jpg"
                    pixels = draw_product(kind, number=number, view=view, seed=seed)
                    write_jpeg(folder / name, pixels)
                    photos.append(name)
                title = f"{kind.capitalize()} No. {number + 1}"
                products.append(_Product(handle, title, category, photos))
                advance(1)
    order = rng.permutation(len(products)).tolist()
    products = [products[at] for at in order]
    for one in products[:RARE_PRODUCTS]:
        one.category, one.rare = RARE, True
    return products


def _written(
    products: list[_Product],
    missing: frozenset[str],
    wrong: frozenset[str],
    rng: np.random.Generator,
) -> dict[str, str]:
    """What the export says of each product; a missing one is empty or "Uncategorized"."""
    categories = list(CATEGORIES.values())
    written = {}
    for one in products:
        others = [category for category in categories if category != one.category]
        said = one.category
        if one.handle in missing:
            said = "" if rng.random() < 0.9 else "Uncategorized"
        elif one.handle in wrong:
            said = others[int(rng.integers(len(others)))]
        written[one.handle] = said
    return written


def _rows(
    one: _Product, written: dict[str, str], address: str, dead: str, rng: np.random.Generator
) -> list[dict[str, str]]:
    """The product's row, and one for each further photo or variant."""
    urls = [f"{address}/{PHOTOS}/{photo}?v=17{number}" for number, photo in enumerate(one.photos)]
    if one.handle.endswith("-0001") and one.handle.startswith("bag"):
        urls.append(dead)
    if one.handle.endswith("-0002") and one.handle.startswith("hat"):
        urls = []
    draft = rng.random() < DRAFT
    body = "<p>New in.\nMade to last.</p>" if rng.random() < 0.95 else "=A1+1 <p>Sale</p>"
    first = {
        "Handle": one.handle,
        "Title": one.title,
        "Body (HTML)": body,
        "Vendor": "Generated",
        "Product Category": written[one.handle],
        "Type": "simple",
        "Tags": "new, generated",
        "Published": "true",
        "Option1 Name": "Size",
        "Option1 Value": "M",
        "Variant SKU": f"{one.handle}-m",
        "Variant Price": f"{rng.integers(9, 200)}.90",
        "Image Src": urls[0] if urls else "",
        "Image Position": "1" if urls else "",
        "Status": "draft" if draft else "active",
    }
    further = [
        {"Handle": one.handle, "Image Src": url, "Image Position": str(number)}
        for number, url in enumerate(urls[1:], start=2)
    ]
    variant = {"Handle": one.handle, "Option1 Value": "L", "Variant SKU": f"{one.handle}-l"}
    return [first, *further, *([variant] if rng.random() < 0.3 else [])]
