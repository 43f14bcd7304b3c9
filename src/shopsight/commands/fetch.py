"""Fetch: the images of a catalog from web servers into a folder, once, and its table of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.errors import ConfigError
from shopsight.fetching.fetch_images import FetchRules, fetch_images
from shopsight.fetching.fetched_tables import CATALOG_NAME, FAILED_NAME, write_tables
from shopsight.fetching.outcome import FailedImage, FetchCounts, outcome_of
from shopsight.fetching.plan import only_failed, plan_fetch
from shopsight.fetching.store import PhotoStore, longest_path
from shopsight.output_locks import only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import counted

MOST_PER_HOST = 16


@dataclass(frozen=True)
class FetchResult:
    """What was fetched.

    Attributes:
        table: the catalog of the images that are there; None where none is.
        num_table_rows: its rows.
        failed_table: the rows without an image; None where there are none.
        counts: of images and rows.
        failed: the images that failed.
    """

    table: Path | None
    num_table_rows: int
    failed_table: Path | None
    counts: FetchCounts
    failed: tuple[FailedImage, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        counts = self.counts
        return {
            "table": None if self.table is None else str(self.table),
            "num_table_rows": self.num_table_rows,
            "failed_table": None if self.failed_table is None else str(self.failed_table),
            "num_rows": counts.num_rows,
            **{fate.replace(" ", "_"): number for fate, number in counts.fates.items()},
            "shared": counts.num_shared,
            "local": counts.num_local,
            "reasons": dict(counts.reasons),
            "num_failed_rows": counts.num_failed_rows,
            "num_files": counts.num_files,
            "failures": [
                {"url": one.url, "reason": one.reason, "error": one.error, "rows": one.num_rows}
                for one in self.failed
            ],
        }


def fetch(
    data: str | Path | Catalog,
    *,
    out: str | Path,
    width: int | None = None,
    per_host: int = 4,
    retry_failed: bool = False,
    read: ReadOptions | None = None,
    rules: FetchRules | None = None,
) -> FetchResult:
    """Fetch the images of DATA from web servers, each once, into a folder.

    Called again, it asks the servers only whether images changed, and again for those that failed.
    It can be interrupted; what was fetched stays.

    Args:
        data: a table, an export or a catalog whose images are addresses (http, https).
        out: a folder: `images/` by the hash of their content, `catalog.parquet` of the images that
            are there, `failed.csv` of the rows without one, `fetch.parquet` of what is known of
            each address.
        width: ask cdn.shopify.com for images of this width in pixels; None asks for originals.
        per_host: requests to one host at a time.
        retry_failed: ask only for images that failed, or were not asked for.
        read: how DATA is read; `allow_private` lets its addresses lead into a private network.
        rules: limits, and patience with hosts that fail; None is what the documents say.

    Raises:
        CatalogError: DATA cannot be read, or none of its images is at such an address.
        ConfigError: a number is out of range.
        LockedError: another process writes `out`.
        WriteError: the disk is full; what was fetched stays.
    """
    _check_numbers(width, per_host)
    out = Path(out)
    check_output_path(longest_path(out))
    refuse_output_over_data(data, out / CATALOG_NAME)
    catalog = open_catalog(data, read)
    plan = plan_fetch(catalog, width=width)
    if width is not None:
        notify(
            f"asked for at {width:,} px of width: {plan.num_sized:,} of "
            f"{counted(len(plan.wanted), 'image')}; the others come as they are"
        )
    with only_writer_of_folder(out):
        store = PhotoStore(out)
        before = {
            one.canonical: record.sha256
            for one in plan.wanted
            if (record := store.records.get(one.canonical)) is not None and store.has_file(record)
        }
        wanted, not_asked = plan.wanted, set[str]()
        if retry_failed:
            known = {name: record for name, record in store.records.items() if name in before}
            wanted, not_asked = only_failed(plan.wanted, known)
        try:
            fetch_images(
                wanted, store, catalog.access, per_host=per_host, rules=rules or FetchRules()
            )
        finally:
            store.finish()
        outcome = outcome_of(plan, store.records, before, not_asked)
        num_rows = write_tables(catalog, plan, outcome, out)
    for line in outcome.notes:
        notify(line)
    return FetchResult(
        table=out / CATALOG_NAME if num_rows else None,
        num_table_rows=num_rows,
        failed_table=out / FAILED_NAME if outcome.counts.num_failed_rows else None,
        counts=outcome.counts,
        failed=outcome.failed,
    )


def _check_numbers(width: int | None, per_host: int) -> None:
    if width is not None and not 1 <= width <= 5760:
        raise ConfigError(f"{width} is no width in pixels", where="--width", fix="1 to 5760")
    if not 1 <= per_host <= MOST_PER_HOST:
        raise ConfigError(
            f"{per_host} requests at once", where="--per-host", fix=f"1 to {MOST_PER_HOST}"
        )
