"""The audit: reads every file once and finds what would corrupt a score, by name."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64, UInt8

from shopsight.audit.audit_data import AuditData, Check
from shopsight.audit.check_classes import check_classes
from shopsight.audit.check_duplicates import (
    check_exact_duplicates,
    check_group_leaks,
    check_near_duplicates,
    copy_rows,
    duplicate_group_ids,
    near_edges,
)
from shopsight.audit.check_files import check_files
from shopsight.audit.check_labels import check_labels, label_counts
from shopsight.audit.check_rules import RULE_FILES, rule_findings, rule_sections, write_rule_files
from shopsight.audit.class_counts import (
    USED,
    ShownClasses,
    class_table,
    leave_out_reasons,
    shown_classes,
)
from shopsight.audit.file_info import inspect_catalog
from shopsight.audit.findings import HEADLINE_KINDS, KINDS, Finding
from shopsight.audit.inspect_file import STATUSES
from shopsight.audit.near_duplicates import MOST_IN_GROUP
from shopsight.audit.page import SHOWN_IMAGES, write_audit_page
from shopsight.audit.row_verdict import with_box_verdicts
from shopsight.audit.statistics import AuditStatistics, audit_statistics
from shopsight.audit.verdict import Verdict
from shopsight.catalog.catalog import Catalog
from shopsight.errors import SHOWN_DETAILS
from shopsight.files import atomic_file, write_json
from shopsight.image_rules.image_facts import image_facts
from shopsight.image_rules.judge import RulesReport, judge
from shopsight.image_rules.rule_set import RuleSet, last_start
from shopsight.spreadsheets import for_reading
from shopsight.text import counted, human_bytes

CHECKS: tuple[Check, ...] = (
    check_exact_duplicates,
    check_near_duplicates,
    check_group_leaks,
    check_files,
    check_classes,
    check_labels,
)
"""The checks that an audit makes."""

FINDINGS_FILE, SUMMARY_FILE, PAGE_FILE = "findings.csv", "audit.json", "audit.html"
CROWDS_FILE = "crowds.csv"
REPORT_FILES = (FINDINGS_FILE, SUMMARY_FILE, PAGE_FILE, CROWDS_FILE, *RULE_FILES)
"""What `AuditReport.write` writes: crowds where there are any, the last ones where rules are."""

# audit.json has this many findings of each kind; findings.csv has them all.
_JSON_FINDINGS_PER_KIND = 200


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What the audit found.

    Attributes:
        catalog: the audited images.
        files: one line per row of the catalog, in order, with the columns `image` and, as
            `FileInfo` explains them, `status`, `reason`, `problem`, `format`, `width`, `height`,
            `bytes`, `sha256`, `contrast`.
        thumbs: thumbnail of each row, see `shopsight.images.thumbnails`; zeros where there is none.
        classes: images of each class, in all and in each part, see `class_counts.class_table`.
        findings: errors first.
        duplicate_group: an id for each row, equal within a group of equal files and near
            duplicates.
        statistics: the counts.
        fail_on: severities and kinds that fail the audit beside errors.
        accept: kinds that do not fail it.
        rules: what rules about images say; None where none were given.
    """

    catalog: Catalog
    files: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    classes: pl.DataFrame
    findings: tuple[Finding, ...]
    duplicate_group: Int64[np.ndarray, "n"]
    statistics: AuditStatistics
    fail_on: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    rules: RulesReport | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the audit fails, and by what."""
        return Verdict.of(self.counts, fail_on=self.fail_on, accept=self.accept)

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """Findings that would corrupt a score."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Number of findings of each kind that was found, errors first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def lines(self) -> list[str]:
        """The summary for a terminal: the counts, then one line for each kind of finding."""
        stats = self.statistics
        states = [f"{getattr(stats, f'num_{status}'):,} {status}" for status in STATUSES]
        sizes = ""
        if stats.width is not None and stats.height is not None:
            sizes = f", median {stats.width.median_px} x {stats.height.median_px} px"
        lines = [
            f"{counted(stats.num_rows, 'row')}: {', '.join(states)}",
            f"{human_bytes(stats.total_bytes)}{sizes}; {counted(self.classes.height, 'class')}, "
            f"duplicate groups: {stats.num_duplicate_groups:,}, "
            f"files without a row: {stats.num_unlisted:,}",
        ]
        lines += self._class_lines()
        lines += [
            f"{KINDS[kind].severity}: {KINDS[kind].title.lower()}: {count:,}"
            for kind, count in self.counts.items()
        ]
        return lines

    def _class_lines(self) -> list[str]:
        """How many images a class has; empty without labels."""
        used = self.classes[USED].to_list()
        if not used:
            return []
        images = f"{used[-1]:,} to {used[0]:,}" if used[-1] < used[0] else f"{used[0]:,}"
        return [f"images per class: {images}; without a label: {self.statistics.num_unlabeled:,}"]

    def headlines(
        self, *, kinds: Collection[str] = HEADLINE_KINDS, most: int = SHOWN_DETAILS
    ) -> list[str]:
        """Findings about no single image, in their words; the first few of each kind."""
        lines = [] if self.rules is None else self.rules.headlines()
        for kind in (kind for kind in self.counts if kind in kinds):
            about = [f for f in self.findings if f.kind == kind and not f.image]
            lines += [f"{kind}: {finding.detail}" for finding in about[:most]]
            lines += [f"{kind}: {len(about):,} in all"] * (len(about) > most)
        return lines

    def shown_classes(self, *, most: int) -> ShownClasses | None:
        """The table of classes for a terminal, see `class_counts.shown_classes`."""
        return shown_classes(self.classes, most=most)

    def to_json(self) -> dict[str, Any]:
        """The content of audit.json: counts, statistics, and the first findings of each kind."""
        kept: Counter[str] = Counter()
        findings = []
        for finding in self.findings:
            kept[finding.kind] += 1
            if kept[finding.kind] <= _JSON_FINDINGS_PER_KIND:
                findings.append(finding.to_json())
        return {
            "name": self.catalog.name,
            "synthetic": self.catalog.synthetic,
            "fingerprint": self.catalog.fingerprint(),
            "notes": list(self.catalog.notes),
            "blocking": len(self.blocking),
            "counts": dict(self.counts),
            "verdict": self.verdict.to_json(),
            "statistics": asdict(self.statistics),
            "classes": self.classes.to_dicts(),
            "findings": findings,
            **({} if self.rules is None else {"rules": self.rules.to_json()}),
        }

    def findings_table(self) -> pl.DataFrame:
        """All findings, with the columns kind, severity, image, other, detail."""
        columns = ("kind", "severity", "image", "other", "detail")
        return pl.DataFrame(
            {name: [getattr(finding, name) for finding in self.findings] for name in columns},
            schema=dict.fromkeys(columns, pl.String),
        )

    def crowds_table(self) -> pl.DataFrame:
        """The images of each crowd, which is one finding: the columns crowd, image, sha256.

        A crowd is a duplicate group of more than `MOST_IN_GROUP` images; the largest comes first.
        """
        group = pl.Series("group", self.duplicate_group)
        members = self.files.select("image", "sha256").with_columns(group, pl.len().over(group))
        crowds = members.filter(pl.col("len") > MOST_IN_GROUP)
        crowds = crowds.sort("len", "group", descending=[True, False], maintain_order=True)
        return crowds.select(pl.col("group").rle_id().alias("crowd") + 1, "image", "sha256")

    def write(self, folder: Path | str) -> None:
        """Write audit.html, findings.csv and audit.json into `folder`, and crowds.csv."""
        folder = Path(folder)
        crowds = self.crowds_table()
        if len(crowds) or (folder / CROWDS_FILE).exists():
            with atomic_file(folder / CROWDS_FILE) as part:
                for_reading(crowds).write_csv(part)
        with atomic_file(folder / FINDINGS_FILE) as part:
            for_reading(self.findings_table()).write_csv(part)
        write_json(folder / SUMMARY_FILE, self.to_json())
        if self.rules is not None:
            write_rule_files(folder, self.rules, self.catalog)
        write_audit_page(
            folder / PAGE_FILE,
            catalog=self.catalog,
            findings=self.findings,
            statistics=self.statistics,
            classes=self.classes,
            verdict=self.verdict,
            rule_lines=() if self.rules is None else self.rules.headlines(),
            rule_sections=()
            if self.rules is None
            else rule_sections(self.rules, most=SHOWN_IMAGES),
        )


