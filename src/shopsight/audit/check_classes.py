"""Checks of classes: lost with their files, only one, without images to train on or to test on.

`gate` asks the same functions again about the rows that it keeps, so that what an audit says is
what stops training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from shopsight.audit.audit_data import AuditData
from shopsight.audit.class_counts import (
    LABEL,
    ROWS,
    USED,
    USED_REASON,
    label_pairs,
    leave_out_reasons,
    parts_of,
)
from shopsight.audit.findings import Finding
from shopsight.audit.inspect_file import STATUSES
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import held_out_labels
from shopsight.text import counted, listed

LOST_FRACTION = 0.1
LOST_IMAGES = 3
"""A class is lost when it loses all its images, or more than this fraction and at least so many."""


def check_classes(data: AuditData) -> Iterator[Finding]:
    """Find classes that training would lose or could not tell apart, learn or measure."""
    reasons = leave_out_reasons(data.files)
    problems = data.files["problem"]
    yield from single_class(data.catalog, reasons)
    yield from (finding for _, finding in lost_classes(data.catalog, reasons, problems))
    # A split by label holds classes out on purpose.
    held_out = held_out_labels(data.catalog)
    yield from (finding for _, finding in untrained_classes(data.classes, held_out))
    if not held_out:
        yield from _unmeasured_classes(data.classes)


def single_class(catalog: Catalog, reasons: pl.Series) -> Iterator[Finding]:
    """Find that all images that stay have the same label: there is nothing to tell apart.

    A single label that applies to some images and not to others is two answers, not one.

    Args:
        catalog: the images; those without a label do not count.
        reasons: for each row why it is left out, empty where it stays.
    """
    if not catalog.labels:
        return
    kept = catalog.table[LABEL].filter(reasons == USED_REASON).drop_nulls()
    if kept.is_empty():
        return
    answers = kept.list.sort() if catalog.multilabel else kept
    if answers.n_unique() > 1:
        return
    first = [answers[0]] if not catalog.multilabel else answers[0].to_list()
    name = " and ".join(repr(label) for label in first) or "none of the labels"
    whole = "the only image is" if len(kept) == 1 else f"all {len(kept):,} images are"
    yield Finding("one-class", "", detail=f"{whole} {name}")


def lost_classes(
    catalog: Catalog, reasons: pl.Series, problems: pl.Series
) -> Iterator[tuple[str, Finding]]:
    """Find the classes that lose so many of their files that the loss must be known.

    Files that cannot be used count for both limits. Files that the user excluded by a kind of
    finding count only where the whole class goes with them, which `--exclude untrained-class` says
    itself.

    Args:
        catalog: the images, before any file is left out.
        reasons: for each row why it is left out, empty where it stays.
        problems: for each row what is wrong with its file.

    Yields:
        The label and the finding, the largest loss first.
    """
    pairs = label_pairs(catalog, reason=reasons, problem=problems, image=catalog.table["image"])
    left = pl.col("reason") != USED_REASON
    faulty = pl.col("reason").is_in(STATUSES)
    decided = pl.col("reason") == "untrained-class"
    counts = (
        pairs.group_by(LABEL)
        .agg(
            pl.len().alias(ROWS),
            left.sum().alias("left"),
            faulty.sum().alias("faulty"),
            decided.any().alias("decided"),
        )
        .filter(
            ((pl.col("left") == pl.col(ROWS)) & ~pl.col("decided"))
            | (
                (pl.col("faulty") > LOST_FRACTION * pl.col(ROWS))
                & (pl.col("faulty") >= LOST_IMAGES)
            )
        )
        .sort("left", LABEL, descending=[True, False])
    )
    if counts.is_empty():
        return
    lost = pairs.filter(left).join(counts.select(LABEL), on=LABEL, how="semi")
    why = (
        lost.group_by(LABEL, "reason")
        .len()
        .sort("len", "reason", descending=[True, False])
        .group_by(LABEL, maintain_order=True)
        .agg(pl.format("{} {}", "len", "reason").str.join(", ").alias("why"))
    )
    examples = lost.sort("row").group_by(LABEL, maintain_order=True).first()
    shown = counts.join(why, on=LABEL, maintain_order="left").join(
        examples.drop("reason"), on=LABEL, maintain_order="left"
    )
    for label, rows, left_out, reason, image, problem in shown.select(
        LABEL, ROWS, "left", "why", "image", "problem"
    ).iter_rows():
        example = f"such as {image}" + f": {problem}" * bool(problem)
        detail = f"{label!r} loses {left_out:,} of {counted(rows, 'image')}: {reason}; {example}"
        yield label, Finding("lost-class", "", detail=detail)


def untrained_classes(
    classes: pl.DataFrame, held_out: Collection[str] = ()
) -> Iterator[tuple[str, Finding]]:
    """Find the classes of the given split, or the given folds, that some network never trains on.

    Args:
        classes: see `class_table`.
        held_out: classes that the split holds out on purpose.

    Yields:
        The label and the finding, most images first.
    """
    classes = classes.filter(~pl.col(LABEL).is_in(list(held_out)))
    parts = parts_of(classes)
    folds = "train" not in parts
    # Without a part to train on, as where DATA is a test set alone, there is nothing to compare.
    if len(parts) < 2 or (folds and any(part in ("val", "test") for part in parts)):
        return
    held = pl.sum_horizontal(parts)
    # Images in no fold are in every training.
    hit = (
        (pl.sum_horizontal(pl.col(part) > 0 for part in parts) == 1) & (held == pl.col(USED))
        if folds
        else pl.col("train") == 0
    )
    for row in classes.filter(hit & (held > 0)).iter_rows(named=True):
        where = listed([f"{counted(row[part], 'image')} in {part}" for part in parts if row[part]])
        lacking = "none in another fold" if folds else "none in train"
        detail = f"{row[LABEL]!r} has {where}, {lacking}"
        yield row[LABEL], Finding("untrained-class", "", detail=detail)


def _unmeasured_classes(classes: pl.DataFrame) -> Iterator[Finding]:
    """Find classes that are trained and not tested: by the test part, or else by validation."""
    parts = parts_of(classes)
    held = next((part for part in ("test", "val") if part in parts), None)
    if held is None or "train" not in parts:
        return
    lacking = classes.filter((pl.col("train") > 0) & (pl.col(held) == 0))
    for label, number in lacking.select(LABEL, "train").iter_rows():
        detail = f"{label!r} has {counted(number, 'image')} in train, none in {held}"
        yield Finding("unmeasured-class", "", detail=detail)
