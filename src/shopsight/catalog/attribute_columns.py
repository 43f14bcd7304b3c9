"""Columns of attributes: what their cells say, and which columns can be attributes at all.

A cell holds one value, or several with "; " between them. Spellings of one value that differ by
case, by blanks at the ends or by Unicode's forms are joined: the most frequent one stands for all.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, SOURCE_FILE, SOURCE_ROW, TABLE_ROW, Catalog
from shopsight.errors import CatalogError
from shopsight.tables.cell_text import MISSING_WORDS, as_text, is_number, plain_label
from shopsight.text import listed

BETWEEN_VALUES = "; "
"""What stands between several values of an attribute in one cell."""
RESERVED = frozenset(
    {"image", "label", "group", "variant", "text", "price", "currency", "position", "status"}
    | {"split", "fold", "id", "product", SOURCE_FILE, SOURCE_ROW, TABLE_ROW, *BOX_COLUMNS}
)
"""What means something else in a catalog, and is no attribute."""

LEAST_FILLED = 0.05
FEWEST_VALUES, MOST_VALUES = 2, 50
"""Of a column that is found by itself: filled in so often, with so many values."""


@dataclass(frozen=True, eq=False)
class AttributeColumn:
    """The values of one attribute, a list for each row of the catalog.

    Attributes:
        name: of the column.
        cells: List(String), null where the value is missing.
        several: whether a cell has several values.
        joined: spellings that were joined: those that went, by the one that stands for them.
    """

    name: str
    cells: pl.Series
    several: bool
    joined: Mapping[str, tuple[str, ...]]

    @property
    def values(self) -> tuple[str, ...]:
        """Distinct values, sorted."""
        return tuple(self.cells.drop_nulls().explode().drop_nulls().unique().sort().to_list())

    @property
    def joined_note(self) -> str:
        """A line that says which spellings were joined; empty where none were."""
        if not self.joined:
            return ""
        pairs = [
            f"{', '.join(map(repr, others))} as {kept!r}" for kept, others in self.joined.items()
        ]
        return f"attribute {self.name}: read {listed(pairs)}"


def attribute_column(table: pl.DataFrame, name: str) -> AttributeColumn:
    """Read the cells of one column.

    Args:
        table: of a catalog.
        name: of the column.

    Raises:
        CatalogError: the cells are no plain values.
    """
    lists = _lists(table[name])
    flat = lists.explode().drop_nulls()
    counts = dict(flat.value_counts().iter_rows())
    meant = _one_spelling(counts)
    joined = defaultdict[str, list[str]](list)
    for spelling, kept in sorted(meant.items()):
        if spelling != kept:
            joined[kept].append(spelling)
    if joined:
        lists = lists.list.eval(_spelled(meant)).list.unique(maintain_order=True)
    several = bool((lists.list.len() > 1).any())
    return AttributeColumn(
        name, lists.alias(name), several, {kept: tuple(gone) for kept, gone in joined.items()}
    )


def known_values(column: AttributeColumn, values: Sequence[str]) -> tuple[pl.Series, int]:
    """The cells in the spelling of a head's values; cells with another value are null.

    Args:
        column: as it is read anew.
        values: of the head.

    Returns:
        The cells, and how many hold a value that the head does not have.
    """
    spelled = {value.casefold(): value for value in values}
    meant = {value: spelled.get(value.casefold()) for value in column.values}
    unknown = [value for value, known in meant.items() if known is None]
    is_unknown = column.cells.list.set_intersection(unknown).list.len().fill_null(0) > 0
    known = {value: one for value, one in meant.items() if one is not None and one != value}
    cells = column.cells.set(is_unknown, None)
    if known:
        cells = cells.list.eval(_spelled(known))
    return cells, int(is_unknown.sum())


def check_attributes(catalog: Catalog, names: Sequence[str]) -> None:
    """Refuse names that are no columns of attributes.

    Raises:
        CatalogError: a column is missing, means something else, or is named twice.
    """
    others = possible_attributes(catalog)
    for name in names:
        if name in RESERVED:
            raise CatalogError(
                f"the column {name!r} is no attribute: it is the catalog's own {name}",
                where=catalog.name,
                details=[f"other columns: {listed(others, most=20)}"] if others else [],
                fix="--attribute ANOTHER_COLUMN",
            )
        if name not in catalog.table.columns:
            near = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
            raise CatalogError(
                f"no column {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                where=catalog.name,
                details=[f"other columns: {listed(others, most=20)}"] if others else [],
                fix="--attribute COLUMN names a column, --attributes auto finds them",
            )
        if list(names).count(name) > 1:
            raise CatalogError(f"the attribute {name!r} is named twice", where=catalog.name)


def possible_attributes(catalog: Catalog) -> list[str]:
    """Columns that mean nothing else in a catalog."""
    return [name for name in catalog.table.columns if name not in RESERVED]


def find_attributes(catalog: Catalog) -> tuple[str, ...]:
    """Columns of words that are filled in often enough, and have a few values.

    At least `LEAST_FILLED` of the rows have a value, and there are `FEWEST_VALUES` to
    `MOST_VALUES` of them. Columns of numbers, and one that says the same as the label, are left
    out: whoever wants them names them.
    """
    return tuple(name for name in possible_attributes(catalog) if _is_attribute(catalog, name))


def _is_attribute(catalog: Catalog, name: str) -> bool:
    kind = catalog.table.schema[name]
    if kind not in (pl.String, pl.Boolean, pl.List(pl.String)) and not isinstance(
        kind, pl.Categorical | pl.Enum
    ):
        return False
    column = attribute_column(catalog.table, name)
    filled = len(catalog) - column.cells.null_count()
    values = column.values
    if filled < LEAST_FILLED * len(catalog) or not FEWEST_VALUES <= len(values) <= MOST_VALUES:
        return False
    return not all(map(is_number, values)) and not _says_the_label(catalog, column)


def _says_the_label(catalog: Catalog, column: AttributeColumn) -> bool:
    """Whether each value goes with one label, and the other way round."""
    if not catalog.labels or catalog.multilabel or column.several:
        return False
    pairs = pl.DataFrame(
        {"label": catalog.table["label"], "value": column.cells.list.first()}
    ).drop_nulls()
    together = pairs.n_unique()
    return together == pairs["label"].n_unique() == pairs["value"].n_unique()


def _lists(column: pl.Series) -> pl.Series:
    """The values of each cell, each once and plain; null where there is none."""
    if column.dtype == pl.List(pl.String):
        lists = column
    else:
        if isinstance(column.dtype, pl.Categorical | pl.Enum):
            column = column.cast(pl.String)
        text = as_text(column)
        text = text.set(text.str.strip_chars().is_in(sorted(MISSING_WORDS)), None)
        lists = text.str.split(BETWEEN_VALUES.strip())
    distinct = lists.explode().drop_nulls().unique().to_list()
    plain = {value: plain_label(value) for value in distinct}
    changed = {value: one for value, one in plain.items() if one != value}
    if changed:
        lists = lists.list.eval(_spelled(changed))
    lists = lists.list.eval(pl.element().filter(pl.element() != ""))
    lists = lists.list.unique(maintain_order=True)
    return lists.set(lists.list.len() == 0, None)


def _spelled(meant: Mapping[str, str]) -> pl.Expr:
    """Items of a list, some of them written otherwise."""
    return pl.element().replace_strict(meant, default=pl.element())


def _one_spelling(counts: Mapping[str, int]) -> dict[str, str]:
    """The spelling that stands for each: the most frequent one of those that differ by case."""
    alike = defaultdict[str, list[str]](list)
    for value in sorted(counts):
        alike[value.casefold()].append(value)
    return {
        spelling: max(spellings, key=lambda one: counts[one])
        for spellings in alike.values()
        for spelling in spellings
    }
