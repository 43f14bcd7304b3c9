"""An audited catalog survives its file, and refuses one without the audit's facts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder


def some(count: int = 4) -> AuditedCatalog:
    table = pl.DataFrame(
        {"image": [f"{row}.jpg" for row in range(count)], "label": ["hat", "shoe"] * (count // 2)}
    )
    sha256 = pl.Series([f"{row}" * 64 for row in range(count)])
    return AuditedCatalog(Catalog(table, name="shop"), sha256, np.arange(count) // 2)


def test_the_file_gives_it_back(tmp_path: Path) -> None:
    audited = some()
    audited.write(tmp_path / "catalog.parquet")
    back = AuditedCatalog.read(tmp_path / "catalog.parquet")
    assert back.catalog.table.equals(audited.catalog.table)
    assert back.catalog.fingerprint() == audited.catalog.fingerprint()
    assert back.sha256.to_list() == audited.sha256.to_list()
    assert back.duplicate_group.tolist() == [0, 0, 1, 1]
    # Readers of plain catalogs see the facts as two more columns.
    plain = Catalog.read(tmp_path / "catalog.parquet")
    assert plain.table.columns == ["image", "label", "sha256", "duplicate_group"]


def test_rows_keep_their_facts() -> None:
    taken = some().take([3, 0])
    assert taken.catalog.table["image"].to_list() == ["3.jpg", "0.jpg"]
    assert taken.sha256.to_list() == ["3" * 64, "0" * 64]
    assert taken.duplicate_group.tolist() == [1, 0]


def test_facts_of_other_rows_are_refused() -> None:
    audited = some()
    with pytest.raises(AssertionError):
        audited.with_catalog(audited.catalog.take([0]))


def test_a_catalog_without_facts_is_refused(tmp_path: Path) -> None:
    some().catalog.write(tmp_path / "catalog.parquet")
    with pytest.raises(CatalogError, match="no column sha256 and no column duplicate_group"):
        AuditedCatalog.read(tmp_path / "catalog.parquet")


def test_a_run_has_the_hashes_of_its_files(tiny_run: Path) -> None:
    audited = RunFolder(tiny_run).audited_catalog()
    hashes = [hashlib.sha256(Path(ref).read_bytes()).hexdigest() for ref in audited.catalog.refs()]
    assert audited.sha256.to_list() == hashes
    assert "sha256" not in audited.catalog.table.columns
