"""What is written into an export for a category: what its own cells hold for it.

One system takes a path, another the whole path with its root, a third a number or a code. The
export itself says which: what most cells of one category hold is written for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.rare_classes import RARE_LABEL
from shopsight.errors import ConfigError
from shopsight.exports.category_paths import LEVELS
from shopsight.review.shop_products import PRODUCT, ShopProducts, categories_in
from shopsight.tables.write_back import Place
from shopsight.text import counted, listed


def written_categories(shop: ShopProducts, labels: Collection[str]) -> dict[str, str]:
    """The cell of each category.

    Args:
        shop: the products.
        labels: those of the run.

    Returns:
        Of each label what most of its cells hold; where all cells hold the labels themselves, also
        of labels without a cell. Of a catalog each label is written as it is.
    """
    if shop.profile is None:
        return {name: name for name in labels}
    own = shop.cells.filter(pl.col("categories").list.len() == 1)
    seen: dict[str, Counter[str]] = {}
    as_run = dict(shop.table.select(PRODUCT, "as_run").iter_rows())
    is_text = len(own) > 0
    for product, value, categories in own.select("group", "value", "categories").iter_rows():
        is_text &= value.strip() == categories[0]
        for name in {categories[0], as_run.get(product)} - {None, RARE_LABEL}:
            # A label folded into the path above it says less than its cell.
            if name == categories[0] or not categories[0].startswith(f"{name}{LEVELS}"):
                seen.setdefault(name, Counter())[value] += 1
    found = {name: max(counts, key=lambda v: (counts[v], v)) for name, counts in seen.items()}
    if is_text:
        # A comma in a name may stand between two categories.
        missing = set(labels) - found.keys() - {RARE_LABEL}
        found |= {name: name for name in missing if categories_in(name, shop.profile) == [name]}
    return found


@dataclass(frozen=True, eq=False)
class AcceptedCells:
    """The cells of an export that change.

    Attributes:
        by_file: what each is to hold, by file.
        products: whose cells they are.
        kept: products whose categories were accepted and are not written, with the reason.
    """

    by_file: Mapping[str, Mapping[Place, str]]
    products: tuple[str, ...]
    kept: Mapping[str, str]

    @property
    def count(self) -> int:
        """Number of cells."""
        return sum(map(len, self.by_file.values()))


def accepted_cells(
    shop: ShopProducts, accepted: Mapping[str, str], written: Mapping[str, str]
) -> AcceptedCells:
    """Find the cells that accepted categories change.

    Of a product without a category its empty cells are filled; of one with a category the cells
    that hold that one. A product in several categories is not changed: which of them is meant, only
    its owner knows.

    Args:
        shop: the products.
        accepted: the category of each product.
        written: see `written_categories`.
    """
    by_file: dict[str, dict[Place, str]] = {}
    kept: dict[str, str] = {}
    products: dict[str, None] = {}
    given = dict(shop.table.select(PRODUCT, "given").iter_rows())
    cells = shop.cells.filter(pl.col("group").is_in(list(accepted)))
    for cell in cells.iter_rows(named=True):
        product = cell["group"]
        if len(cell["categories"]) > 1:
            kept[product] = f"is in {counted(len(cell['categories']), 'category')}"
        elif accepted[product] not in written:
            kept[product] = f"no cell of the export says {accepted[product]!r}"
        elif cell["column"] is None:
            kept[product] = "this kind of file is not written back"
        elif written[accepted[product]] != cell["value"] and set(cell["categories"]) <= {
            given.get(product)
        }:
            places = by_file.setdefault(cell["file"], {})
            places[cell["row"], cell["column"]] = written[accepted[product]]
            products[product] = None
    absent = set(accepted) - set(cells["group"].to_list())
    kept |= dict.fromkeys(sorted(absent), "has no cell of a category in the export")
    return AcceptedCells(by_file, tuple(products), kept)


def check_known(accepted: Mapping[str, str], written: Mapping[str, str], where: str) -> None:
    """Refuse accepted categories that nothing in the export says.

    Raises:
        ConfigError: there are some.
    """
    unknown = sorted({name for name in accepted.values() if name not in written})
    if unknown:
        raise ConfigError(
            f"no cell of the export says {listed([repr(name) for name in unknown], most=3)}",
            where=where,
            fix="write the category as the column `given` or `suggested` writes it, or yes or no",
        )
