"""Whether products are for sale: the platforms' words for it as one vocabulary, and a filter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from shopsight.errors import CatalogError
from shopsight.exports.products import Products
from shopsight.exports.profiles import Profile
from shopsight.text import counted, listed


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
    known = "status" in products.table.columns
    values = products.table["status"].drop_nulls() if known else pl.Series([], dtype=pl.String)
    counts = dict(values.value_counts(sort=True).iter_rows())
    if wanted is None:
        return products, StatusCounts(counts)
    wanted = wanted.strip().lower()
    if wanted not in counts:
        shown = [f"{name} ({count:,})" for name, count in counts.items()]
        raise CatalogError(
            f"no product is {wanted!r}" if counts else "the export says no status of its products",
            where=where,
            details=[f"statuses: {listed(shown)}"] if shown else [],
            fix=f"--status {next(iter(counts))}, or leave it out" if counts else "no --status",
        )
    kept = products.take(pl.col("status") == wanted)
    left_out = len(products.table) - len(kept.table)
    return kept, StatusCounts(counts, wanted, left_out)


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
