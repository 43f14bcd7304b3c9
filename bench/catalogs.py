"""The real photos that several benchmarks open; it measures nothing itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.read_options import ReadOptions

LATER = 0.2
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
