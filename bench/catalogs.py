"""The real photos that several benchmarks open; it measures nothing itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from scipy.cluster import hierarchy

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids
from shopsight.datasets.open import open_catalog
from shopsight.embeddings.store import read_embeddings
from shopsight.read_options import ReadOptions

LATER = 0.2
ALIKE = 5
"""Images of one class and look, in the mean: a visit to the shop takes some such."""
UNSURE = ("Not sure", "Skip")
"""Labels by which contributors say that they do not know one."""


def clothing(root: str, *, drop: tuple[str, ...] = (*UNSURE, "Other")) -> Catalog:
    """The clothing photos that are there and have a label, grouped by who sent them."""
    catalog = open_catalog(root, ReadOptions(drop=drop, group="sender_id", on_missing_image="skip"))
    there = [Path(ref).is_file() for ref in catalog.refs()]
    labeled = catalog.table["label"].is_not_null().to_numpy()
    return catalog.take(np.flatnonzero(labeled & np.array(there)))


def and_those_later(catalog: Catalog) -> tuple[Catalog, Catalog]:
    """The photos to train with, and those of a fifth of the contributors, which come later."""
    groups = np.unique(catalog.table["group"].to_numpy())
    last = np.random.default_rng(0).permutation(groups)[: round(LATER * len(groups))]
    later = catalog.table["group"].is_in(last.tolist()).to_numpy()
    return catalog.take(np.flatnonzero(~later)), catalog.take(np.flatnonzero(later))


def groceries(root: str) -> Catalog:
    """GroceryStore's photos of products, both parts together."""
    catalog = open_catalog(root, ReadOptions(skip_folder=("iconic-images-and-descriptions",)))
    return without(catalog, "split")


def fashion(most: int) -> Catalog:
    """So many of Fashion-MNIST's images, both parts together."""
    return sample(without(open_catalog("fashion-mnist"), "group", "split"), most)


def without(catalog: Catalog, *columns: str) -> Catalog:
    return catalog.with_table(catalog.table.drop(columns, strict=False))


def sample(catalog: Catalog, most: int) -> Catalog:
    rows = np.random.default_rng(0).permutation(len(catalog))[:most]
    return catalog.take(np.sort(rows))


def by_look(catalog: Catalog, work: Path) -> Catalog:
    """Photos of a class that look alike are one group, which no split takes apart.

    Nobody wrote down which photos are of one visit. Within a class, average linkage on the cosines
    of frozen features makes a group of every `ALIKE` photos in the mean.
    """
    kept = work / "looks.npz"
    if not kept.is_file():
        api.embed("embedded:tf_efficientnet_lite0", catalog, out=kept)
    found = read_embeddings(kept)
    at = {name: row for row, name in enumerate(found.table["id"])}
    ids = item_ids(catalog).to_list()
    groups = np.zeros(len(catalog), object)
    labels = catalog.table["label"].to_numpy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        vectors = found.vectors[[at[ids[row]] for row in rows]]
        tree = hierarchy.linkage(vectors, method="average", metric="cosine")
        looks = hierarchy.fcluster(tree, max(3, len(rows) // ALIKE), criterion="maxclust")
        groups[rows] = [f"{label} {look}" for look in looks]
    return catalog.with_table(catalog.table.with_columns(group=pl.Series(groups.tolist())))
