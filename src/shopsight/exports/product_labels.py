"""The label of each product: its category, its type or its tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from shopsight.errors import CatalogError
from shopsight.exports.category_paths import Paths, read_paths
from shopsight.exports.export_files import ExportRows
from shopsight.exports.products import Products
from shopsight.exports.profiles import LabelColumn
from shopsight.read_options import ReadOptions
from shopsight.tables.cell_text import plain_label
from shopsight.text import counted

LABEL_COLUMNS: tuple[LabelColumn, ...] = ("category", "type", "tags")

# Of Google's taxonomy, and of Shopify's.
_ID = r"^(?:\d+|(?:gid://shopify/\w+/)?[a-z]{2}(?:-\d+)+)$"
_NOUNS: Mapping[str, str] = {"category": "category", "type": "type", "tags": "tag"}


@dataclass(frozen=True, eq=False)
class ProductLabels:
    """The labels of products.

    Attributes:
        values: of each product, String, or List(String) of tags; null where it has none.
        noun: what a label is: "category", "type", "tag" or "label".
        notes: how they were chosen and read, a line each.
    """

    values: pl.Series
    noun: str
    notes: tuple[str, ...]

    @property
    def num_unlabeled(self) -> int:
        """Products without a label."""
        return self.values.null_count()


def choose_labels(products: Products, export: ExportRows, read: ReadOptions) -> ProductLabels:
    """Choose what of the products is their label, and read it.

    Without an option it is the category; where no product has one, the type.

    Raises:
        CatalogError: the export has no such column.
    """
    table = products.table
    if read.label_columns and "label" in table.columns:
        return _paths(table["label"], "label", export, "as --label says")
    filled = {name: _filled(table, name, export) for name in LABEL_COLUMNS}
    wanted = read.label_column
    if wanted is not None:
        if not export.column(wanted):
            there = [name for name in LABEL_COLUMNS if export.column(name)]
            raise CatalogError(
                f"an export of {export.profile.title} has no {wanted}",
                where=export.files[0],
                fix=f"--label-column {' or '.join(there)}" if there else "--label COLUMN",
            )
        how = f"as --label-column {wanted} says"
        if wanted == "tags":
            return _tags(table["tags"], export, how)
        return _paths(table[wanted], wanted, export, how)
    if filled["category"] or not filled["type"]:
        hint = ""
        if filled["type"] > filled["category"]:
            hint = (
                f"{export.column('type')!r} is filled for {counted(filled['type'], 'product')} "
                "(--label-column type)"
            )
        if not export.column("category"):
            empty = pl.Series("label", [None] * len(table), dtype=pl.String)
            return ProductLabels(empty, "category", ())
        return _paths(table["category"], "category", export, hint)
    return _paths(
        table["type"], "type", export, "no product has a category; --label-column chooses"
    )


def _filled(table: pl.DataFrame, name: str, export: ExportRows) -> int:
    """How many products have a label by this column."""
    if name not in table.columns or name == "tags":
        return 0
    labels = _read(table[name], name, export).labels
    return len(labels) - labels.null_count()


def _read(cells: pl.Series, name: str, export: ExportRows) -> Paths:
    profile, is_category = export.profile, name == "category"
    several = profile.several_categories if is_category else ""
    roots = profile.roots if is_category else ()
    return read_paths(cells, levels=profile.levels, several=several, roots=roots)


def _paths(cells: pl.Series, name: str, export: ExportRows, how: str) -> ProductLabels:
    paths = _read(cells, name, export)
    column, noun = export.column(name), _NOUNS.get(name, "label")
    distinct = paths.labels.drop_nulls().n_unique()
    notes = [f"label from {column!r}: {counted(distinct, noun)}"]
    notes[0] += f" ({how})" if how.startswith(("as ", "no ")) else f"; {how}" if how else ""
    if paths.num_none:
        notes.append(f"no label, such as {paths.example!r}: {counted(paths.num_none, 'product')}")
    ids = paths.labels.drop_nulls()
    ids = ids.filter(ids.str.contains(_ID))
    if len(ids):
        notes.append(
            f"labels that are ids, such as {ids[0]!r}: {counted(len(ids), 'product')} (--label-map "
            "FILE gives them names)"
        )
    if paths.num_several:
        notes.append(
            f"in several categories: {counted(paths.num_several, 'product')}; the first of the "
            f"deepest is the label, e.g. of {paths.several_example!r}"
        )
    return ProductLabels(paths.labels.alias("label"), noun, tuple(notes))


def _tags(cells: pl.Series, export: ExportRows, how: str) -> ProductLabels:
    distinct = cells.drop_nulls().unique(maintain_order=True)
    lists = [
        list(dict.fromkeys(filter(None, map(plain_label, cell.split(","))))) for cell in distinct
    ]
    found = pl.DataFrame({"cell": distinct, "label": pl.Series(lists, dtype=pl.List(pl.String))})
    found = found.filter(pl.col("label").list.len() > 0)
    rows = cells.alias("cell").to_frame()
    values = rows.join(found, on="cell", how="left", maintain_order="left")["label"]
    count = values.explode().drop_nulls().n_unique()
    note = f"labels from {export.column('tags')!r}, several per image: {counted(count, 'tag')}"
    return ProductLabels(values, "tag", (f"{note} ({how})",))
