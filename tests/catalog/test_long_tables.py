"""A row for each label of an image."""

from __future__ import annotations

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.long_tables import with_joined_labels

Rows = list[tuple[str, str | None]]


def joined(rows: Rows) -> Catalog:
    images, labels = zip(*rows, strict=True)
    columns = {"image": images, "label": pl.Series(labels, dtype=pl.String)}
    table = pl.DataFrame(columns | {"table_row": range(len(rows))})
    return with_joined_labels(Catalog(table, "shop.csv", ""))


def test_labels_of_one_image_are_joined() -> None:
    """Open Images has a row for each label that was verified."""
    rows: Rows = [("a", "hat"), ("b", "hat"), ("a", "red"), ("c", "hat"), ("b", "red")]
    catalog = joined([*rows, ("d", None), ("c", "blue"), ("e", "hat")])
    assert catalog.table["label"].to_list() == [
        ["hat", "red"], ["hat", "red"], ["hat", "blue"], None, ["hat"],
    ]  # fmt: skip
    assert catalog.table["table_row"].to_list() == [0, 1, 3, 5, 7]
    assert catalog.notes == (
        "several labels per image: 8 rows, one for each label, are joined to 5 images, "
        "e.g. a: hat, red",
    )


@pytest.mark.parametrize(
    "rows",
    [
        # Conflicts among many images, too few to tell, and people who repeat each other.
        [("a", "hat"), ("a", "shoe"), *((str(i), "hat") for i in range(9))],
        [("a", "hat"), ("a", "shoe"), ("b", "hat"), ("b", "shoe")],
        [*((name, "hat") for name in "abcd"), *((name, "hat") for name in "abcd")],
        [(name, label) for name in "abcd" for label in ("hat", "shoe", "hat")],
    ],
)
def test_other_rows_of_one_image_stay(rows: Rows) -> None:
    assert len(joined(rows)) == len(rows)
