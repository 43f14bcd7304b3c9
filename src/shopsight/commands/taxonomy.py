"""Taxonomy: which labels of DATA are paths that a platform's taxonomy has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split_report import label_rows
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from shopsight.taxonomy.nearest import NearestPaths
from shopsight.taxonomy.published import open_taxonomy

NEAREST = 3
"""Paths that are offered for one that does not exist."""


@dataclass(frozen=True)
class UnknownPath:
    """A label that the taxonomy does not have.

    Attributes:
        label: the path.
        images: of DATA with it.
        known: the longest part of it, from the top, that exists; None where not even its first
            name does.
        nearest: paths that exist, nearest first.
    """

    label: str
    images: int
    known: str | None
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class TaxonomyCheck:
    """What a taxonomy says of the labels of DATA.

    Attributes:
        data: its name.
        taxonomy: its name or file.
        version: as its file says; empty where it does not.
        num_paths: of the taxonomy.
        num_labels: of DATA.
        num_images: of DATA, with a label.
        ids: labels that are ids of the taxonomy, and not paths.
        unknown: labels that it does not have, those of the most images first.
    """

    data: str
    taxonomy: str
    version: str
    num_paths: int
    num_labels: int
    num_images: int
    ids: int
    unknown: tuple[UnknownPath, ...]

    @property
    def ok(self) -> bool:
        """Whether every label exists."""
        return not self.unknown

    @property
    def unknown_images(self) -> int:
        """Images whose label does not exist; one that has several such labels counts for each."""
        return sum(one.images for one in self.unknown)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"ok": self.ok}


def check_taxonomy(
    data: str | Path | Catalog, *, taxonomy: str | Path, read: ReadOptions | None = None
) -> TaxonomyCheck:
    """Look up every label of DATA in a taxonomy, and the nearest paths of those it does not have.

    No image is read. A label may be a leaf or stand above others, or be an id of the taxonomy.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        taxonomy: "shopify", or a text file with a path on each line, as Shopify and Google publish
            theirs or plain.
        read: how DATA is read; None guesses everything.

    Raises:
        TaxonomyError: no such taxonomy, or its lines are no paths.
        CatalogError: DATA cannot be read, or has no labels.
    """
    known = open_taxonomy(taxonomy)
    catalog = open_catalog(data, read)
    if not catalog.labels:
        raise CatalogError(
            "there are no labels to look up",
            where=catalog.name,
            fix="--label COLUMN   (names the column of categories)",
        )
    rows = label_rows(catalog)
    counts = rows["label"].value_counts().sort("count", "label", descending=[True, False])
    missing = [(label, images) for label, images in counts.iter_rows() if not known.has(label)]
    nearest = list[tuple[str, ...]]()
    if missing:
        nearest = NearestPaths(known.every_path).of([label for label, _ in missing], most=NEAREST)
    return TaxonomyCheck(
        data=catalog.name,
        taxonomy=known.name,
        version=known.version,
        num_paths=len(known.paths),
        num_labels=len(catalog.labels),
        num_images=int(rows.select(pl.col("row").n_unique()).item()),
        ids=sum(label in known.ids for label in catalog.labels),
        unknown=tuple(
            UnknownPath(label, images, known.known_part(label), near)
            for (label, images), near in zip(missing, nearest, strict=True)
        ),
    )
