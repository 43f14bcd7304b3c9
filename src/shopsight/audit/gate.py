"""The gate between audit and training: excludes bad files by name, refuses leaks and conflicts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.audit.audit import AuditReport
from shopsight.audit.check_duplicates import copy_rows
from shopsight.audit.findings import BLOCKING_KINDS, KINDS
from shopsight.catalog.catalog import Catalog
from shopsight.errors import AuditError, ConfigError

ACCEPTABLE = BLOCKING_KINDS | {"damaged"}
"""Kinds of findings that `--accept` takes."""

# The columns of `copy_rows` that such a finding is about: within a group of rows that agree in the
# first, there must be one value of the second.
_GROUP_AND_VALUE = {
    "split-leak": ("duplicate_group", "split"),
    "group-leak": ("group", "split"),
    "label-conflict": ("crop", "label"),
}
FIXABLE = frozenset(_GROUP_AND_VALUE)
"""Kinds of findings that excluding files fixes: `--exclude` takes them."""

# An image in several splits stays in the first of these: the test set must not change.
_SPLIT_PRIORITY = {"test": 0, "val": 1, "train": 2}


@dataclass(frozen=True, eq=False)
class Gate:
    """The rows that training may use: `len(catalog) + excluded.height == len(report.catalog)`.

    Attributes:
        catalog: the rows that stay, in order.
        rows: their indices in the audited catalog.
        excluded: the other rows, with columns `image` and `reason`.
        report: the audit.
    """

    catalog: Catalog
    rows: Int64[np.ndarray, "m"]
    excluded: pl.DataFrame
    report: AuditReport


def gate(
    catalog: Catalog,
    report: AuditReport,
    *,
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Gate:
    """Exclude files that cannot be used, and refuse what would corrupt a score.

    Args:
        catalog: the images.
        report: the audit of this very catalog.
        accept: kinds of findings that do not stop training; "damaged" keeps damaged files.
        exclude: kinds of findings to fix by excluding files: "split-leak" and "group-leak" exclude
            the copies that are not in the test (or else validation) set, "label-conflict" all
            copies.

    Raises:
        AuditError: a blocking kind is neither accepted nor excluded, or no row stays.
        ConfigError: a kind cannot be accepted or excluded.
    """
    assert len(catalog) == len(report.files), "the report is about another catalog"
    _check_kinds("--accept", accept, ACCEPTABLE)
    _check_kinds("--exclude", exclude, FIXABLE)
    _refuse_most_missing(report, accept)
    reasons = _bad_files(report, keep_damaged="damaged" in accept)
    for kind in (kind for kind in KINDS if kind in exclude):
        kept = np.array([not reason for reason in reasons], dtype=bool)
        for row in _offending(kind, report, kept):
            reasons[row] = kind
    kept = np.array([not reason for reason in reasons], dtype=bool)
    _refuse(report, [kind for kind in KINDS if kind in FIXABLE - set(accept)], kept)
    if len(catalog) and not kept.any():
        raise AuditError(
            f"none of {len(catalog)} images can be used",
            where=catalog.name,
            details=[f"{f.image}: {f.detail}" for f in report.findings if f.detail],
        )
    rows = np.flatnonzero(kept).astype(np.int64)
    excluded = pl.DataFrame(
        {"image": catalog.table["image"], "reason": pl.Series(reasons, dtype=pl.String)}
    ).filter(pl.col("reason") != "")
    return Gate(catalog.take(rows), rows, excluded, report)


def _check_kinds(flag: str, kinds: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        raise ConfigError(
            f"{flag} does not know {', '.join(unknown)}",
            fix=f"{flag} takes {', '.join(sorted(known))}",
        )


def _bad_files(report: AuditReport, *, keep_damaged: bool) -> list[str]:
    """For each row the reason to exclude it, empty where it stays."""
    return [
        "" if status == "ok" or (status == "damaged" and keep_damaged) else f"{status}: {problem}"
        for status, problem in report.files.select("status", "problem").iter_rows()
    ]


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
            raise AuditError(first, where=report.catalog.name, details=others, fix=fix)


def _offending(kind: str, report: AuditReport, kept: Bool[np.ndarray, "n"]) -> list[int]:
    """Rows to exclude so that no finding of this kind remains among the rows kept."""
    rows = copy_rows(report.catalog, report.files).with_columns(
        duplicate_group=pl.Series(report.duplicate_group), kept=pl.Series(kept)
    )
    group, value = _GROUP_AND_VALUE[kind]
    rows = rows.filter(
        pl.col("kept") & pl.col(group).is_not_null() & pl.col(value).is_not_null()
    ).filter(pl.col(value).n_unique().over(group) > 1)
    if value == "split":
        rank = pl.col("split").replace_strict(_SPLIT_PRIORITY, return_dtype=pl.Int8)
        rows = rows.filter(rank > rank.min().over(group))
    return rows["row"].to_list()


def _refuse(report: AuditReport, kinds: Sequence[str], kept: Bool[np.ndarray, "n"]) -> None:
    """Raise when findings of these kinds remain among the rows kept."""
    remaining = [kind for kind in kinds if _offending(kind, report, kept)]
    if not remaining:
        return
    shown = [finding for finding in report.findings if finding.kind in remaining]
    excluding, accepting = (
        " ".join(f"{flag} {kind}" for kind in remaining) for flag in ("--exclude", "--accept")
    )
    raise AuditError(
        "the audit found what would corrupt a score: "
        + ", ".join(f"{report.counts.get(kind, 0):,} x {kind}" for kind in remaining),
        where=report.catalog.name,
        details=[f"{f.kind}: {f.image} and {f.other} ({f.detail})" for f in shown],
        fix=f"fix the data, exclude the files with {excluding}, or accept the finding with "
        f"{accepting}",
    )