def audit(
    catalog: Catalog,
    *,
    threads: int | None = None,
    remember: bool = True,
    checks: Sequence[Check] = CHECKS,
    rules: Sequence[RuleSet] = (),
    rules_date: datetime.date | None = None,
) -> AuditReport:
    """Read every file once, and find what would corrupt a score and what else is wrong.

    Args:
        catalog: the images.
        threads: number of threads that read files; None takes one per core.
        remember: keep what was learned of each file in the cache folder, so that the next audit
            reads only files that changed.
        checks: the checks to make.
        rules: rules about images to measure and judge by; without any, nothing is measured.
        rules_date: the day whose rules they are; None is the day when all of them are in force.
    """
    inspected = inspect_catalog(catalog, threads=threads, remember=remember, measured=bool(rules))
    files = with_box_verdicts(inspected.files, catalog.boxes())
    files = files.insert_column(0, catalog.table["image"])
    classes = class_table(catalog, leave_out_reasons(files))
    usable = files["status"].is_in(["ok", "damaged"])
    copies = copy_rows(catalog, files)
    data = AuditData(
        catalog=catalog,
        files=files,
        thumbs=inspected.thumbs,
        has_thumb=inspected.has_thumb,
        images_per_class=label_counts(catalog, usable),
        classes=classes,
        copies=copies,
        near_duplicates=near_edges(
            copies, inspected.thumbs, usable & pl.Series(inspected.has_thumb)
        ),
    )
    duplicate_group = duplicate_group_ids(copies, data.near_duplicates)
    judged = _judged(catalog, files, inspected.measures, rules, rules_date)
    findings = [finding for check in checks for finding in check(data)]
    if judged is not None:
        findings += rule_findings(judged)
    return AuditReport(
        catalog=catalog,
        files=files,
        thumbs=inspected.thumbs,
        classes=classes,
        findings=_ordered(findings),
        duplicate_group=duplicate_group,
        statistics=audit_statistics(
            catalog,
            files,
            images_per_class=data.images_per_class,
            duplicate_group=duplicate_group,
        ),
        rules=judged,
    )


def _judged(
    catalog: Catalog,
    files: pl.DataFrame,
    measures: pl.DataFrame | None,
    rules: Sequence[RuleSet],
    date: datetime.date | None,
) -> RulesReport | None:
    if measures is None:
        return None
    return judge(
        image_facts(catalog, files, measures),
        rules,
        date=date or last_start(rules, datetime.date.today()),
        has_products=catalog.has("group"),
    )


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """By kind in the order of `KINDS`, errors first, then by row."""
    position = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda finding: (position[finding.kind], finding.row)))
