"""A catalog that passed the audit, with what the audit learned about each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.linked_rows import linked_rows
from shopsight.errors import CatalogError
from shopsight.metrics.families import Families
from shopsight.runs.run_access import is_own_catalog, run_access

SHA256, DUPLICATE_GROUP = "sha256", "duplicate_group"


@dataclass(frozen=True, eq=False)
class AuditedCatalog:
    """The images that training uses.

    Attributes:
        catalog: the images that the audit let pass, n rows; without columns for the two below.
        sha256: per row, the hash (hex) of the file's bytes.
        duplicate_group: per row, a number equal within a family of equal files and near
            duplicates; such a family must not straddle a split.
    """

    catalog: Catalog
    sha256: pl.Series
    duplicate_group: Int64[np.ndarray, "n"]

    def __post_init__(self) -> None:
        assert len(self.catalog) == len(self.sha256) == len(self.duplicate_group)

    def __len__(self) -> int:
        return len(self.catalog)

    def with_catalog(self, catalog: Catalog) -> AuditedCatalog:
        """The same rows in the same order, with other columns: a split, folds."""
        return replace(self, catalog=catalog)

    def take(self, rows: Sequence[int] | Int64[np.ndarray, "m"]) -> AuditedCatalog:
        """These rows, in this order."""
        index = np.asarray(rows, np.int64)
        return AuditedCatalog(
            self.catalog.take(index),
            self.sha256[index],
            self.duplicate_group[index],
        )

    def families(self) -> Families:
        """Which images vary together: those of a group, and copies of one another."""
        links = [pl.Series(self.duplicate_group)]
        if self.catalog.has("group"):
            links.append(self.catalog.table["group"])
        return linked_rows(len(self), links)

    def write(self, path: Path | str) -> None:
        """Write as one Parquet file that `AuditedCatalog.read` and `Catalog.read` both read."""
        table = self.catalog.table.with_columns(
            self.sha256.alias(SHA256), pl.Series(DUPLICATE_GROUP, self.duplicate_group)
        )
        self.catalog.with_table(table).write(path)

    @classmethod
    def read(cls, path: Path | str) -> AuditedCatalog:
        """Read what `write` wrote; its `access` is by `shopsight.runs.run_access`.

        Raises:
            CatalogError: the file is missing, or holds no audited catalog.
        """
        catalog = Catalog.read(path, with_access=True)
        is_own = is_own_catalog(Path(path), catalog.table["image"])
        catalog = replace(catalog, access=run_access().of(catalog.access, is_own=is_own))
        missing = [name for name in (SHA256, DUPLICATE_GROUP) if name not in catalog.table.columns]
        if missing:
            raise CatalogError(
                f"is not the catalog of a run: it has no column {' and no column '.join(missing)}",
                where=str(path),
                fix="shopsight train DATA --out RUN writes one",
            )
        return cls(
            catalog.with_table(catalog.table.drop(SHA256, DUPLICATE_GROUP)),
            catalog.table[SHA256],
            catalog.table[DUPLICATE_GROUP].to_numpy().astype(np.int64),
        )
