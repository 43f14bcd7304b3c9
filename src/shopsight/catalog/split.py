"""Train, validation and test, or K folds: seeded, stratified and free of leaks.

A part is one of train, val and test, or one of the folds. What must not be torn apart (a group, a
duplicate group, all rows of one file) goes into one part as a whole; `check_leakage` counts
afterwards, on the result alone, what the parts share. A class that cannot be in every part trains
with all of its images, see `shopsight.catalog.divide_rows`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.divide_rows import divide_rows
from shopsight.catalog.split_report import (
    EVERY_TRAINING,
    DuplicateGroup,
    SplitReport,
    check_leakage,
)
from shopsight.errors import SplitError
from shopsight.read_options import NO_COLUMN
from shopsight.text import counted


def split_catalog(
    catalog: Catalog,
    *,
    val: float,
    test: float,
    seed: int,
    group: str | None = None,
    duplicate_group: DuplicateGroup | None = None,
    train_only: Collection[str] = (),
) -> tuple[Catalog, SplitReport]:
    """Give every row a `split`: train, val or test.

    A split that the catalog already has is kept; a part that it lacks is taken out of its train
    rows. A fraction of 0 makes no such part.

    Args:
        catalog: the images, with or without labels.
        val: fraction of the images for validation; of the train rows, where a split is given.
        test: fraction for testing; `val` and `test` sum to less than 1.
        seed: another seed gives another split of the same fractions.
        group: column whose values stay in one part. None takes the column `group` if there is one,
            "none" no column.
        duplicate_group: duplicate group of each row, as the audit finds them; each stays in one
            part.
        train_only: labels all of whose images train, beside those that cannot be in every part. A
            given split that has all parts stays as it is.

    Returns:
        The catalog with its column `split`, and the report on it.

    Raises:
        SplitError: the fractions leave nothing to train on, a column is missing, a given split is
            incomplete, or so few classes can be in every part that nothing would be measured.
    """
    fractions = {"train": 1.0 - val - test, "val": val, "test": test}
    if min(val, test) < 0.0 or fractions["train"] <= 0.0:
        raise SplitError(f"fractions of {val} for val and {test} for test leave no training images")
    catalog = _grouped(catalog, group)
    done = _carved(
        catalog if catalog.has("split") else _all_train(catalog),
        _wanted(catalog, fractions),
        f"split {seed}",
        duplicate_group,
        train_only,
    )
    return done, check_leakage(done, duplicate_group)


def fold_catalog(
    catalog: Catalog,
    *,
    folds: int,
    seed: int,
    group: str | None = None,
    duplicate_group: DuplicateGroup | None = None,
    train_only: Collection[str] = (),
) -> tuple[Catalog, SplitReport]:
    """Give every row a `fold`, 0 to `folds` - 1, by the rules of `split_catalog`.

    Images that all networks train on, and none is tested on, have the fold -1: those of the
    classes that cannot be in every fold. Folds that the catalog already has are kept. A given
    split is dropped, since the folds cover all images.

    Args:
        catalog: the images, with or without labels.
        folds: number of folds, at least 2.
        seed: another seed gives other folds.
        group: see `split_catalog`.
        duplicate_group: see `split_catalog`.
        train_only: see `split_catalog`.

    Returns:
        The catalog with its column `fold`, and the report on it.

    Raises:
        SplitError: fewer than two folds, another number than given, or so few classes can be in
            every fold that nothing would be measured.
    """
    if folds < 2:
        raise SplitError(f"--folds {folds}: at least 2 are needed", fix="--folds 5")
    catalog = _grouped(catalog, group)
    if catalog.has("split"):
        catalog = catalog.with_notes("the given split is not used: the folds cover all images")
    table = catalog.table.drop("split", strict=False)
    if catalog.has("fold"):
        tested = table["fold"].filter(table["fold"].ne_missing(EVERY_TRAINING))
        given = tested.n_unique()
        if table["fold"].null_count() or set(tested) != set(range(folds)):
            raise SplitError(
                f"the catalog has {counted(given, 'fold')}, not {folds}",
                where=catalog.name,
                fix=f"--folds {given}, or remove the column `fold`",
            )
        done = catalog.with_table(table)
        return done, check_leakage(done, duplicate_group)
    divided = divide_rows(
        catalog,
        _fold_fractions(folds),
        salt=f"folds {seed}",
        duplicate_group=duplicate_group,
        train_only=train_only,
    )
    fold = divided.part.cast(pl.Int64).fill_null(EVERY_TRAINING).alias("fold")
    done = catalog.with_table(table.with_columns(fold))
    return done, check_leakage(done, duplicate_group)


def scarce_labels(
    catalog: Catalog,
    duplicate_group: DuplicateGroup,
    *,
    val: float,
    test: float,
    folds: int,
    seed: int,
) -> tuple[str, ...]:
    """Labels that cannot be in every part that `split_catalog`, or `fold_catalog`, would make.

    Where labels have too few images of their own, these alone: without them the others may fit.

    Args:
        catalog: the images.
        duplicate_group: see `split_catalog`.
        val: see `split_catalog`.
        test: see `split_catalog`.
        folds: number of folds; 0 asks about train, val and test.
        seed: see `split_catalog`.

    Raises:
        SplitError: a given split is incomplete.
    """
    if folds:
        fractions, rows = _fold_fractions(folds), np.arange(len(catalog))
    else:
        whole = catalog if catalog.has("split") else _all_train(catalog)
        fractions = _wanted(catalog, {"train": 1.0 - val - test, "val": val, "test": test})
        rows = whole.rows_of("train")
    if len(fractions) == 1 or (folds and catalog.has("fold")):
        return ()
    divided = divide_rows(
        catalog.take(rows),
        fractions,
        salt=f"folds {seed}" if folds else f"split {seed}",
        duplicate_group=duplicate_group[rows],
        refuse=False,
    )
    return divided.alone or divided.scarce


def fold_as_split(
    catalog: Catalog,
    fold: int,
    *,
    val: float,
    seed: int,
    duplicate_group: DuplicateGroup | None = None,
) -> Catalog:
    """Take one fold as test set, and the validation set out of the other folds.

    Args:
        catalog: has the column `fold`.
        fold: the fold to test on, counted from 0.
        val: fraction of the other folds' images for validation.
        seed: another seed gives another validation set.
        duplicate_group: see `split_catalog`.

    Raises:
        SplitError: no such fold, or so few classes of the others can be in both parts that nothing
            would be validated.
    """
    if not catalog.has("fold") or fold not in catalog.table["fold"].unique().to_list():
        raise SplitError(f"there is no fold {fold}", where=catalog.name)
    given = pl.when(pl.col("fold") == fold).then(pl.lit("test")).otherwise(pl.lit("train"))
    split = catalog.with_table(catalog.table.with_columns(split=given))
    fractions = _positive({"train": 1.0 - val, "val": val})
    # A class that no fold tests is not validated either.
    always = pl.col("fold") == EVERY_TRAINING
    never, others = (
        set(catalog.with_table(catalog.table.filter(hit)).labels) for hit in (always, ~always)
    )
    return _carved(split, fractions, f"fold {fold} {seed}", duplicate_group, never - others)


def _grouped(catalog: Catalog, group: str | None) -> Catalog:
    """The catalog with its column `group` taken from the column of this name."""
    if group is None:
        return catalog
    if group == NO_COLUMN:
        return catalog.with_table(catalog.table.drop("group", strict=False))
    if group not in catalog.table.columns:
        near = difflib.get_close_matches(group, catalog.table.columns, n=1, cutoff=0.5)
        raise SplitError(
            f"no column {group!r} to group by" + (f"; did you mean {near[0]!r}?" if near else ""),
            where=catalog.name,
            details=catalog.table.columns,
        )
    column = pl.col(group).cast(pl.String).alias("group")
    return catalog.with_table(catalog.table.with_columns(column))


def _positive(fractions: Mapping[str, float]) -> dict[str, float]:
    """The parts that get any rows."""
    return {part: fraction for part, fraction in fractions.items() if fraction > 0.0}


def _fold_fractions(folds: int) -> dict[str, float]:
    return {str(fold): 1.0 / folds for fold in range(folds)}


def _all_train(catalog: Catalog) -> Catalog:
    return catalog.with_table(catalog.table.with_columns(split=pl.lit("train")))


def _wanted(catalog: Catalog, fractions: Mapping[str, float]) -> dict[str, float]:
    """The parts that the rows are divided among: of a given split the train rows alone.

    Raises:
        SplitError: the given split has rows without a part, or none to train on.
    """
    if not catalog.has("split"):
        return _positive(fractions)
    given = set(catalog.table["split"].drop_nulls().to_list())
    lost = catalog.table["split"].null_count()
    if lost or "train" not in given:
        raise SplitError(
            f"the given split is empty for {counted(lost, 'row')}"
            if lost
            else "the given split has no train rows",
            where=catalog.name,
            details=catalog.table.filter(pl.col("split").is_null())["image"].to_list(),
            fix="complete the column `split`, or remove it: shopsight then makes a split",
        )
    lacking = {part: fractions[part] for part in ("val", "test") if part not in given}
    return _positive({"train": 1.0 - sum(lacking.values()), **lacking})


def _carved(
    catalog: Catalog,
    fractions: Mapping[str, float],
    salt: str,
    duplicate_group: DuplicateGroup | None,
    train_only: Collection[str],
) -> Catalog:
    """Divide the train rows among parts; the other rows keep their part."""
    if len(fractions) == 1:
        return catalog
    rows = catalog.rows_of("train")
    inner = None if duplicate_group is None else duplicate_group[rows]
    divided = divide_rows(
        catalog.take(rows), fractions, salt=salt, duplicate_group=inner, train_only=train_only
    )
    split = catalog.table["split"].to_numpy().astype(object)
    split[rows] = divided.part.fill_null("train").to_numpy()
    column = pl.Series("split", split.tolist(), dtype=pl.String)
    return catalog.with_table(catalog.table.with_columns(column))
