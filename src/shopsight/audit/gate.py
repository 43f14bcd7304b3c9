"""The gate between audit and training: excludes bad files by name, refuses leaks and conflicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.audit.audit import AuditReport
from shopsight.audit.check_classes import lost_classes, single_class, untrained_classes
from shopsight.audit.check_duplicates import copy_rows
from shopsight.audit.class_counts import (
    LABEL,
    USED_REASON,
    class_table,
    label_pairs,
    leave_out_reasons,
)
from shopsight.audit.findings import (
    BLOCKING_KINDS,
    KINDS,
    UNTRAINABLE_KINDS,
    Finding,
    check_kinds,
)
from shopsight.audit.inspect_file import STATUSES
from shopsight.audit.row_decisions import check_decisions
from shopsight.audit.verdict import check_fail_on, failing_kinds
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import held_out_labels
from shopsight.errors import SHOWN_DETAILS, AuditError
from shopsight.text import counted

# The columns of `copy_rows` that such a finding is about: within a group of rows that agree in the
# first, there must be one value of the second.
_GROUP_AND_VALUE = {
    "split-leak": ("duplicate_group", "split"),
    "group-leak": ("group", "split"),
    "label-conflict": ("crop", "label"),
}
CLASS_KINDS = ("lost-class", "untrained-class")
FIXABLE = frozenset([*_GROUP_AND_VALUE, *CLASS_KINDS])
"""Kinds of findings that excluding files fixes: `--exclude` takes them."""

ACCEPTABLE = frozenset(KINDS) - UNTRAINABLE_KINDS
"""Kinds of findings that training can accept: `--accept` takes them."""

DROPPED_REASON = "decided to drop"
"""Why a row is left out that a list of decisions marks so."""

# An image in several splits stays in the first of these: the test set must not change.
_SPLIT_PRIORITY = {"test": 0, "val": 1, "train": 2}


@dataclass(frozen=True, eq=False)
class Gate:
    """The rows that training may use: `len(catalog) + excluded.height == len(report.catalog)`.

    Attributes:
        catalog: the rows that stay, in order.
        rows: their indices in the audited catalog.
        excluded: the other rows, with columns `image` and `reason`.
        lost_classes: one line for each class that lost its files, or too many, all the same.
        report: the audit.
    """

    catalog: Catalog
    rows: Int64[np.ndarray, "m"]
    excluded: pl.DataFrame
    lost_classes: tuple[str, ...]
    report: AuditReport

    def notes(self) -> list[str]:
        """What was left out, by reason, and the classes that lost their files."""
        if self.excluded.is_empty():
            return []
        reasons = self.excluded["reason"].str.split(": ").list.first()
        counts = reasons.value_counts(name="count").sort(
            "count", "reason", descending=[True, False]
        )
        why = ", ".join(f"{count:,} {reason}" for reason, count in counts.iter_rows())
        whole = len(self.catalog) + self.excluded.height
        return [
            f"left out {self.excluded.height:,} of {counted(whole, 'image')}: {why}",
            *(f"lost-class: {line}" for line in self.lost_classes[:SHOWN_DETAILS]),
            *[f"lost-class: {len(self.lost_classes):,} in all"]
            * (len(self.lost_classes) > SHOWN_DETAILS),
        ]


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """What the user decided about findings, before the audit of a training.

    Attributes:
        accept: kinds to train in spite of.
        exclude: kinds to fix by leaving images out.
        fail_on: severities and kinds that stop training beside errors.
        decisions: a CSV of rows to leave out, see `row_decisions`; None leaves out none.

    Raises:
        ConfigError: a kind that does not exist, or that cannot be accepted or excluded; or no list
            of decisions.
    """

    accept: Collection[str] = ()
    exclude: Collection[str] = ()
    fail_on: Collection[str] = ()
    decisions: Path | None = None

    def __post_init__(self) -> None:
        hopeless = sorted(UNTRAINABLE_KINDS & set(self.accept))
        why = ": there is no model of such data" if hopeless else ""
        check_kinds("--accept", hopeless or self.accept, ACCEPTABLE, why=why)
        check_kinds("--exclude", self.exclude, FIXABLE)
        check_fail_on(self.fail_on)
        if self.decisions is not None:
            check_decisions(self.decisions)


def gate(
    catalog: Catalog,
    report: AuditReport,
    *,
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
    fail_on: Collection[str] = (),
    dropped: Bool[np.ndarray, "n"] | None = None,
) -> Gate:
    """Exclude files that cannot be used, and refuse what would corrupt a score.

    Args:
        catalog: the images.
        report: the audit of this very catalog.
        accept: kinds of findings that do not stop training; "damaged" keeps damaged files.
        exclude: kinds of findings to fix by excluding files: "split-leak" and "group-leak" exclude
            the copies that are not in the test (or else validation) set, "label-conflict" all
            copies, "lost-class" and "untrained-class" all that is left of such classes.
        fail_on: severities and kinds that stop training beside errors, see
            `verdict.failing_kinds`.
        dropped: rows that somebody decided to leave out; None is none.

    Raises:
        AuditError: a blocking kind is neither accepted nor excluded, or no row stays.
        ConfigError: a kind that does not exist, or cannot be excluded.
    """
    assert len(catalog) == len(report.files), "the report is about another catalog"
    check_kinds("--accept", accept, KINDS)
    check_kinds("--exclude", exclude, FIXABLE)
    check_fail_on(fail_on)
    _refuse_most_missing(report, accept)
    reasons = leave_out_reasons(report.files, keep_damaged="damaged" in accept)
    if dropped is not None:
        # Before findings are fixed: what is left out leaks nowhere.
        usable = pl.Series(dropped) & (reasons == USED_REASON)
        reasons = reasons.scatter(usable.arg_true(), DROPPED_REASON)
    for kind in (kind for kind in KINDS if kind in exclude):
        reasons = reasons.scatter(_offending(kind, report, reasons), kind)
    kept = reasons == USED_REASON
    if len(catalog) and not kept.any():
        raise AuditError(
            f"none of {len(catalog)} images can be used",
            where=catalog.name,
            details=[f"{f.image}: {f.detail}" for f in report.findings if f.detail],
        )
    # Whoever excludes the lost classes knows of them, also where no file of one is left.
    settled = {*accept, *({"lost-class"} & set(exclude))}
    _refuse(report, [kind for kind in KINDS if kind in FIXABLE - settled], reasons)
    _refuse_asked(report, set(failing_kinds(fail_on, accept)) - BLOCKING_KINDS)
    if "one-class" not in accept:
        refuse_one_class(catalog, reasons)
    rows = kept.arg_true().to_numpy().astype(np.int64)
    lost = [finding.detail for finding in _class_findings("lost-class", report, reasons).values()]
    return Gate(catalog.take(rows), rows, _excluded(report, reasons), tuple(lost), report)


def refuse_one_class(catalog: Catalog, reasons: pl.Series | None = None) -> None:
    """Refuse images that all have the same label.

    Args:
        catalog: the images.
        reasons: for each row why it is left out; None leaves out none.

    Raises:
        AuditError: a model of them would be right whatever it answers.
    """
    if reasons is None:
        reasons = pl.Series([USED_REASON] * len(catalog), dtype=pl.String)
    for finding in single_class(catalog, reasons):
        raise AuditError(
            f"there is only one class to learn: {finding.detail}",
            where=catalog.name,
            fix="give images of a second class: another folder beside it, another --label COLUMN, "
            "or less that --drop, --label-map or --exclude take away",
        )


_FIX_OF_MISSING = {
    "most-missing": "--images-root FOLDER names the folder of the images (a named data set also "
    "takes --root); or train on the other images with --accept most-missing",
    "unreachable": "run the same command again when the host answers; or train on the other images "
    "with --accept unreachable",
}


def _refuse_most_missing(report: AuditReport, accept: Collection[str]) -> None:
    for kind, fix in _FIX_OF_MISSING.items():
        details = [finding.detail for finding in report.findings if finding.kind == kind]
        if details and kind not in accept:
            first, *others = details
            lost = " --accept lost-class" * ("lost-class" in report.counts)
            raise AuditError(first, where=report.catalog.name, details=others, fix=fix + lost)


def _offending(kind: str, report: AuditReport, reasons: pl.Series) -> list[int]:
    """Rows to exclude so that no finding of this kind remains among the rows kept."""
    kept = reasons == USED_REASON
    if kind in CLASS_KINDS:
        labels = list(_class_findings(kind, report, reasons))
        pairs = label_pairs(report.catalog, kept=kept)
        hit = pairs.filter(pl.col("kept") & pl.col(LABEL).is_in(labels))
        return hit["row"].unique().sort().to_list()
    rows = copy_rows(report.catalog, report.files).with_columns(
        duplicate_group=pl.Series(report.duplicate_group), kept=kept
    )
    group, value = _GROUP_AND_VALUE[kind]
    rows = rows.filter(
        pl.col("kept") & pl.col(group).is_not_null() & pl.col(value).is_not_null()
    ).filter(pl.col(value).n_unique().over(group) > 1)
    if value == "split":
        rank = pl.col("split").replace_strict(_SPLIT_PRIORITY, return_dtype=pl.Int8)
        rows = rows.filter(rank > rank.min().over(group))
    return rows["row"].to_list()


def _class_findings(kind: str, report: AuditReport, reasons: pl.Series) -> dict[str, Finding]:
    """The findings of a kind about classes, by label, among the rows that stay."""
    if kind == "untrained-class":
        classes = class_table(report.catalog, reasons)
        return dict(untrained_classes(classes, held_out_labels(report.catalog)))
    return dict(lost_classes(report.catalog, reasons, report.files["problem"]))


def _refuse(report: AuditReport, kinds: Sequence[str], reasons: pl.Series) -> None:
    """Raise when findings of these kinds remain among the rows kept."""
    found: dict[str, list[str]] = {}
    for kind in kinds:
        if kind in CLASS_KINDS:
            about = [f.detail for f in _class_findings(kind, report, reasons).values()]
        elif _offending(kind, report, reasons):
            pairs = [f for f in report.findings if f.kind == kind]
            about = [f"{f.image} and {f.other} ({f.detail})" for f in pairs]
        else:
            about = []
        if about:
            found[kind] = [f"{kind}: {line}" for line in about]
    if found:
        raise AuditError(
            "the audit found what would corrupt a score: "
            + ", ".join(f"{len(lines):,} x {kind}" for kind, lines in found.items()),
            where=report.catalog.name,
            details=_first_of_each(found),
            fix=_ways_on(list(found)),
        )


def _first_of_each(found: Mapping[str, Sequence[str]]) -> list[str]:
    """All lines, the first of each kind first: an error shows only a few."""
    return [line for line in chain(*zip_longest(*found.values())) if line is not None]


def _ways_on(kinds: Sequence[str]) -> str:
    excluding, accepting = (
        " ".join(f"{flag} {kind}" for kind in kinds if kind in known)
        for flag, known in (("--exclude", FIXABLE), ("--accept", ACCEPTABLE))
    )
    if not accepting:
        return f"fix the data, or exclude the files with {excluding}"
    return (
        f"fix the data, exclude the files with {excluding}, or accept the finding with {accepting}"
    )


def _refuse_asked(report: AuditReport, kinds: Collection[str]) -> None:
    """Raise when the audit found what only `--fail-on` makes serious."""
    found = {kind: number for kind, number in report.counts.items() if kind in kinds}
    if found:
        raise AuditError(
            "the audit found what --fail-on refuses: "
            + ", ".join(f"{number:,} x {kind}" for kind, number in found.items()),
            where=report.catalog.name,
            details=[
                f"{f.kind}: {f.image or f.detail}" for f in report.findings if f.kind in found
            ],
            fix="fix the data, or accept the finding with "
            + " ".join(f"--accept {kind}" for kind in found),
        )


def _excluded(report: AuditReport, reasons: pl.Series) -> pl.DataFrame:
    """The rows that do not stay: `image`, and `reason` with what is wrong with the file."""
    problem = report.files["problem"]
    return pl.DataFrame(
        {
            "image": report.catalog.table["image"],
            "reason": pl.select(
                pl.when(reasons.is_in(STATUSES))
                .then(pl.concat_str(reasons, problem, separator=": "))
                .otherwise(reasons)
            ).to_series(),
        }
    ).filter(reasons != USED_REASON)
