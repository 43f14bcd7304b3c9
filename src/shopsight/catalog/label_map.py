"""Changing labels as a whole: leaving some out, mapping many to one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import read_table
from shopsight.errors import CatalogError
from shopsight.text import counted, listed

FROM, TO = "label", "to"


@dataclass(frozen=True)
class LabelMapReport:
    """What a label map did.

    Attributes:
        merged: new label -> the old labels that became it, where these are several.
        renamed: old label -> new, where one became one of another name.
        dropped: labels that the map leaves out (an empty `to`).
        unmapped: labels that the map does not mention; they stay as they are.
        unused: labels in the map that the catalog does not have.
    """

    merged: dict[str, tuple[str, ...]]
    renamed: dict[str, str]
    dropped: tuple[str, ...]
    unmapped: tuple[str, ...]
    unused: tuple[str, ...]

    def lines(self) -> list[str]:
        """One line per thing worth telling."""
        lines = [f"label map: {listed(old)} -> {new}" for new, old in self.merged.items()]
        if self.renamed:
            pairs = [f"{old} -> {new}" for old, new in self.renamed.items()]
            lines.append(f"label map: renamed {listed(pairs)}")
        for what, labels in (
            ("left out", self.dropped),
            ("not mentioned, kept as they are", self.unmapped),
            ("mentioned, but not in the data", self.unused),
        ):
            if labels:
                lines.append(f"label map: {what}: {listed(labels)}")
        return lines


def drop_labels(catalog: Catalog, labels: Collection[str]) -> Catalog:
    """Leave out the images of these labels.

    Of an image with several labels only these labels go; it goes itself when none is left.

    Raises:
        CatalogError: the catalog has no such label.
    """
    if not labels:
        return catalog
    _refuse_unknown(catalog, labels)
    gone = pl.Series(sorted(set(labels)), dtype=pl.String)
    column = pl.col("label")
    if catalog.multilabel:
        left = column.list.set_difference(gone.to_list())
        was_empty = column.list.len() == 0
        table = catalog.table.with_columns(was_empty=was_empty, label=left)
        table = table.filter(
            pl.col("label").is_null() | (column.list.len() > 0) | pl.col("was_empty")
        )
        table = table.drop("was_empty")
    else:
        table = catalog.table.filter(column.is_null() | ~column.is_in(gone.implode()))
    count = len(catalog) - len(table)
    notes = f"dropped {listed(gone.to_list())}: {counted(count, 'image')}"
    return catalog.with_table(table).with_notes(notes)


def read_label_map(path: Path | str) -> dict[str, str]:
    """Read a table with columns `label` and `to`; many labels may go to one.

    An empty `to` leaves the label out.

    Raises:
        CatalogError: it cannot be read, lacks the columns, or says two things of one label.
    """
    table, _ = read_table(str(path))
    if not {FROM, TO} <= set(table.columns):
        raise CatalogError(
            f"a label map has the columns {FROM!r} and {TO!r}",
            where=str(path),
            details=[f"columns: {listed(table.columns)}"],
        )
    rows = table.select(pl.col(FROM, TO).cast(pl.String)).filter(pl.col(FROM).is_not_null())
    rows = rows.with_columns(pl.col(TO).fill_null("")).unique(maintain_order=True)
    twice = rows.filter(pl.col(FROM).is_duplicated())
    if len(twice):
        details = [f"{old!r} -> {new!r}" for old, new in twice.iter_rows()]
        raise CatalogError("labels are mapped twice", where=str(path), details=details)
    return dict(rows.iter_rows())


def map_labels(catalog: Catalog, mapping: Mapping[str, str]) -> tuple[Catalog, LabelMapReport]:
    """Give each image its new label; what the map does not mention stays.

    Raises:
        CatalogError: the catalog has no labels, or the map fits none of them.
    """
    if not catalog.labels:
        raise CatalogError("there are no labels to map", where=catalog.name)
    report = _report(catalog.labels, mapping)
    if len(report.unmapped) == len(catalog.labels):
        raise CatalogError(
            "the label map mentions none of the labels",
            where=catalog.name,
            details=[f"labels: {listed(catalog.labels)}", f"map: {listed(sorted(mapping))}"],
        )
    dropped = drop_labels(catalog, report.dropped) if report.dropped else catalog
    full = {label: mapping.get(label) or label for label in dropped.labels}
    if catalog.multilabel:
        renamed = (
            pl.col("label")
            .list.eval(pl.element().replace_strict(full))
            .list.unique(maintain_order=True)
        )
    else:
        renamed = pl.col("label").replace_strict(full, return_dtype=pl.String)
    mapped = dropped.with_table(dropped.table.with_columns(renamed))
    return mapped.with_notes(*report.lines()), report


def _report(labels: Iterable[str], mapping: Mapping[str, str]) -> LabelMapReport:
    labels = tuple(labels)
    becomes: dict[str, list[str]] = {}
    for label in labels:
        new = mapping.get(label, label)
        if new:
            becomes.setdefault(new, []).append(label)
    return LabelMapReport(
        merged={new: tuple(old) for new, old in sorted(becomes.items()) if len(old) > 1},
        renamed={old[0]: new for new, old in becomes.items() if len(old) == 1 and old[0] != new},
        dropped=tuple(label for label in labels if mapping.get(label) == ""),
        unmapped=tuple(label for label in labels if label not in mapping),
        unused=tuple(sorted(set(mapping) - set(labels))),
    )


def _refuse_unknown(catalog: Catalog, labels: Collection[str]) -> None:
    unknown = sorted(set(labels) - set(catalog.labels))
    if not unknown:
        return
    details = []
    for label in unknown:
        near = _nearest(label, catalog.labels)
        details.append(f"{label!r}" + (f": did you mean {near!r}?" if near else ""))
    raise CatalogError(
        f"no such {'label' if len(unknown) == 1 else 'labels'} to drop",
        where=catalog.name,
        details=details,
        fix=f"the labels are {listed(catalog.labels, most=20)}",
    )


def _nearest(label: str, labels: Collection[str]) -> str | None:
    by_plain = {other.strip().casefold(): other for other in labels}
    near = difflib.get_close_matches(label.strip().casefold(), by_plain, n=1, cutoff=0.5)
    return by_plain[near[0]] if near else None
