"""The audit: one look at every file, and all that would corrupt a score, told by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64, UInt8

from shopsight.audit.check_duplicates import (
    copy_rows,
    duplicate_group_ids,
    exact_faults,
    group_faults,
    near_edges,
    near_faults,
)
from shopsight.audit.check_files import check_files
from shopsight.audit.check_labels import label_counts, label_faults
from shopsight.audit.file_info import STATUSES, file_info_path, inspect_all
from shopsight.audit.findings import KINDS, Finding
from shopsight.audit.page import write_audit_page
from shopsight.audit.statistics import AuditStatistics, audit_statistics
from shopsight.catalog.catalog import Catalog
from shopsight.files import atomic_file, cache_folder, human_bytes, write_json

# audit.json names this many findings of each kind; findings.csv has them all.
_FINDINGS_OF_A_KIND_IN_JSON = 200


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What the audit found.

    Attributes:
        catalog: what was looked at.
        files: one line per row, in order: image, status ("ok", "damaged", "unreadable",
            "missing"), reason, problem, format, width, height, bytes, sha256, contrast.
        thumbs: one per row, zeros where the image is not compared by likeness; see `thumbs`.
        findings: errors first.
        twins: an id per row, equal within a family of equal files and near duplicates.
    """

    catalog: Catalog
    files: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    findings: tuple[Finding, ...]
    duplicate_group: Int64[np.ndarray, "n"]
    statistics: AuditStatistics

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """Findings that would corrupt a score."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def bad_rows(self) -> Int64[np.ndarray, "m"]:
        """Rows whose file is missing, unreadable or damaged."""
        return np.flatnonzero((self.files["status"] != "ok").to_numpy()).astype(np.int64)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Findings of each kind that was found, errors first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def lines(self) -> list[str]:
        """The summary for a terminal: what was looked at, then one line for each kind."""
        stats = self.statistics
        bad = [f"{getattr(stats, status):,} {status}" for status in STATUSES if status != "ok"]
        sizes = ""
        if stats.width is not None and stats.height is not None:
            sizes = f", {stats.width.median} x {stats.height.median} px in the median"
        lines = [
            f"{stats.rows:,} rows: {stats.ok:,} ok, {', '.join(bad)}",
            f"{human_bytes(stats.bytes)}{sizes}; {len(stats.classes):,} classes, "
            f"duplicate groups: {stats.duplicate_groups:,}, "
            f"files without a row: {stats.unlisted:,}",
        ]
        lines += [
            f"{KINDS[kind].severity}: {KINDS[kind].title.lower()}: {count:,}"
            for kind, count in self.counts.items()
        ]
        return lines

    def to_json(self) -> dict[str, Any]:
        kept: Counter[str] = Counter()
        findings = []
        for finding in self.findings:
            kept[finding.kind] += 1
            if kept[finding.kind] <= _FINDINGS_OF_A_KIND_IN_JSON:
                findings.append(finding.to_json())
        return {
            "name": self.catalog.name,
            "synthetic": self.catalog.synthetic,
            "fingerprint": self.catalog.fingerprint(),
            "notes": list(self.catalog.notes),
            "blocking": len(self.blocking),
            "counts": dict(self.counts),
            "statistics": asdict(self.statistics),
            "findings": findings,
        }

    def findings_table(self) -> pl.DataFrame:
        """All findings: kind, severity, image, other, detail."""
        columns = ("kind", "severity", "image", "other", "detail")
        return pl.DataFrame(
            {name: [getattr(finding, name) for finding in self.findings] for name in columns},
            schema=dict.fromkeys(columns, pl.String),
        )

    def write(self, folder: Path | str) -> None:
        """Write audit.html, findings.csv and audit.json into `folder`."""
        folder = Path(folder)
        with atomic_file(folder / "findings.csv") as part:
            self.findings_table().write_csv(part)
        write_json(folder / "audit.json", self.to_json())
        write_audit_page(
            folder / "audit.html",
            catalog=self.catalog,
            findings=self.findings,
            statistics=self.statistics,
        )


def audit(catalog: Catalog, *, threads: int | None = None, remember: bool = True) -> AuditReport:
    """Read every file once and list what would corrupt a score, and what else is odd.

    Args:
        threads: None: one per core.
        remember: keep what was learned of each file in the cache folder, so that the next audit
            reads only files that changed.
    """
    refs = catalog.refs()
    kept = file_info_path(cache_folder(), str(Path(catalog.root).absolute())) if remember else None
    inspected = inspect_all(refs, threads=threads, kept=kept)
    files = inspected.files.insert_column(0, catalog.table["image"])
    usable = files["status"].is_in(["ok", "damaged"])
    classes = label_counts(catalog, usable)
    rows = copy_rows(catalog, files)
    edges = near_edges(rows, inspected.thumbs, usable & pl.Series(inspected.has_thumb))
    duplicate_group = duplicate_group_ids(rows, edges)
    findings = [
        *exact_faults(rows),
        *near_faults(rows, edges),
        *group_faults(rows),
        *check_files(catalog, files),
        *label_faults(catalog, classes),
    ]
    statistics = audit_statistics(catalog, files, classes=classes, duplicate_group=duplicate_group)
    return AuditReport(
        catalog, files, inspected.thumbs, _ordered(findings), duplicate_group, statistics
    )


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first: the kinds stand in that order."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda finding: (place[finding.kind], finding.row)))
