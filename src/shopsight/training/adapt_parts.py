"""The parts of a catalog that an adapted embedding is fitted on, chosen on and judged on.

A layer for a search is judged twice: by new photos of what it was fitted on, and by products or
labels that it never saw. For each there is a part to choose settings on and another one to report
on. What the catalog's own split gives is kept: a row of its test part tests. What is missing is
held out of its train rows, seeded, photos of one family together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import is_held_out
from shopsight.catalog.items import products
from shopsight.catalog.linked_rows import codes_of, linked_rows
from shopsight.errors import TrainingError
from shopsight.metrics.families import Families

RelevantBy = Literal["product", "label"]
HELD_IMAGES = {"test": 0.2, "val": 0.15}
"""Fractions of the images that are held out where the catalog has no such part."""
HELD_CLASSES = 0.12
"""Fraction of the classes that is held out, each for choosing and for the report."""
FEWEST_CLASSES = 8
"""Below, no class can be spared."""
FEWEST_HELD = 2
"""Held-out classes: of one alone, everything that is not it is a mistake."""
NOWHERE, TRAIN, VAL_IMAGES, VAL_CLASSES, TEST_IMAGES, TEST_CLASSES = range(6)


@dataclass(frozen=True, eq=False)
class AdaptParts:
    """What each of n rows is for.

    Attributes:
        relevant_by: rows of one product, or of one label, are relevant to each other.
        classes: number of the product or label of each row; -1 where it is not known.
        names: of the classes, in the order of their numbers.
        part: one of the numbers above; `NOWHERE` where the class is not known.
        families: rows that vary together, for intervals.
        contents: a number for what each row's file holds; equal files are one photo.
    """

    relevant_by: RelevantBy
    classes: Int64[np.ndarray, "n"]
    names: tuple[str, ...]
    part: Int64[np.ndarray, "n"]
    families: Families
    contents: Int64[np.ndarray, "n"]

    def rows(self, *parts: int) -> Int64[np.ndarray, "m"]:
        """The rows of some parts, in order."""
        return np.flatnonzero(np.isin(self.part, parts))

    def num_classes(self, *parts: int) -> int:
        """How many classes some parts have."""
        return len(np.unique(self.classes[self.rows(*parts)]))


def divide(
    catalog: Catalog, sha256: pl.Series, *, seed: int, labels_only: bool = False
) -> AdaptParts:
    """Choose what each row is for.

    Args:
        catalog: with products (`shopsight.catalog.items.products`) or one label each.
        sha256: of each row's file.
        seed: another one holds out other photos and classes.
        labels_only: the classes are the labels, whatever products there are, and none is held out.

    Raises:
        TrainingError: nothing says which images belong together, or no two of them do, or all do.
    """
    relevant_by, column = _relevance(catalog, labels_only=labels_only)
    classes, contents = codes_of(column), codes_of(sha256)
    names = tuple(column.drop_nulls().unique().sort().to_list())
    # A product's photos go apart, to be found by each other; the score varies by product.
    together = linked_rows(len(catalog), _links(catalog, sha256, relevant_by))
    families = linked_rows(len(catalog), [sha256, column]) if relevant_by == "product" else together
    part = np.where(classes >= 0, TRAIN, NOWHERE)
    _check_pairs(classes, contents, relevant_by, where=catalog.name)
    rng = np.random.default_rng(seed)
    _keep_given(catalog, classes, part)
    for test, val in ((TEST_CLASSES, VAL_CLASSES), (VAL_CLASSES, TEST_CLASSES)):
        if not labels_only and not (part == test).any():
            _hold_classes(classes, contents, part, test, rng, other=val)
    for images, fraction in ((TEST_IMAGES, "test"), (VAL_IMAGES, "val")):
        if not (part == images).any():
            _hold_images(part, together, images, rng, HELD_IMAGES[fraction])
    _drop_unseen(classes, part)
    found = AdaptParts(relevant_by, classes, names, part, families, contents)
    if found.num_classes(TRAIN) < FEWEST_HELD:
        raise TrainingError(
            f"one {relevant_by} is left to fit on: there is nothing to tell apart",
            where=catalog.name,
            fix="images of two products or labels, of several contributors or groups",
        )
    return found


def check_relevance(catalog: Catalog, *, labels_only: bool = False) -> None:
    """Refuse, before a file is read, what `divide` would refuse.

    Args:
        catalog: the images.
        labels_only: the classes are the labels, whatever products there are.

    Raises:
        TrainingError: nothing says which images belong together, or no two of them do, or all do.
    """
    relevant_by, column = _relevance(catalog, labels_only=labels_only)
    _check_pairs(codes_of(column), np.arange(len(catalog)), relevant_by, where=catalog.name)


def _relevance(catalog: Catalog, *, labels_only: bool) -> tuple[RelevantBy, pl.Series]:
    """By what images belong together: the product where the catalog knows it, or the label."""
    product = None if labels_only else products(catalog)
    if product is not None and product.drop_nulls().is_duplicated().any():
        return "product", product
    if catalog.multilabel:
        raise TrainingError(
            "an image has several labels: which images belong together is not one answer",
            where=catalog.name,
            fix="--group COLUMN   (the product of each image), or --label COLUMN with one label",
        )
    if not catalog.labels:
        raise TrainingError(
            "the images have neither products nor labels: nothing says which belong together",
            where=catalog.name,
            fix="--group COLUMN   (the product of each image), or --label COLUMN",
        )
    return "label", catalog.table["label"]


def _links(catalog: Catalog, sha256: pl.Series, relevant_by: RelevantBy) -> list[pl.Series]:
    """What holds photos together: copies, and of labels the product or who sent them."""
    if relevant_by == "label" and catalog.has("group"):
        return [sha256, catalog.table["group"]]
    return [sha256]


def _check_pairs(
    classes: Int64[np.ndarray, "n"],
    contents: Int64[np.ndarray, "n"],
    relevant_by: RelevantBy,
    *,
    where: str,
) -> None:
    photos = pl.DataFrame({"c": classes, "f": contents}).filter(pl.col("c") >= 0).unique()
    counts = photos.group_by("c").len()
    if counts.height == 1:
        raise TrainingError(
            f"all images have one {relevant_by}: there is nothing to tell apart",
            where=where,
            fix="--label COLUMN or --group COLUMN names another column",
        )
    if not (counts["len"] > 1).any():
        raise TrainingError(
            f"no {relevant_by} has several photos: nothing shows what belongs together",
            where=where,
            details=[f"{counts.height:,} {relevant_by}s, one photo each; copies count once"],
            fix="--label COLUMN or --group COLUMN names another column, or add photos",
        )


def _keep_given(
    catalog: Catalog, classes: Int64[np.ndarray, "n"], part: Int64[np.ndarray, "n"]
) -> None:
    """Take over the catalog's split, where classes of val and test are known or not."""
    held = is_held_out(catalog) & (part == TRAIN)
    if catalog.has("split"):
        split = catalog.table["split"].to_numpy()
        known = np.unique(classes[(split == "train") & (part == TRAIN) & ~held])
        is_known = np.isin(classes, known)
        for name, images, whole in (
            ("val", VAL_IMAGES, VAL_CLASSES),
            ("test", TEST_IMAGES, TEST_CLASSES),
        ):
            mine = (split == name) & (part == TRAIN)
            part[mine & is_known], part[mine & ~is_known] = images, whole
    part[held] = TEST_CLASSES


