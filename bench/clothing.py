"""The clothing photos by contributor, for several benchmarks; it measures nothing itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.read_options import ReadOptions

LATER = 0.2


def clothing(root: str) -> Catalog:
    """The photos that are there and have one of 18 labels, grouped by who sent them."""
    catalog = open_catalog(
        root,
        ReadOptions(drop=("Not sure", "Other", "Skip"), group="sender_id", on_missing_image="skip"),
    )
    return catalog.take(np.flatnonzero([Path(ref).is_file() for ref in catalog.refs()]))


def and_those_later(catalog: Catalog) -> tuple[Catalog, Catalog]:
    """The photos to train with, and those of a fifth of the contributors, which come later."""
    groups = np.unique(catalog.table["group"].to_numpy())
    last = np.random.default_rng(0).permutation(groups)[: round(LATER * len(groups))]
    later = catalog.table["group"].is_in(last.tolist()).to_numpy()
    return catalog.take(np.flatnonzero(~later)), catalog.take(np.flatnonzero(later))
