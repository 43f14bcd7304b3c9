"""Split: train, val and test parts that share no product and no duplicate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.audit.audit import audit
from shopsight.audit.findings import BLOCKING_KINDS, KINDS, check_kinds
from shopsight.audit.gate import gate
from shopsight.catalog.about_record import check_catalog_file
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.divide_rows import each_class_is_one_group
from shopsight.catalog.held_out_classes import HELD_OUT, held_out_rows
from shopsight.catalog.items import group_is_contributor
from shopsight.catalog.rare_classes import settle_rare_classes, split_notes
from shopsight.catalog.split import fold_catalog, scarce_labels, split_catalog
from shopsight.catalog.split_report import SplitReport, check_leakage
from shopsight.catalog.unlabeled import only_labeled
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.errors import SplitError
from shopsight.output_locks import only_writer_of_file
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import listed


class _SplitOptions(TypedDict):
    val: float
    test: float
    folds: int
    seed: int


@dataclass(frozen=True)
class SplitResult:
    """A split catalog and what was counted on it.

    Attributes:
        catalog: with a `split` column, or with K folds a `fold` column.
        report: images and classes of each part, and the groups and duplicates that parts share.
    """

    catalog: Catalog
    report: SplitReport


def split(
    data: str | Path | Catalog,
    *,
    read: ReadOptions | None = None,
    out: str | Path | None = None,
    val: float = 0.1,
    test: float = 0.1,
    folds: int = 0,
    seed: int = 0,
    by: Literal["image", "label"] = "image",
    accept: Collection[str] = (),
) -> SplitResult:
    """Split by class; groups, and duplicates that the audit finds, stay on one side.

    Files that cannot be read are left out by name. A split that DATA brings is kept. Images
    without a label, where others have one, are in no part: `split` and `fold` of their rows are
    empty.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        read: how DATA is read; None guesses everything.
        out: a .csv or .parquet file, which `train` takes as DATA; None writes nothing.
        val: fraction of the images in the validation part.
        test: fraction of the images in the test part.
        folds: give every image one of this many folds instead; 0 makes parts.
        seed: images are assigned by this seed.
        by: "label" holds whole classes out: `test` of the images, of classes that are in no other
            part; the column `held_out` says so, and training leaves them out.
        accept: "lost-class" splits although a class loses its files, or too many of them: the
            table that is written has none of these files, and later steps cannot miss them.

    Raises:
        AuditError: a class loses its files.
        SplitError: the parts would measure too few classes, or there are rare ones and
            `read.on_rare` is "error".
        LockedError: another process writes `out`.
    """
    check_kinds("--accept", accept, KINDS)
    options = _SplitOptions(val=val, test=test, folds=folds, seed=seed)
    if out is None:
        return _split(data, read, options, by=by, accept=accept)
    check_catalog_file(out)
    refuse_output_over_data(data, out)
    # The table and the record beside it belong together.
    with only_writer_of_file(out):
        result = _split(data, read, options, by=by, accept=accept)
        result.catalog.write(out)
    return result


def _split(
    data: str | Path | Catalog,
    read: ReadOptions | None,
    options: _SplitOptions,
    *,
    by: Literal["image", "label"],
    accept: Collection[str],
) -> SplitResult:
    catalog = open_catalog(data, read)
    labeled = only_labeled(catalog, read)
    report = audit(catalog)
    # Nothing is trained here: the split report names what leaks, and `train` refuses it.
    passed = gate(catalog, report, accept={*BLOCKING_KINDS - {"lost-class"}, *accept})
    # What the gate says of lost classes is about the very rows that it keeps.
    others = report.headlines(kinds=BLOCKING_KINDS - {"lost-class"})
    for line in (*passed.notes(), *others):
        notify(line)
    labeled_rows = np.intersect1d(labeled.rows, passed.rows)
    duplicate_group = report.duplicate_group[labeled_rows]
    if by == "label":
        return _by_label(catalog.take(labeled_rows), options, duplicate_group)
    scarce = partial(scarce_labels, **options)
    settled = settle_rare_classes(
        catalog.take(labeled_rows),
        read or ReadOptions(),
        duplicate_group=duplicate_group,
        scarce=scarce,
    )
    assign = partial(
        fold_catalog if options["folds"] else split_catalog,
        settled.catalog,
        seed=options["seed"],
        duplicate_group=duplicate_group[settled.rows],
        train_only=settled.train_only,
    )
    if options["folds"]:
        done, counted = assign(folds=options["folds"])
    else:
        done, counted = assign(val=options["val"], test=options["test"])
    made = not settled.catalog.has("fold" if options["folds"] else "split")
    about_split = split_notes(counted, made=made, train_only=settled.train_only)
    for line in (*settled.notes, *about_split):
        notify(line)
    usable = labeled_rows[settled.rows]
    whole = np.setdiff1d(passed.rows, np.setdiff1d(labeled_rows, usable))
    if len(usable) < len(whole):
        done = _with_unlabeled(done, usable, catalog.take(whole), whole)
    return SplitResult(done, counted)


def _by_label(
    catalog: Catalog, options: _SplitOptions, duplicate_group: Int64[np.ndarray, "n"]
) -> SplitResult:
    """Hold whole classes out as test; the others' images are divided between train and val."""
    if options["folds"] or catalog.has("split"):
        raise SplitError(
            "classes are held out in place of folds or of a given split",
            where="--by label",
            fix="leave out --folds, and the column `split`",
        )
    held = held_out_rows(
        catalog,
        fraction=options["test"],
        seed=options["seed"],
        duplicate_group=duplicate_group,
    )
    rows = np.flatnonzero(~held)
    others = catalog.take(rows)
    inside, _ = split_catalog(
        others,
        val=_val_within(others, options["val"]),
        test=0.0,
        seed=options["seed"],
        duplicate_group=duplicate_group[rows],
    )
    parts = np.full(len(catalog), "test", object)
    parts[rows] = inside.table["split"].to_numpy()
    done = catalog.with_table(
        catalog.table.with_columns(
            pl.Series("split", parts.tolist(), pl.String), pl.Series(HELD_OUT, held)
        )
    )
    names = catalog.take(np.flatnonzero(held)).labels
    notify(f"held out: {len(names):,} of {len(catalog.labels):,} classes, {listed(names)}")
    if done.has("group") and group_is_contributor(done.table):
        notify("contributors send photos of held-out classes and of others: that is no leak")
    return SplitResult(done, check_leakage(done, duplicate_group))


def _val_within(catalog: Catalog, val: float) -> float:
    """The fraction to validate on: none of it where each class is one group."""
    if not val or not each_class_is_one_group(catalog):
        return val
    notify(
        "no val part: each class is one group, which stays in one part; training validates on "
        "whole classes with --set data.val_classes=0.1 --set data.val=0 --set data.test=0"
    )
    return 0.0


def _with_unlabeled(
    done: Catalog, rows: Int64[np.ndarray, "n"], whole: Catalog, whole_rows: Int64[np.ndarray, "m"]
) -> Catalog:
    """Put the images without a label back in their places, into no part.

    `done` are `rows` of the audited catalog, with their parts; `whole` are `whole_rows` of it:
    those and the unlabeled ones.
    """
    bare = whole.take(np.flatnonzero(~np.isin(whole_rows, rows))).table
    bare = bare.drop("split", "fold", strict=False)
    order = np.argsort(np.concatenate([rows, np.setdiff1d(whole_rows, rows)]))
    return done.with_table(pl.concat([done.table, bare], how="diagonal")[order])
