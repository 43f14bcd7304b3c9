"""The tables of a fetch: the catalog of the images that are there, and the list of the others."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import TABLE_ROW, Catalog
from shopsight.catalog.own_tables import flat_columns
from shopsight.fetching.outcome import FailedImage, Outcome
from shopsight.fetching.plan import FetchPlan
from shopsight.fetching.store import IMAGES
from shopsight.files import atomic_file
from shopsight.held_files import remove_file
from shopsight.io.access import Access
from shopsight.text import counted

CATALOG_NAME, FAILED_NAME = "catalog.parquet", "failed.csv"

URL = "url"
_WHY = {"reason": pl.String, "error": pl.String, "status": pl.Int64}


def write_tables(catalog: Catalog, plan: FetchPlan, outcome: Outcome, folder: Path) -> int:
    """Write the catalog of the images that are there, and the list of those that are not.

    Both have all columns of the catalog, and the column `url`.

    Returns:
        The rows of the catalog that was written; of none there is no table.

    Raises:
        WriteError: they cannot be written.
    """
    table = _with_own_names(catalog.table.drop(TABLE_ROW, strict=False), {URL})
    files = pl.Series("image", outcome.files, dtype=pl.String)
    failures = outcome.failures
    is_there = pl.Series([one is None for one in failures])
    # Rows that name no address of a web server stay as they are.
    is_local = is_there & files.is_null()
    refs = pl.Series("image", plan.refs, dtype=pl.String)
    table = table.with_columns(
        files.zip_with(~is_local, refs),
        refs.zip_with(~is_local, pl.Series([None], dtype=pl.String)).alias(URL),
    )
    why = [one for one in failures if one is not None]
    _write_failed(table.filter(~is_there), why, folder / FAILED_NAME)
    kept, path = table.filter(is_there), folder / CATALOG_NAME
    if not kept.height:
        remove_file(path)
        return 0
    notes = [f"{counted(len(why), 'row')} without an image: {FAILED_NAME}"] if why else []
    access = catalog.access if is_local.any() else Access()
    Catalog(
        kept, catalog.name, str(folder / IMAGES), synthetic=catalog.synthetic, access=access
    ).write(path, kept_notes=notes)
    return kept.height


def _with_own_names(table: pl.DataFrame, ours: set[str]) -> pl.DataFrame:
    """The table whose columns leave these names free: `url` may be that of a product's page."""
    taken = set(table.columns)
    numbers = range(1, len(taken) + 2)
    free = {
        name: next(other for one in numbers if (other := f"{name}_{one}") not in taken)
        for name in ours & taken
    }
    return table.rename(mapping=free)


def _write_failed(failed: pl.DataFrame, why: list[FailedImage], path: Path) -> None:
    """Write the rows without an image; where there are none, no list is left."""
    if not failed.height:
        remove_file(path)
        return
    reasons = pl.DataFrame([(one.reason, one.error, one.status) for one in why], _WHY, orient="row")
    others = _with_own_names(failed.drop("image", URL), set(_WHY))
    table = pl.DataFrame([failed[URL]]).hstack(reasons).hstack(others)
    with atomic_file(path) as part:
        flat_columns(table).write_csv(part)
