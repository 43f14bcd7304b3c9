"""Which attributes get a head: the columns, their values, and the labels where they apply.

**Applicability.** A neckline is filled in for shirts and never for shoes. What is learned is the
set of labels: an attribute applies to a label with n training products, k of which have a value,
where k / n reaches `LEAST_SHARE`; and where n is so small that k = 0 says nothing: with the share p
filled in where the attribute occurs at all, n products without a value have the chance (1 - p)^n,
which must exceed `CHANCE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight import progress
from shopsight.catalog.attribute_columns import (
    AttributeColumn,
    attribute_column,
    check_attributes,
    find_attributes,
    known_values,
)
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.linked_rows import linked_rows
from shopsight.catalog.product_photos import are_products, product_photos
from shopsight.config.recipe import Recipe
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.text import count_text, counted, listed

FEWEST_LABELS = 30
"""Training products with a value; with fewer an attribute gets no head."""
LEAST_SHARE = 0.05
CHANCE = 0.05


@dataclass(frozen=True, eq=False)
class AttributePlan:
    """One attribute that gets a head.

    Attributes:
        name: of the column.
        values: of the head: those of training images.
        several: whether an image has several.
        cells: of each row of the catalog, those of the head's values; null where none is known.
        labels: where it applies; None: to every label.
        num_labels: training products that have a value.
        num_unknown: images with a value that no training image has; they are left out.
    """

    name: str
    values: tuple[str, ...]
    several: bool
    cells: pl.Series
    labels: tuple[str, ...] | None
    num_labels: int
    num_unknown: int

    def rows(self, split: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "k"]:
        """Those of these rows that have a value."""
        chosen: Int64[np.ndarray, "k"] = split[self.cells[split].is_not_null().to_numpy()]
        return chosen

    def as_catalog(self, catalog: Catalog, rows: Int64[np.ndarray, "m"]) -> Catalog:
        """These rows of the catalog, with the attribute as their label."""
        cells = self.cells if self.several else self.cells.list.first()
        return catalog.with_table(catalog.table.with_columns(label=cells)).take(rows)


def settle_columns(recipe: Recipe, catalog: Catalog) -> Recipe:
    """The recipe, in which the columns of attributes have names, and are there.

    Raises:
        CatalogError: a column is missing, or no attribute.
    """
    names = recipe.attributes.columns
    if names != "auto":
        check_attributes(catalog, names)
        return recipe
    found = find_attributes(catalog)
    said = listed(found, most=20) if found else "none: no column of words is filled in often enough"
    progress.notify(f"attributes: {said}")
    return recipe.replace(attributes={"columns": found})


def plan_attributes(audited: AuditedCatalog, names: Sequence[str]) -> tuple[AttributePlan, ...]:
    """The attributes that get a head.

    Args:
        audited: the images of a run, with their split.
        names: of the columns.
    """
    plans = (_plan(audited, attribute_column(audited.catalog.table, name)) for name in names)
    return tuple(plan for plan in plans if isinstance(plan, AttributePlan))


def attribute_notes(audited: AuditedCatalog, names: Sequence[str]) -> list[str]:
    """Lines that say what is trained, what is left out, and what was joined."""
    lines = []
    for name in names:
        column = attribute_column(audited.catalog.table, name)
        if column.joined_note:
            lines.append(column.joined_note)
        plan = _plan(audited, column)
        lines += [plan] if isinstance(plan, str) else _about(plan, audited)
    return lines


def _plan(audited: AuditedCatalog, column: AttributeColumn) -> AttributePlan | str:
    """The plan of one column; or a line that says why it has none."""
    catalog, train = audited.catalog, audited.catalog.rows_of("train")
    unit = _units(audited)
    filled = column.cells.is_not_null().to_numpy()
    labeled = train[filled[train]]
    num_labels, nouns = len(np.unique(unit[labeled])), _noun(audited)
    if num_labels < FEWEST_LABELS:
        return (
            f"attribute {column.name} is left out: {counted(num_labels, nouns)} of training with a "
            f"value, and {FEWEST_LABELS} are needed"
        )
    values = tuple(sorted(set(column.cells[labeled].explode().to_list())))
    if len(values) < 2:
        return f"attribute {column.name} is left out: every value of training is {values[0]!r}"
    cells, num_unknown = known_values(column, values)
    return AttributePlan(
        name=column.name,
        values=values,
        several=column.several,
        cells=cells,
        labels=_applies_to(catalog, train, unit, filled),
        num_labels=num_labels,
        num_unknown=num_unknown,
    )


def _applies_to(
    catalog: Catalog,
    train: Int64[np.ndarray, "m"],
    unit: Int64[np.ndarray, "n"],
    filled: Bool[np.ndarray, "n"],
) -> tuple[str, ...] | None:
    table = pl.DataFrame(
        {"label": catalog.table["label"][train], "unit": unit[train], "filled": filled[train]}
    )
    if catalog.multilabel:
        table = table.explode("label")
    each = table.drop_nulls().group_by("label", "unit").agg(pl.col("filled").any())
    counts = each.group_by("label").agg(pl.len().alias("n"), pl.col("filled").sum().alias("k"))
    n, k = counts["n"].to_numpy().astype(float), counts["k"].to_numpy().astype(float)
    share = k[k > 0].sum() / n[k > 0].sum()
    applies = ((k > 0) & (k >= LEAST_SHARE * n)) | ((1 - share) ** n > CHANCE)
    if applies.all():
        return None
    return tuple(sorted(counts["label"].filter(pl.Series(applies)).to_list()))


def _units(audited: AuditedCatalog) -> Int64[np.ndarray, "n"]:
    """What counts once: a product where groups are products, else an image with its copies."""
    links = [pl.Series(audited.duplicate_group)]
    if _has_products(audited):
        links.append(audited.catalog.table["group"])
    return linked_rows(len(audited), links).of_image


def _has_products(audited: AuditedCatalog) -> bool:
    catalog = audited.catalog
    photos = product_photos(catalog) if catalog.has("group") and not catalog.multilabel else None
    return photos is not None and are_products(catalog, photos)


def _noun(audited: AuditedCatalog) -> str:
    return "product" if _has_products(audited) else "image"


def _about(plan: AttributePlan, audited: AuditedCatalog) -> list[str]:
    """What a head learns from, where it applies, and what cannot be measured."""
    catalog = audited.catalog
    kind = "several values an image" if plan.several else "one value an image"
    applies = "every label"
    if plan.labels is not None:
        applies = f"{count_text(len(plan.labels))} of {counted(len(catalog.labels), 'label')}"
    lines = [
        f"attribute {plan.name}: {counted(len(plan.values), 'value')}, {kind}, "
        f"{counted(plan.num_labels, _noun(audited))} of training; applies to {applies}"
    ]
    for part in ("val", "test"):
        if not len(plan.rows(catalog.rows_of(part))):
            what = "its confidence is not calibrated" if part == "val" else "it is not measured"
            lines.append(f"attribute {plan.name}: no {part} image has a value: {what} there")
    if plan.num_unknown:
        lines.append(
            f"attribute {plan.name}: {counted(plan.num_unknown, 'image')} with values that no "
            "training image has are left out of its scores"
        )
    return lines
