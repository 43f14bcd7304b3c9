"""Audit: read every image once, and list what would corrupt a score."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from shopsight.audit.audit import REPORT_FILES, AuditReport
from shopsight.audit.audit import audit as audit_catalog
from shopsight.audit.findings import KINDS, FindingKind
from shopsight.audit.gate import FIXABLE
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog, refuse_output_among_images
from shopsight.files import check_output_path
from shopsight.read_options import ReadOptions

FINDING_KINDS: Mapping[str, FindingKind] = KINDS
"""What an audit can find, errors first."""
FIXABLE_KINDS: Collection[str] = FIXABLE
"""The kinds that `train(exclude=...)` fixes by leaving images out."""


def audit(
    data: str | Path | Catalog,
    *,
    read: ReadOptions | None = None,
    out: str | Path | None = None,
    threads: int | None = None,
) -> AuditReport:
    """Read every image once and list what would corrupt a score.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        read: how DATA is read; None guesses everything.
        out: the folder for audit.html, findings.csv and audit.json; None writes nothing.
        threads: None is one per core.

    Raises:
        CatalogError: DATA cannot be read as images with labels.
        WriteError: `out` cannot be written, or is the folder of the images.
    """
    if out is not None:
        check_output_path(Path(out), reserve=1 + max(map(len, REPORT_FILES)))
    catalog = open_catalog(data, read)
    if out is not None:
        refuse_output_among_images(catalog, out)
    report = audit_catalog(catalog, threads=threads)
    if out is not None:
        report.write(out)
    return report
