"""Whole classes held out: a test of what a model makes of classes that it never saw.

A search meets products that no training knew. So all images of some classes go to test, and none of
the others do. Classes that share a product or a copy of an image are held out together, or one of
them would be known after all; who sent the photos connects nothing here, since one contributor
sends photos of most classes.

Classes come in a seeded order; each is taken if that brings the share of images nearer to the
wanted one.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import group_is_contributor
from shopsight.catalog.linked_rows import linked_rows
from shopsight.errors import SplitError
from shopsight.metrics.families import Families
from shopsight.text import counted

HELD_OUT = "held_out"
"""Column of a split by label: rows of classes that no training may see."""
FEWEST_LEFT = 2
"""Classes that must stay to be trained on."""


def held_out_rows(
    catalog: Catalog,
    *,
    fraction: float,
    seed: int,
    duplicate_group: Int64[np.ndarray, "n"] | None = None,
) -> Bool[np.ndarray, "n"]:
    """Choose the rows of whole classes, about a fraction of all images.

    Args:
        catalog: the images, with one label each.
        fraction: of the images that are held out.
        seed: another one chooses other classes.
        duplicate_group: of each row, as the audit finds them.

    Raises:
        SplitError: images have several labels, or too few classes would be left.
    """
    if catalog.multilabel or not catalog.labels:
        raise SplitError("classes are held out of images with one label each", where=catalog.name)
    if not 0 < fraction < 1:
        raise SplitError(f"--test {fraction:g}: a fraction between 0 and 1 is held out")
    links = [catalog.table["label"]]
    if duplicate_group is not None:
        links.append(pl.Series(duplicate_group))
    if catalog.has("group") and not group_is_contributor(catalog.table):
        links.append(catalog.table["group"])
    bundles = linked_rows(len(catalog), links)
    names = _first_labels(catalog, bundles)
    order = sorted(range(bundles.count), key=lambda one: _place(names[one], seed))
    wanted, taken = fraction * len(catalog), np.zeros(bundles.count, bool)
    count = 0.0
    for one in order:
        size = float(bundles.sizes[one])
        if abs(count + size - wanted) < abs(count - wanted):
            taken[one] = True
            count += size
    held = taken[bundles.of_image]
    left = catalog.table["label"].filter(pl.Series(~held)).drop_nulls().n_unique()
    if left < FEWEST_LEFT or not held.any():
        raise SplitError(
            f"holding out {fraction:.0%} of the images leaves {counted(left, 'class')} to train on"
            if held.any()
            else "no class is small enough to be held out",
            where=catalog.name,
            details=["classes that share products or copies of images are held out together"],
            fix="--test with another fraction" + _ungrouped(catalog),
        )
    return np.asarray(held)


def is_held_out(catalog: Catalog) -> Bool[np.ndarray, "n"]:
    """Which rows a split by label holds out, as its column says; none without it."""
    if HELD_OUT not in catalog.table.columns:
        return np.zeros(len(catalog), bool)
    # Another program may have written the table again, as text.
    cells = catalog.table[HELD_OUT].cast(pl.String).str.to_lowercase()
    return np.asarray((cells == "true").fill_null(value=False).to_numpy(), bool)


def whole_groups(catalog: Catalog) -> pl.Series | None:
    """The group of each row that no two parts may share; null where they may.

    A product may be in one part alone. So may who sent photos, but for held-out classes: their test
    is about classes that no training saw, and one contributor sends photos of most classes. Where a
    contributor sends the same photo twice, the audit finds the copies.

    Returns:
        None of a catalog without groups.
    """
    if not catalog.has("group"):
        return None
    groups = catalog.table["group"]
    held = is_held_out(catalog)
    if not held.any() or not group_is_contributor(catalog.table):
        return groups
    return groups.set(pl.Series(held), None)


def held_out_labels(catalog: Catalog) -> tuple[str, ...]:
    """The classes that a split by label holds out."""
    return catalog.take(np.flatnonzero(is_held_out(catalog))).labels


def _ungrouped(catalog: Catalog) -> str:
    """The further fix where groups hold classes together."""
    if not catalog.has("group") or group_is_contributor(catalog.table):
        return ""
    pairs = catalog.table.select("group", "label").drop_nulls()
    if pairs.n_unique() == pairs["group"].n_unique():
        return ""
    return "\n--group none   (where a group is who sent the photos, or else no product)"


def _first_labels(catalog: Catalog, bundles: Families) -> list[str]:
    """The first label, by name, of each bundle of classes."""
    table = catalog.table.select("label", bundle=pl.Series(bundles.of_image))
    first = table.group_by("bundle").agg(pl.col("label").min()).sort("bundle")
    return [str(label) for label in first["label"].to_list()]


def _place(name: str, seed: int) -> str:
    """A place in the order, which the seed and a class's name decide, not its rows."""
    return hashlib.sha256(f"held out {seed} {name}".encode()).hexdigest()
