"""What the parts of a merged catalog share: images, and classes that show the same images.

Two rows show the same image where the audit says so: equal files, or near duplicates. Three faults
come of it, which neither part has by itself: an image in one part's training and in another's test
(a leak), one image with two labels (a conflict), and two classes that are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.audit.check_labels import spelling_key
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.merge_parts import ID, PART, PART_LABEL

MOST_CLASSES = 5
"""Classes that share an image: one of more, such as "no photo yet", says nothing of any of them."""

# An image that parts share stays where a test has it: the test set must not change.
_SPLIT_RANK = {"test": 0, "val": 1, "train": 2}
_NO_SPLIT_RANK = 3


@dataclass(frozen=True, eq=False)
class SharedImages:
    """What several parts have.

    Attributes:
        rows: a line for each row whose image another part has too: `row` (in the catalog), `image
            group` (equal for one image), `part`, `id`, `image`, `label`, `split`, `is_leak` and
            `is_conflict` (of its image group), `stays` (see `not_settled`).
        classes: a line for each two classes of different parts that share images or have one name:
            `label` (of the later part), `to` (of the earlier), `shared_images`, `images`,
            `images_of_to`, `same_name`; those with most shared images first.
    """

    rows: pl.DataFrame
    classes: pl.DataFrame

    @property
    def num_images(self) -> int:
        """Different images that several parts have."""
        return self.rows["image_group"].n_unique()

    @property
    def num_leaks(self) -> int:
        """Those of them that are in different parts of a split."""
        return self.rows.filter("is_leak")["image_group"].n_unique()

    @property
    def num_conflicts(self) -> int:
        """Those of them that have several labels."""
        return self.rows.filter("is_conflict")["image_group"].n_unique()

    def not_settled(self, num_rows: int) -> Bool[np.ndarray, "n"]:
        """The rows to leave out of a catalog of so many, so that each image is of one part alone.

        An image stays in the part that tests on it, else the one that validates, else the first.
        What a part has twice by itself stays as it is.
        """
        gone = np.zeros(num_rows, bool)
        gone[self.rows.filter(~pl.col("stays"))["row"].to_numpy()] = True
        return gone

    def label_map(self) -> pl.DataFrame:
        """The classes that may be one, as a table that `--label-map` takes.

        Of several that a class may be, the one with which it shares most images.
        """
        best = self.classes.unique("label", keep="first", maintain_order=True)
        known = dict(best.select("label", "to").iter_rows())
        ends = [_end(label, known) for label in best["label"].to_list()]
        return best.with_columns(pl.Series("to", ends, dtype=pl.String))


def find_shared_images(
    catalog: Catalog, duplicate_group: Int64[np.ndarray, "n"], parts: Sequence[str]
) -> SharedImages:
    """Find what the parts of a merged catalog share.

    Args:
        catalog: merged, see `merge_parts.merged_catalog`.
        duplicate_group: of each row, as the audit found it.
        parts: their names, in order.
    """
    split = pl.col("split") if catalog.has("split") else pl.lit(None, dtype=pl.String)
    table = catalog.table.select(
        pl.int_range(pl.len()).alias("row"),
        pl.Series("image_group", duplicate_group),
        pl.col(PART).alias("part"),
        ID,
        "image",
        "label",
        split.alias("split"),
        number=pl.col(PART).replace_strict(list(parts), list(range(len(parts)))),
    ).filter(pl.col("number").n_unique().over("image_group") > 1)
    rank = pl.col("split").replace_strict(_SPLIT_RANK, default=_NO_SPLIT_RANK)
    # Smaller is better: first the split, then the place of the part.
    order = rank.cast(pl.Int64) * len(parts) + pl.col("number")
    best = order.min().over("image_group") % len(parts)
    shared = table.with_columns(
        is_leak=pl.col("split").n_unique().over("image_group") > 1,
        is_conflict=pl.col("label").n_unique().over("image_group") > 1,
        stays=best == pl.col("number"),
    )
    return SharedImages(
        shared.sort("image_group", "row").drop("number"), _classes(catalog, shared, parts)
    )


def _classes(catalog: Catalog, shared: pl.DataFrame, parts: Sequence[str]) -> pl.DataFrame:
    """Pairs of classes of different parts that may be one; see `SharedImages.classes`."""
    telling = shared.filter(pl.col("label").n_unique().over("image_group") <= MOST_CLASSES)
    by_image = _pairs(telling.select("image_group", "number", "label"), "image_group")
    by_image = by_image.group_by("label", "to").agg(shared_images=pl.len())
    known = catalog.table.select(
        "label",
        number=pl.col(PART).replace_strict(list(parts), list(range(len(parts)))),
        name=pl.col(PART_LABEL),
    ).unique()
    keys = {name: spelling_key(name) for name in known["name"].unique().to_list()}
    by_name = (
        _pairs(
            known.select(
                pl.col("name").replace_strict(keys, return_dtype=pl.String).alias("key"),
                "number",
                "label",
            ),
            "key",
        )
        .select("label", "to", same_name=pl.lit(value=True))
        .unique()
    )
    counts = catalog.table.group_by("label").agg(images=pl.len())
    return (
        by_image.join(by_name, on=["label", "to"], how="full", coalesce=True)
        .with_columns(
            pl.col("shared_images").fill_null(0).cast(pl.Int64),
            pl.col("same_name").fill_null(value=False),
        )
        .join(counts, on="label")
        .join(counts.rename({"label": "to", "images": "images_of_to"}), on="to")
        .select("label", "to", "shared_images", "images", "images_of_to", "same_name")
        .sort("shared_images", "label", "to", descending=[True, False, False])
    )


def _end(label: str, known: Mapping[str, str]) -> str:
    """Where a chain of labels ends; each leads to one of an earlier part, so it does."""
    while label in known:
        label = known[label]
    return label


def _pairs(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Labels of different parts that have a key in common: `key`, `label` (later), `to`."""
    rows = rows.unique()
    return (
        rows.join(rows, on=key, suffix="_to")
        .filter((pl.col("number") > pl.col("number_to")) & (pl.col("label") != pl.col("label_to")))
        .select(key, "label", to="label_to")
        .unique()
    )
