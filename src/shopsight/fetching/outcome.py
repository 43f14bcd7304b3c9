"""What became of the images of a catalog: counted, named, and written as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from shopsight.catalog.catalog import TABLE_ROW, Catalog
from shopsight.catalog.own_tables import flat_columns
from shopsight.fetching.plan import FetchPlan
from shopsight.fetching.records import FetchRecord
from shopsight.fetching.store import IMAGES, PhotoStore
from shopsight.files import atomic_file
from shopsight.held_files import remove_file
from shopsight.io.access import Access
from shopsight.text import counted

CATALOG_NAME, FAILED_NAME = "catalog.parquet", "failed.csv"

Fate = Literal["fetched", "changed", "unchanged", "not asked", "kept", "failed"]
"""What became of an image: it is new; its file is another than before, or the same; it was fetched
before and not asked for again; it failed and has the file of an earlier command; it has none."""
FATES: tuple[Fate, ...] = get_args(Fate)

URL = "url"


@dataclass(frozen=True)
class FailedImage:
    """An image that was not fetched.

    Attributes:
        url: as the table has it.
        reason: in a word.
        error: in a sentence.
        num_rows: rows of the catalog that name it.
        is_kept: an earlier command fetched it, and its file stays in the catalog.
    """

    url: str
    reason: str
    error: str
    num_rows: int
    is_kept: bool


@dataclass(frozen=True)
class FetchCounts:
    """What became of the images; all of it adds up.

    Attributes:
        num_rows: of the catalog: those of `fates`, `num_shared`, `num_local` and no others.
        fates: number of images, by what became of them.
        num_shared: further rows of an image that another row has too.
        num_local: rows whose image is no address of a web server; they stay as they are.
        reasons: number of images that failed, kept ones too, by reason.
        num_failed_rows: rows without an image, shared ones too; they are in failed.csv.
    """

    num_rows: int
    fates: Mapping[Fate, int]
    num_shared: int
    num_local: int
    reasons: Mapping[str, int]
    num_failed_rows: int


@dataclass(frozen=True)
class Outcome:
    """What became of every row.

    Attributes:
        counts: of images and rows.
        failed: the images that failed, in the order of their first rows.
        files: of each row, the path of its file below the folder of images; None without one.
        records: of each row, what is known of its image.
    """

    counts: FetchCounts
    failed: tuple[FailedImage, ...]
    files: list[str | None]
    records: list[FetchRecord | None]


def outcome_of(
    plan: FetchPlan, store: PhotoStore, before: Mapping[str, str | None], not_asked: set[str]
) -> Outcome:
    """Say what became of the images.

    Args:
        plan: of the command.
        store: with their records.
        before: sha256 of each image that a former command fetched and whose file was there.
        not_asked: images that this command did not ask for.
    """
    fate_of, file_of = dict[str, Fate](), dict[str, str | None]()
    for one in plan.wanted:
        record = store.records[one.canonical]
        fate_of[one.canonical] = fate = _fate(record, before.get(one.canonical), not_asked)
        file_of[one.canonical] = None if fate == "failed" else record.file
    rows = Counter(plan.canonical)
    failed = [
        FailedImage(one.url, record.reason or "", record.error or "", rows[one.canonical], is_kept)
        for one in plan.wanted
        if (is_kept := fate_of[one.canonical] == "kept") or fate_of[one.canonical] == "failed"
        for record in (store.records[one.canonical],)
    ]
    bad_rows = Counter(ref for ref in plan.refs if ref in plan.bad)
    failed += [
        FailedImage(ref, error.reason, error.what, bad_rows[ref], False)
        for ref, error in plan.bad.items()
    ]
    fates = Counter(fate_of.values())
    fates["failed"] += len(plan.bad)
    num_web_rows = sum(rows[one.canonical] for one in plan.wanted) + sum(bad_rows.values())
    counts = FetchCounts(
        num_rows=len(plan.refs),
        fates={fate: fates[fate] for fate in FATES},
        num_shared=num_web_rows - len(plan.wanted) - len(plan.bad),
        num_local=len(plan.refs) - num_web_rows,
        reasons=dict(Counter(one.reason for one in failed).most_common()),
        num_failed_rows=sum(one.num_rows for one in failed if not one.is_kept),
    )
    files = [None if one is None else file_of[one] for one in plan.canonical]
    records = [None if one is None else store.records[one] for one in plan.canonical]
    return Outcome(counts, tuple(failed), files, records)


def _fate(record: FetchRecord, before: str | None, not_asked: set[str]) -> Fate:
    if record.canonical_url in not_asked:
        return "not asked"
    if record.reason is not None:
        return "failed" if before is None else "kept"
    if before is None:
        return "fetched"
    return "unchanged" if record.sha256 == before else "changed"


def write_tables(catalog: Catalog, plan: FetchPlan, outcome: Outcome, folder: Path) -> int:
    """Write the catalog of the images that are there, and the list of those that are not.

    Both have all columns of the catalog, and the column `url`.

    Returns:
        The rows of the catalog that was written; of none there is no table.

    Raises:
        WriteError: they cannot be written.
    """
    urls = pl.Series(URL, plan.refs, dtype=pl.String)
    files = pl.Series("image", outcome.files, dtype=pl.String)
    is_local = pl.Series([one is None for one in plan.canonical]) & ~urls.is_in([*plan.bad])
    table = _free_for_url(catalog.table.drop(TABLE_ROW, strict=False))
    table = table.with_columns(
        pl.select(pl.when(is_local).then(urls).otherwise(files)).to_series().alias("image"),
        pl.select(pl.when(is_local).then(None).otherwise(urls)).to_series().alias(URL),
    )
    is_there = table["image"].is_not_null()
    _write_failed(table.filter(~is_there), outcome, is_there, folder / FAILED_NAME)
    kept = table.filter(is_there)
    path = folder / CATALOG_NAME
    if not kept.height:
        remove_file(path)
        return 0
    missing = outcome.counts.num_failed_rows
    notes = [f"{counted(missing, 'row')} without an image: {FAILED_NAME}"] if missing else []
    Catalog(
        kept,
        catalog.name,
        root=str(folder / IMAGES),
        synthetic=catalog.synthetic,
        access=catalog.access if is_local.any() else Access(),
    ).write(path, kept_notes=notes)
    return kept.height


def _free_for_url(table: pl.DataFrame) -> pl.DataFrame:
    """The table without a column `url`, which may be that of the products' pages."""
    if URL not in table.columns:
        return table
    other = next(
        name for number in range(1, 99) if (name := f"{URL}_{number}") not in table.columns
    )
    return table.rename({URL: other})


def _write_failed(failed: pl.DataFrame, outcome: Outcome, is_there: pl.Series, path: Path) -> None:
    """Write the rows without an image, with why; where there are none, no list is left."""
    if not failed.height:
        remove_file(path)
        return
    why = {one.url: one for one in outcome.failed}
    records = [record for record, there in zip(outcome.records, is_there, strict=True) if not there]
    rows = []
    for url, record in zip(failed[URL], records, strict=True):
        one = why[url if record is None else record.url]
        status = None if record is None else record.status
        rows.append({"reason": one.reason, "error": one.error, "status": status})
    columns = pl.DataFrame(
        rows, schema={"reason": pl.String, "error": pl.String, "status": pl.Int64}
    )
    others = failed.drop("image", URL).rename(
        {name: f"{name}_1" for name in columns.columns if name in failed.columns}
    )
    table = pl.DataFrame([failed[URL]]).hstack(columns).hstack(others)
    with atomic_file(path) as part:
        flat_columns(table).write_csv(part)
