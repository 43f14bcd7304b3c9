"""A drawn shop with a known truth: photos, and its export."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shopsight.datasets.synthetic import draw_product

CLASSES = ("hat", "shirt", "shoe")
VIEWS = 2
OLD = {
    "key": "Handle",
    "title": "Title",
    "body": "Body (HTML)",
    "category": "Product Category",
    "price": "Variant Price",
    "image": "Image Src",
    "position": "Image Position",
}
NEW = {
    "title": "Title",
    "key": "URL handle",
    "body": "Description",
    "category": "Product category",
    "price": "Price",
    "image": "Product image URL",
    "position": "Image position",
}


@dataclass(frozen=True)
class Shop:
    """A shop.

    Attributes:
        folder: holds the export and `photos`.
        export: the file.
        truth: the category of each product.
        missing: products without a category in the export.
        wrong: products with a wrong one.
    """

    folder: Path
    export: Path
    truth: dict[str, str]
    missing: frozenset[str]
    wrong: frozenset[str]


def path_of(label: str) -> str:
    """The category of a class."""
    return f"Apparel & Accessories > Clothing > {label.title()}s"


def make_shop(
    folder: Path,
    *,
    per_class: int,
    missing: int = 3,
    wrong: int = 0,
    names: dict[str, str] = OLD,
    encoding: str = "utf-8",
    seed: int = 0,
) -> Shop:
    """Draw a shop's products in two views, and write its export.

    Args:
        folder: where.
        per_class: products of each class.
        missing: of each class so many have no category.
        wrong: likewise have another class's.
        names: the columns, in their order.
        encoding: of the export.
        seed: of the pixels and the order.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    truth, gone, bad = dict[str, str](), set[str](), set[str]()
    products = [(label, number) for label in CLASSES for number in range(per_class)]
    for label, number in products:
        key = f"{label}-{number:03d}"
        truth[key] = path_of(label)
        if number < missing:
            gone.add(key)
        elif number < missing + wrong:
            bad.add(key)
        for view in range(VIEWS):
            pixels = draw_product(label, number=number, view=view, seed=seed)
            Image.fromarray(pixels).save(folder / "photos" / f"{key}-{view}.jpg", quality=90)
    random.Random(seed).shuffle(products)
    export = folder / "products_export.csv"
    given = {
        key: "" if key in gone else _another(path) if key in bad else path
        for key, path in truth.items()
    }
    export.write_bytes(_table(products, given, names).encode(encoding))
    return Shop(folder, export, truth, frozenset(gone), frozenset(bad))


def _another(path: str) -> str:
    paths = [path_of(label) for label in CLASSES]
    return paths[(paths.index(path) + 1) % len(paths)]


def _table(products: list[tuple[str, int]], given: dict[str, str], names: dict[str, str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writerow(names)
    for label, number in products:
        key = f"{label}-{number:03d}"
        for view in range(VIEWS):
            row = dict.fromkeys(names, "") | {"key": key}
            row |= {"image": f"photos/{key}-{view}.jpg", "position": str(view + 1)}
            if not view:
                row |= {"title": f'The "{label}", no. {number}', "price": "9.90"}
                row |= {"body": "<p>=1+1,\nsoft</p>", "category": given[key]}
            writer.writerow(row)
    return text.getvalue()
