"""Duplicates: the products that are in DATA twice, or in two DATA."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_among_images
from shopsight.errors import ConfigError
from shopsight.files import atomic_file
from shopsight.inference.embedder import Embedder
from shopsight.inference.open_embedder import DEFAULT_MODEL, open_embedder
from shopsight.output_locks import only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.read_options import ReadOptions
from shopsight.search.duplicate_products import DuplicateProducts, find_duplicates
from shopsight.search.duplicates_page import write_duplicates_page
from shopsight.spreadsheets import for_reading

TABLE_FILE, OTHER_TABLE_FILE = "duplicates.csv", "duplicates-other.csv"
PAGE_FILE = "duplicates.html"


@dataclass(frozen=True, eq=False)
class DuplicatesResult:
    """What was found, and where it was written.

    Attributes:
        found: the clusters.
        model: that compared the images.
        tables: the CSV of each catalog that `train(decisions=...)` takes; empty without `out`.
        page: of the clusters, as images.
    """

    found: DuplicateProducts
    model: str
    tables: tuple[Path, ...] = ()
    page: Path | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        found = self.found
        return {
            "images": [len(side) for side in found.sides],
            "model": self.model,
            "threshold": found.threshold.score,
            "threshold_from": found.threshold.source,
            "clusters": dict(found.counts()),
            "dropped": found.dropped,
            "failed": {f"{side}:{item}": why for (side, item), why in found.failed.items()},
            "rows": found.table.drop("row").to_dicts(),
            "tables": [str(path) for path in self.tables],
            "page": None if self.page is None else str(self.page),
        }


def duplicates(
    data: str | Path | Catalog,
    *,
    other: str | Path | Catalog | None = None,
    model: str | Path | Embedder | None = None,
    out: str | Path | None = None,
    threshold: float | None = None,
    read: ReadOptions | None = None,
    batch_size: int | None = None,
    device: str = "auto",
) -> DuplicatesResult:
    """Find the products that are listed twice: by equal files, equal images, and other photos.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        other: find what is in both; read as `data` is. Rows of `data` are kept.
        model: a run, a bundle, or a backbone by name; None is the one that comes with pip.
        out: the folder for duplicates.csv and duplicates.html; None writes nothing.
        threshold: cosine from which on two images show one product; None takes it from pairs that
            are known.
        read: how DATA is read; None guesses everything.
        batch_size: images that the model sees at once; None is its own choice.
        device: see `shopsight.devices`.

    Raises:
        ConfigError: the threshold is no cosine.
        CatalogError: DATA cannot be read, or two rows have one id.
        WriteError: `out` cannot be written, or is the folder of the images.
        LockedError: another process writes `out`.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise ConfigError(f"a cosine is from -1 to 1, not {threshold:g}", where="--threshold")
    if out is not None:
        check_output_path(Path(out), reserve=1 + len(OTHER_TABLE_FILE))
    catalog = open_catalog(data, read)
    others = None if other is None else open_catalog(other, read)
    for one in (catalog, others):
        if out is not None and one is not None:
            refuse_output_among_images(one, out)
    embedder = open_embedder(DEFAULT_MODEL if model is None else model, device=device)
    with nullcontext() if out is None else only_writer_of_folder(out):
        found = find_duplicates(
            catalog, embedder, other=others, threshold=threshold, batch_size=batch_size
        )
        name = str(embedder.name)
        return DuplicatesResult(found, name) if out is None else _written(found, name, Path(out))


def _written(found: DuplicateProducts, model: str, out: Path) -> DuplicatesResult:
    tables = []
    for side, file in enumerate((TABLE_FILE, OTHER_TABLE_FILE)[: len(found.sides)]):
        lines = found.table.filter(pl.col("side") == side).drop("side", "row")
        with atomic_file(out / file) as part:
            for_reading(lines).write_csv(part)
        tables.append(out / file)
    page = write_duplicates_page(out / PAGE_FILE, found, model=model)
    return DuplicatesResult(found, model, tuple(tables), page)
