"""Checks for copies: exact and near duplicates, label conflicts, and leaks between splits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Int64, UInt8

from shopsight.audit.audit_data import AuditData
from shopsight.audit.check_labels import spelling_key
from shopsight.audit.findings import Finding
from shopsight.audit.joined_rows import Pairs, connected_components
from shopsight.audit.near_duplicates import MOST_IN_GROUP, near_pairs
from shopsight.catalog.catalog import BOX_COLUMNS, SPLITS, Catalog
from shopsight.catalog.held_out_classes import whole_groups

ROW, FIRST, VALUE = "row", "first", "value"


def copy_rows(catalog: Catalog, files: pl.DataFrame) -> pl.DataFrame:
    """Gather what decides whether two rows are copies, in conflict or a leak.

    Args:
        catalog: the images.
        files: see `AuditReport.files`.

    Returns:
        One line per row with the columns `row`, `image`, `file` (hash; null where the file cannot
        be decoded), `crop` (hash and box), `label` (without the differences between spellings,
        several labels sorted and joined), `written` (the label as written), `split`, `group` (see
        `whole_groups`). Null where a value is missing.
    """
    table = catalog.table
    file = files.select(
        pl.when(pl.col("status").is_in(["ok", "damaged"])).then(pl.col("sha256")).alias("file")
    )["file"]
    boxes = [table[name].cast(pl.String).fill_null("") for name in BOX_COLUMNS if name in table]
    crop = pl.DataFrame([file, *boxes]).select(pl.concat_str(pl.all(), separator="|").alias("crop"))
    columns = [files["image"], file, crop["crop"], *_labels(catalog)]
    known = {"split": table.get_column("split", default=None), "group": whole_groups(catalog)}
    for name, column in known.items():
        columns.append(
            pl.Series(name, [None] * len(table), pl.String) if column is None else column
        )
    return pl.DataFrame(columns).with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.Int64))


def check_exact_duplicates(data: AuditData) -> Iterator[Finding]:
    """Find equal files: each copy beside the first one, as leak or conflict where it is one.

    More than `MOST_IN_GROUP` such copies of one file are one finding.
    """
    rows = data.copies
    labels = _against_first(rows, key="crop", value="label")
    splits = _against_first(rows, key="file", value="split")
    firsts = rows.filter(pl.col("crop").is_not_null()).select(
        ROW, pl.col(ROW).min().over("crop").alias(FIRST)
    )
    reported = pl.concat([splits[ROW], labels[ROW]]).unique()
    plain = firsts.filter((pl.col(ROW) != pl.col(FIRST)) & ~pl.col(ROW).is_in(reported.implode()))
    kinds = {"split-leak": splits, "label-conflict": labels, "exact-duplicate": plain}
    for kind, pairs in kinds.items():
        count = pl.len().over(FIRST).alias("count")
        shown = pairs.with_columns(count).filter(
            (pl.col("count") <= MOST_IN_GROUP) | (pl.col(ROW) == pl.col(ROW).min().over(FIRST))
        )
        for row, first, copies in shown.iter_rows():
            more = copies if copies > MOST_IN_GROUP else 0
            yield _pair(rows, kind, row, first, "equal files", more=more)


def near_edges(rows: pl.DataFrame, thumbs: UInt8[np.ndarray, "n t"], compared: pl.Series) -> Pairs:
    """Find the near duplicates among the distinct files.

    Args:
        rows: see `copy_rows`.
        thumbs: thumbnail of each row.
        compared: rows that take part; of equal files only the first is compared.

    Returns:
        Pairs (earlier row, later row), sorted; of a crowd as many as connect it.
    """
    first = rows.filter(compared).group_by("file", maintain_order=True).agg(pl.col(ROW).first())
    chosen = first[ROW].to_numpy().astype(np.int64)
    pairs = np.sort(chosen[near_pairs(thumbs[chosen])], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def check_near_duplicates(data: AuditData) -> Iterator[Finding]:
    """Find near duplicates: per image at most one of a kind, beside the first match.

    A crowd of more than `MOST_IN_GROUP` files is one finding, or one of each kind.
    """
    rows, edges = data.copies, data.near_duplicates
    group = connected_components(len(rows), edges)
    crowded = np.bincount(group, minlength=1)[group] > MOST_IN_GROUP
    yield from _crowds(rows, np.where(crowded, group, -1))
    edges = edges[~crowded[edges[:, 0]]]
    pairs = pl.DataFrame(
        {"a": edges[:, 0], "b": edges[:, 1]}, schema={"a": pl.UInt32, "b": pl.UInt32}
    )
    leaks = _differing(rows, pairs, "split")
    conflicts = _differing(rows, pairs, "label")
    for found, kind in ((leaks, "split-leak"), (conflicts, "near-label-conflict")):
        reported = found.unique("b", keep="first", maintain_order=True)
        for row, first in reported.select("row_b", "row_a").iter_rows():
            yield _pair(rows, kind, row, first, "near duplicates")
    plain = pairs.join(leaks, on=["a", "b"], how="anti").join(conflicts, on=["a", "b"], how="anti")
    for first, row in plain.unique("b", keep="first", maintain_order=True).iter_rows():
        yield _pair(rows, "near-duplicate", row, first)


def _crowds(rows: pl.DataFrame, crowd: Int64[np.ndarray, "n"]) -> Iterator[Finding]:
    """The crowds: each as a leak, a conflict, or, where it is neither, as near duplicates.

    Args:
        rows: see `copy_rows`.
        crowd: a number for each row, equal within a crowd; -1 outside. Of equal files the first
            alone has one.
    """
    members = rows.with_columns(crowd=pl.Series(crowd)).with_columns(
        pl.col("crowd").max().over("file")
    )
    members = members.filter((pl.col("crowd") >= 0) & pl.col("file").is_not_null())
    plain = set(members["crowd"].unique().to_list())
    count = pl.len().over("crowd").alias("count")
    for kind, value in (("split-leak", "split"), ("near-label-conflict", "label")):
        known = members.with_columns(count).filter(pl.col(value).is_not_null())
        differing = known.filter(pl.col(value) != pl.col(value).first().over("crowd"))
        firsts = known.group_by("crowd").agg(
            pl.col(ROW).first().alias(FIRST), pl.col("count").first()
        )
        others = differing.group_by("crowd").agg(pl.col(ROW).first())
        found = others.join(firsts, on="crowd").sort(ROW)
        for one, row, first, images in found.iter_rows():
            plain.discard(one)
            yield _pair(rows, kind, row, first, "near duplicates", more=images)
    for _, some in members.filter(pl.col("crowd").is_in(plain)).group_by("crowd"):
        first, row = some[ROW].head(2)
        yield _pair(rows, "near-duplicate", row, first, "near duplicates", more=len(some))


def check_group_leaks(data: AuditData) -> Iterator[Finding]:
    """Find groups with usable rows in several splits: one finding for each group."""
    rows = data.copies
    usable = rows.filter(pl.col("file").is_not_null())
    spread = usable.filter(pl.col("group").is_not_null() & pl.col("split").is_not_null())
    counts = spread.group_by("group", "split").agg(
        pl.len().alias("count"), pl.col(ROW).min().alias(FIRST)
    )
    leaking = counts.filter(pl.len().over("group") > 1).sort(
        "group", pl.col("split").cast(pl.Enum(SPLITS))
    )
    for (group,), splits in leaking.group_by("group", maintain_order=True):
        each = ", ".join(
            f"{count} {split}" for split, count in splits["split", "count"].iter_rows()
        )
        firsts = splits[FIRST].to_list()
        images = rows["image"]
        yield Finding(
            "group-leak",
            images[firsts[0]],
            images[firsts[-1]],
            f"group {group!r}: {each}",
            firsts[0],
            firsts[-1],
        )


def duplicate_group_ids(rows: pl.DataFrame, edges: Pairs) -> Int64[np.ndarray, "n"]:
    """An id for each row: equal within a group of equal files and near duplicates, else its own."""
    equal = rows.filter(pl.col("file").is_not_null()).select(
        pl.col(ROW).min().over("file").alias(FIRST), ROW
    )
    links = np.concatenate([equal.to_numpy().astype(np.int64).reshape(-1, 2), edges])
    return connected_components(rows.height, links)


def _labels(catalog: Catalog) -> tuple[pl.Series, pl.Series]:
    """The labels of each row, as compared and as written."""
    if not catalog.labels:
        nothing = [None] * len(catalog)
        return pl.Series("label", nothing, pl.String), pl.Series("written", nothing, pl.String)
    key = {label: spelling_key(label) for label in catalog.labels}
    column = catalog.table["label"]
    if not catalog.multilabel:
        return column.replace_strict(key, return_dtype=pl.String), column.alias("written")
    compared, written = [], []
    for several in column.to_list():
        named = None if several is None else sorted(label for label in several if label is not None)
        written.append(None if named is None else " + ".join(named))
        compared.append(None if named is None else "+".join(sorted(key[n] for n in named)))
    return pl.Series("label", compared, pl.String), pl.Series("written", written, pl.String)


def _against_first(rows: pl.DataFrame, *, key: str, value: str) -> pl.DataFrame:
    """Rows whose value differs from that of the first row with the same key: row, first."""
    known = rows.filter(pl.col(key).is_not_null() & pl.col(value).is_not_null())
    return (
        known.select(
            ROW,
            pl.col(ROW).first().over(key).alias(FIRST),
            (pl.col(value) != pl.col(value).first().over(key)).alias("differs"),
        )
        .filter("differs")
        .drop("differs")
    )


def _differing(rows: pl.DataFrame, pairs: pl.DataFrame, value: str) -> pl.DataFrame:
    """For each pair of near duplicates, copies of the two that differ in `value`, if any do."""
    head = pl.col(ROW).min().over("file").alias("head")
    members = (
        rows.filter(pl.col("file").is_not_null())
        .select(head, ROW, pl.col(value).alias(VALUE))
        .drop_nulls()
        .group_by("head", VALUE)
        .agg(pl.col(ROW).min())
    )
    return (
        pairs.join(members, left_on="a", right_on="head")
        .join(members, left_on="b", right_on="head", suffix="_b")
        .rename({ROW: "row_a", VALUE: "value_a"})
        .filter(pl.col("value_a") != pl.col("value_b"))
        .sort("a", "b", "row_a", "row_b")
        .unique(["a", "b"], keep="first", maintain_order=True)
    )


_SHOWN_COLUMN = {
    "split-leak": "split",
    "label-conflict": "written",
    "near-label-conflict": "written",
}


def _pair(
    rows: pl.DataFrame, kind: str, row: int, other: int, how: str = "", *, more: int = 0
) -> Finding:
    """A finding about two rows: `how` they are alike, and the two values that differ.

    Args:
        rows: see `copy_rows`.
        kind: of the finding.
        row: the later of the two.
        other: the earlier.
        how: they are alike; "" says nothing.
        more: number of images that the finding is about, where it is about more than the two.
    """
    images = rows["image"]
    detail = how
    if kind in _SHOWN_COLUMN:
        values = rows[_SHOWN_COLUMN[kind]]
        detail = f"{how}: {values[row]} | {values[other]}"
    if more:
        detail = f"{more:,} images that look alike, such as these two; {detail}"
    return Finding(kind, images[row], images[other], detail, row, other)
