"""Between audit and training: bad files are left out by name, leaks and conflicts refused."""

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
# Where an image stays that is in several splits: the test set is the one that must not change.
_STAYS_IN = {"test": 0, "val": 1, "train": 2}
# Within a family of the first column there must be one value of the second.
_FAMILY_AND_VALUE = {
    "split-leak": ("duplicate_group", "split"),
    "group-leak": ("group", "split"),
    "label-conflict": ("part", "label"),
}

# What leaving files out mends.
FIXABLE = frozenset(_FAMILY_AND_VALUE)


@dataclass(frozen=True, eq=False)
class Gate:
    """What may be trained on. `len(catalog) + left_out.height == len(report.catalog)`.

    Attributes:
        catalog: the rows that stay, in order.
        rows: which ones they are.
        left_out: columns image and reason.
    """

    catalog: Catalog
    rows: Int64[np.ndarray, "m"]
    left_out: pl.DataFrame
    report: AuditReport


def gate(
    catalog: Catalog,
    report: AuditReport,
    *,
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Gate:
    """Leave out files that cannot be used; refuse what would corrupt a score.

    Args:
        report: of this very catalog.
        accept: kinds of findings to go on in spite of; "damaged" keeps damaged files.
        leave_out: kinds to mend: "split-leak" and "group-leak" leave out the copies that are
            not in the test (or else validation) set, "label-conflict" all copies.

    Raises:
        AuditError: a blocking kind that is neither accepted nor mended, or nothing stays.
        ConfigError: a kind that cannot be accepted or left out.
    """
    assert len(catalog) == len(report.facts), "the report is of another catalog"
    _check_kinds("--accept", accept, ACCEPTABLE)
    _check_kinds("--exclude", exclude, FIXABLE)
    if "most-missing" not in accept:
        _refuse_wrong_folder(report)
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
    left_out = pl.DataFrame(
        {"image": catalog.table["image"], "reason": pl.Series(reasons, dtype=pl.String)}
    ).filter(pl.col("reason") != "")
    return Gate(catalog.take(rows), rows, left_out, report)


def _check_kinds(flag: str, kinds: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        raise ConfigError(
            f"{flag} does not know {', '.join(unknown)}", fix=f"one of {', '.join(sorted(known))}"
        )


def _bad_files(report: AuditReport, *, keep_damaged: bool) -> list[str]:
    """For each row why it is left out, empty where it stays."""
    return [
        "" if status == "ok" or (status == "damaged" and keep_damaged) else f"{status}: {problem}"
        for status, problem in report.facts.select("status", "problem").iter_rows()
    ]


def _refuse_wrong_folder(report: AuditReport) -> None:
    for finding in report.findings:
        if finding.kind == "most-missing":
            raise AuditError(
                finding.detail,
                where=report.catalog.name,
                fix="--images-root FOLDER (of a named data set also --root) names where the "
                "images are; or train on the others with --accept most-missing",
            )


def _offending(kind: str, report: AuditReport, kept: Bool[np.ndarray, "n"]) -> list[int]:
    """The rows without which no finding of this kind stands among the rows kept."""
    rows = copy_rows(report.catalog, report.facts).with_columns(
        duplicate_group=pl.Series(report.duplicate_group), kept=pl.Series(kept)
    )
    family, value = _FAMILY_AND_VALUE[kind]
    rows = rows.filter(
        pl.col("kept") & pl.col(family).is_not_null() & pl.col(value).is_not_null()
    ).filter(pl.col(value).n_unique().over(family) > 1)
    if value == "split":
        rank = pl.col("split").replace_strict(_STAYS_IN, return_dtype=pl.Int8)
        rows = rows.filter(rank > rank.min().over(family))
    return rows["row"].to_list()


def _refuse(report: AuditReport, kinds: Sequence[str], kept: Bool[np.ndarray, "n"]) -> None:
    standing = [kind for kind in kinds if _offending(kind, report, kept)]
    if not standing:
        return
    shown = [finding for finding in report.findings if finding.kind in standing]
    mended, accepted = (
        " ".join(f"{flag} {kind}" for kind in standing) for flag in ("--exclude", "--accept")
    )
    raise AuditError(
        "the audit found what would corrupt a score: "
        + ", ".join(f"{report.counts.get(kind, 0):,} x {kind}" for kind in standing),
        where=report.catalog.name,
        details=[f"{f.kind}: {f.image} and {f.other} ({f.detail})" for f in shown],
        fix=f"mend the data; or train with {mended}; or in spite of it with {accepted}",
    )