def _hold_classes(
    classes: Int64[np.ndarray, "n"],
    contents: Int64[np.ndarray, "n"],
    part: Int64[np.ndarray, "n"],
    to: int,
    rng: np.random.Generator,
    *,
    other: int,
) -> None:
    """Hold out whole classes of several photos, with all of their rows."""
    free = (part != NOWHERE) & (part != to) & (part != other)
    photos = np.unique(np.stack([classes[free], contents[free]]), axis=1)
    numbers, counts = np.unique(photos[0], return_counts=True)
    several = numbers[counts > 1]
    if len(several) < FEWEST_CLASSES:
        return
    count = max(FEWEST_HELD, round(HELD_CLASSES * len(several)))
    part[free & np.isin(classes, rng.permutation(several)[:count])] = to


def _hold_images(
    part: Int64[np.ndarray, "n"],
    families: Families,
    to: int,
    rng: np.random.Generator,
    fraction: float,
) -> None:
    """Hold out families of photos, about a fraction of those that train."""
    free = part == TRAIN
    wanted, count = fraction * free.sum(), 0
    sizes = np.bincount(families.of_image[free], minlength=families.count)
    chosen: list[int] = []
    for family in rng.permutation(np.flatnonzero(sizes)).tolist():
        if abs(count + sizes[family] - wanted) < abs(count - wanted):
            chosen.append(family)
            count += int(sizes[family])
    part[free & np.isin(families.of_image, chosen)] = to


def _drop_unseen(classes: Int64[np.ndarray, "n"], part: Int64[np.ndarray, "n"]) -> None:
    """A held-out photo whose class lost all others is neither a known nor a held-out class."""
    for images, fitted in (
        (VAL_IMAGES, (TRAIN,)),
        (TEST_IMAGES, (TRAIN, VAL_IMAGES, VAL_CLASSES)),
    ):
        seen = np.isin(classes, classes[np.isin(part, fitted)])
        part[(part == images) & ~seen] = NOWHERE
