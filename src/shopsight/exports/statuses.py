"""Whether products are for sale: the platforms' words for it as one vocabulary, and a filter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.exports.products import Products
from shopsight.exports.profiles import Profile
from shopsight.text import counted, listed

_NONE = pl.Series("status", [], dtype=pl.String)


@dataclass(frozen=True)
class StatusCounts:
    """How many products have which status.

    Attributes:
        counts: of each, the most frequent first; empty where the export has none.
        wanted: the one that is read; None reads all.
        num_left_out: products of another status.
    """

    counts: dict[str, int]
    wanted: str | None = None
    num_left_out: int = 0


def plain_status(products: Products, profile: Profile) -> Products:
    """The products with their status in lower case, in one vocabulary for all platforms."""
    if "status" not in products.table.columns:
        return products
    cell = pl.col("status").str.strip_chars().str.to_lowercase()
    plain = cell.replace_strict(dict(profile.statuses), default=cell)
    return replace(products, table=products.table.with_columns(plain.alias("status")))


def rows_of_status(catalog: Catalog, wanted: str | None) -> Catalog:
    """The rows of products of one status, of a catalog that was an export.

    Raises:
        CatalogError: it says no status, or no product has this one.
    """
    if wanted is None:
        return catalog
    known = catalog.table["status"] if "status" in catalog.table.columns else _NONE
    kept = catalog.with_table(catalog.table.filter(known == _wanted(known, wanted, catalog.name)))
    return kept.with_notes(f"--status {wanted}: {len(kept):,} of {counted(len(catalog), 'image')}")


def only_status(
    products: Products, wanted: str | None, where: str
) -> tuple[Products, StatusCounts]:
    """The products of one status.

    Args:
        products: with their status in one vocabulary.
        wanted: the status; None takes all.
        where: the export, for errors.

    Raises:
        CatalogError: the export has no status, or no product has this one.
    """
    known = products.table["status"] if "status" in products.table.columns else _NONE
    counts = _counts(known)
    if wanted is None:
        return products, StatusCounts(counts)
    wanted = _wanted(known, wanted, where)
    kept = products.take(pl.col("status") == wanted)
    left_out = len(products.table) - len(kept.table)
    return kept, StatusCounts(counts, wanted, left_out)


def _counts(statuses: pl.Series) -> dict[str, int]:
    return dict(statuses.drop_nulls().value_counts(sort=True).iter_rows())


def _wanted(known: pl.Series, wanted: str, where: str) -> str:
    """The status as the vocabulary has it.

    Raises:
        CatalogError: no product has it, or none has any.
    """
    counts, wanted = _counts(known), wanted.strip().lower()
    if wanted in counts:
        return wanted
    shown = [f"{name} ({count:,})" for name, count in counts.items()]
    raise CatalogError(
        f"no product is {wanted!r}" if counts else "no status of the products is said",
        where=where,
        details=[f"statuses: {listed(shown)}"] if shown else [],
        fix=f"--status {next(iter(counts))}, or leave it out" if counts else "leave out --status",
    )


def status_note(status: StatusCounts, num_products: int) -> str:
    """How many products have which status, and which are read; "" where there is none to say."""
    others = {name: count for name, count in status.counts.items() if name != status.wanted}
    shown = listed([f"{count:,} {name}" for name, count in others.items()])
    if status.wanted is not None:
        unknown = status.num_left_out - sum(others.values())
        blank = f"{', ' * bool(shown)}{unknown:,} without a status" if unknown else ""
        kept = status.counts[status.wanted]
        left_out = f"; left out: {shown}{blank}" if status.num_left_out else ""
        return f"--status {status.wanted}: {kept:,} of {counted(num_products, 'product')}{left_out}"
    if len(others) < 2:
        return ""
    return f"status of the products: {shown} (--status {next(iter(others))} reads those alone)"
