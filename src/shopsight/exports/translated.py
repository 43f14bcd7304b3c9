"""Headers in the language of a shop, by what is in no language: codes, marks and the order.

WooCommerce writes names of columns in the language of the store and kinds of products in codes;
PrestaShop leaves its mark `(x,y,z...)` in each language. Both keep the order of their columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SEVERAL = re.compile(r"\(\s*x\s*,\s*y\s*,\s*z", re.IGNORECASE)
# In this order in PrestaShop's template, between other columns.
_PRESTASHOP_MARKED = ("Categories (x,y,z...)", "Tags (x,y,z...)", "Image URLs (x,y,z...)")
_PRESTASHOP = {0: "Product ID", 1: "Active (0/1)", 2: "Name *", 4: "Price tax excluded"}
_PRESTASHOP_CATEGORIES = 3

_WOO_KINDS = {"simple", "variable", "variation", "grouped", "external"}
_WOO_TYPE = 1
# From the name on; a column of GTINs may stand before it.
_WOO = {
    0: "Name", 1: "Published", 21: "Sale price", 22: "Regular price", 23: "Categories",
    24: "Tags", 26: "Images", 29: "Parent", 35: "Position",
}  # fmt: skip
_WOO_LEAST = 38
_WOO_VISIBILITY = {"visible", "catalog", "search", "hidden"}
_WOO_OF_ATTRIBUTE = ("name", "value(s)", "visible", "global")


def translated(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str] | None:
    """The header in English, as far as that is read; None where it is of no such file.

    Args:
        header: names of columns.
        rows: the first rows below it.
    """
    return _of_prestashop(header) or _of_woocommerce(header, rows)


def _of_prestashop(header: Sequence[str]) -> list[str] | None:
    marked = [place for place, name in enumerate(header) if _SEVERAL.search(name)]
    if len(marked) < len(_PRESTASHOP_MARKED) or marked[0] != _PRESTASHOP_CATEGORIES:
        return None
    english = list(header)
    for place, name in [*_PRESTASHOP.items(), *zip(marked, _PRESTASHOP_MARKED, strict=False)]:
        english[place] = name
    return english


def _of_woocommerce(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str] | None:
    full = [row for row in rows if len(row) == len(header)]
    if len(header) < _WOO_LEAST or not full:
        return None
    kinds = {row[_WOO_TYPE].lower().split(",")[0].strip() for row in full}
    if not kinds <= _WOO_KINDS:
        return None
    # Three columns behind the name stands whether a product is seen in the catalog.
    first = next(
        (at for at in (3, 4) if {row[at + 3].strip() for row in full} <= _WOO_VISIBILITY), None
    )
    if first is None:
        return None
    english = list(header)
    english[:3] = ["ID", "Type", "SKU"]
    for place, name in _WOO.items():
        english[first + place] = name
    numbered = range(first + max(_WOO) + 1, len(header))
    seen: dict[str, int] = {}
    for place in numbered:
        number = re.fullmatch(r"\D+(\d+)\D*", header[place])
        if number is None or header[place].lower().startswith("meta"):
            continue
        count = seen[number[1]] = seen.get(number[1], -1) + 1
        if count < len(_WOO_OF_ATTRIBUTE):
            english[place] = f"Attribute {number[1]} {_WOO_OF_ATTRIBUTE[count]}"
    return english
