"""Audit: read every image once, and list what would corrupt a score."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from shopsight.audit.audit import REPORT_FILES, AuditReport
from shopsight.audit.audit import audit as audit_catalog
from shopsight.audit.findings import KINDS, FindingKind, check_kinds
from shopsight.audit.gate import FIXABLE
from shopsight.audit.row_decisions import check_decisions, dropped_rows
from shopsight.audit.verdict import check_fail_on
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.used_boxes import FOR_AUDIT, as_whole_images
from shopsight.datasets.data_access import say_how_to_fetch
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_among_images
from shopsight.errors import ConfigError
from shopsight.image_rules.read_rules import read_rule_sets
from shopsight.output_locks import only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import counted

FINDING_KINDS: Mapping[str, FindingKind] = KINDS
"""What an audit can find, errors first."""
FIXABLE_KINDS: Collection[str] = FIXABLE
"""The kinds that `train(exclude=...)` fixes by leaving images out."""


def audit(
    data: str | Path | Catalog,
    *,
    read: ReadOptions | None = None,
    boxes: bool = False,
    out: str | Path | None = None,
    threads: int | None = None,
    accept: Collection[str] = (),
    fail_on: Collection[str] = (),
    decisions: str | Path | None = None,
    rules: str | None = None,
    rules_date: datetime.date | str | None = None,
) -> AuditReport:
    """Read every image once and list what would corrupt a score.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        read: how DATA is read; None guesses everything.
        boxes: rows are about the parts of images in their boxes, as training with `framing.boxes`
            sees them; without, rows of one photo are copies of it.
        out: the folder for audit.html, findings.csv and audit.json; None writes nothing.
        threads: None is one per core.
        accept: kinds of findings that do not fail the audit; they stay listed.
        fail_on: kinds of findings, or "warning", that fail it beside errors; see
            `AuditReport.verdict`.
        decisions: a CSV such as that of `duplicates`; rows that it marks drop are not audited.
        rules: measure the images by the rules of marketplaces: "google", "amazon", a TOML file, or
            several joined by "+"; None measures nothing.
        rules_date: the day whose rules they are, such as "2027-01-31"; None is the day when all
            rules that are known are in force.

    Raises:
        ConfigError: a kind does not exist, the decisions do not fit DATA, or the rules or their
            date cannot be used.
        CatalogError: DATA cannot be read as images with labels.
        WriteError: `out` cannot be written, or is the folder of the images.
        LockedError: another process writes `out`.
    """
    check_kinds("--accept", accept, KINDS)
    check_fail_on(fail_on)
    rule_sets = () if rules is None else read_rule_sets(rules)
    date = _date(rules_date)
    if date is not None and rules is None:
        raise ConfigError("--rules-date needs --rules", fix="--rules google")
    if out is not None:
        check_output_path(Path(out), reserve=1 + max(map(len, REPORT_FILES)))
    if decisions is not None:
        check_decisions(decisions)
    catalog = open_catalog(data, read)
    say_how_to_fetch(catalog, "CATALOG" if isinstance(data, Catalog) else str(data))
    if decisions is not None:
        catalog = _without_dropped(catalog, decisions)
    if not boxes:
        catalog = as_whole_images(catalog, FOR_AUDIT)
    if out is not None:
        refuse_output_among_images(catalog, out)
    with nullcontext() if out is None else only_writer_of_folder(out):
        report = replace(
            audit_catalog(catalog, threads=threads, rules=rule_sets, rules_date=date),
            fail_on=tuple(fail_on),
            accept=tuple(accept),
        )
        if out is not None:
            report.write(out)
    return report


def _date(given: datetime.date | str | None) -> datetime.date | None:
    if not isinstance(given, str):
        return given
    try:
        return datetime.date.fromisoformat(given)
    except ValueError as error:
        raise ConfigError(
            f"--rules-date: {given!r} is no date", fix="--rules-date 2027-01-31"
        ) from error


def _without_dropped(catalog: Catalog, decisions: str | Path) -> Catalog:
    dropped = dropped_rows(decisions, catalog)
    notify(
        f"left out {int(dropped.sum()):,} of {counted(len(catalog), 'image')}, as {decisions} says"
    )
    return catalog.take(np.flatnonzero(~dropped))
