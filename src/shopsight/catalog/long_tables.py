"""Tables with a row for each label of an image, as Open Images has them."""

from __future__ import annotations

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.text import counted, listed

LEAST_IMAGES = 3
LEAST_FRACTION = 0.5
"""Below this fraction of images with several labels, two labels are a conflict."""


def with_joined_labels(catalog: Catalog) -> Catalog:
    """Join the rows of each image to one with several labels, where a table is written so.

    It is when at least half of the images have several labels, and no label is given to an image
    twice: several people who label the same images repeat each other.

    Args:
        catalog: a row for each row of the table, without boxes.

    Returns:
        The first row of each image, with all of its labels, and a note with an example; the same
        catalog where the table is not written so.
    """
    table = catalog.table
    if table.schema.get("label") != pl.String or not table["image"].is_duplicated().any():
        return catalog
    if table.filter(pl.col("label").is_not_null()).select("image", "label").is_duplicated().any():
        return catalog
    others = [pl.col(name).first() for name in table.columns if name not in {"image", "label"}]
    labels = pl.col("label").drop_nulls()
    joined = table.group_by("image", maintain_order=True).agg(labels, *others)
    several = joined.filter(pl.col("label").list.len() > 1)
    if len(several) < max(LEAST_IMAGES, LEAST_FRACTION * len(joined)):
        return catalog
    is_labeled = pl.col("label").list.len() > 0
    joined = joined.with_columns(pl.when(is_labeled).then(pl.col("label")).alias("label"))
    image, example = several.select("image", "label").row(0)
    note = (
        f"several labels per image: {len(table):,} rows, one for each label, are joined to "
        f"{counted(len(joined), 'image')}, e.g. {image}: {listed(example)}"
    )
    return catalog.with_table(joined.select(table.columns)).with_notes(note)
