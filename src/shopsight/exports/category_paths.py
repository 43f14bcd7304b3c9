"""Categories as shops write them become labels: paths with ` > ` between their levels."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from shopsight.tables.cell_text import MISSING_WORDS, plain_label

LEVELS = " > "
"""What stands between the levels of a label."""

NO_CATEGORY = frozenset(
    # What shop systems put products into that have no category, in the language of the shop.
    {"uncategorized", "uncategorised", "unkategorisiert", "nicht kategorisiert", "non classé"}
    | {"non classe", "sin categorizar", "sin categoría", "senza categoria", "sem categoria"}
    | {"ongecategoriseerd", "geen categorie", "okategoriserade", "ukategoriseret", "bez kategorii"}
    | {"default category"}
    # How a product is sold, not what it is.
    | {"simple", "variable", "variation", "configurable", "grouped", "bundle", "virtual"}
    | {"downloadable", "external"}
)
"""Never a label, in lower case."""


@dataclass(frozen=True, eq=False)
class Paths:
    """The categories of some cells.

    Attributes:
        labels: the path of each cell; null where it has none, or what is none.
        num_none: cells that hold what is no category, such as "Uncategorized".
        example: such a cell; "" without any.
        num_several: cells that hold several paths, of which the first of the deepest is the label.
        several_example: such a cell; "" without any.
    """

    labels: pl.Series
    num_none: int = 0
    example: str = ""
    num_several: int = 0
    several_example: str = ""


def read_paths(
    cells: pl.Series, *, levels: str, several: str, roots: Collection[str] = ()
) -> Paths:
    """Read cells of categories; each distinct one once.

    Args:
        cells: text.
        levels: what stands between the levels of a category.
        several: what stands between several categories in a cell; "" where a cell holds one.
        roots: what stands above all categories, and is no level of a label.
    """
    distinct = cells.drop_nulls().unique(maintain_order=True)
    if not len(distinct):
        return Paths(cells)
    read = [paths_in(cell, levels=levels, several=several, roots=roots) for cell in distinct]
    labels = [max(paths, key=len) if paths else None for paths in read]
    texts = [None if path is None else LEVELS.join(path) for path in labels]
    none = [cell for cell, text in zip(distinct, texts, strict=True) if text is None]
    differ = [cell for cell, paths in zip(distinct, read, strict=True) if _differ(paths)]
    return Paths(
        cells.replace_strict(distinct, pl.Series(texts, dtype=pl.String), default=None),
        int(cells.is_in(none).sum()),
        none[0].strip() if none else "",
        int(cells.is_in(differ).sum()),
        differ[0] if differ else "",
    )


def paths_in(
    cell: str, *, levels: str, several: str, roots: Collection[str] = ()
) -> list[tuple[str, ...]]:
    r"""The categories that a cell names, without what is none.

    >>> paths_in(" Home &amp; Garden >Rugs", levels=">", several="")
    [('Home & Garden', 'Rugs')]
    >>> paths_in("Uncategorized, Cups", levels=">", several=",")
    [('Cups',)]
    """
    # Where a comma stands between categories, one within a name has a backslash.
    parts = re.split(rf"(?<!\\){re.escape(several)}", cell) if several else [cell]
    above = {root.lower() for root in roots}
    found = []
    for part in parts:
        names = [_level(level, several) for level in part.split(levels)]
        path = tuple(name for name in names if name)
        if path and path[0].lower() in above:
            path = path[1:]
        if path and path[-1].lower() not in NO_CATEGORY and path[-1] not in MISSING_WORDS:
            found.append(path)
    return found


def _level(text: str, several: str) -> str:
    text = text.replace(f"\\{several}", several) if several else text
    return plain_label(html.unescape(text))


def _differ(paths: list[tuple[str, ...]]) -> bool:
    """Whether two of the paths are not on one branch."""
    deepest = max(paths, key=len, default=())
    return any(path != deepest[: len(path)] for path in paths)
