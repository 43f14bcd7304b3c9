"""What the parts of a split, or the folds, hold and share, counted on the result alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.held_out_classes import whole_groups
from shopsight.catalog.linked_rows import linked_rows
from shopsight.catalog.split_shares import Shares, compare_shares, size_kinds
from shopsight.errors import SHOWN_DETAILS, SplitError
from shopsight.text import counted, listed

DuplicateGroup = Int64[np.ndarray, "n"]

EVERY_TRAINING = -1
"""The `fold` of images that the networks of all folds train on and none is tested on, as in
scikit-learn's `PredefinedSplit`."""


@dataclass(frozen=True)
class SplitReport:
    """Counts on a finished split: what each part holds and what the parts share.

    Attributes:
        num_images: number of rows of each part.
        num_classes: number of labels that occur in each part.
        num_labels: number of labels in the whole catalog.
        missing_labels: labels that a part lacks, for each part that lacks any.
        train_only: labels that are trained and in no part that measures them, each with its number
            of images, fewest first.
        num_groups: number of distinct groups; None when the catalog has no groups.
        num_shared_groups: groups with images in more than one part, see `whole_groups`.
        num_duplicate_groups: duplicate groups of two or more images; None when the catalog was not
            searched for duplicates.
        num_shared_duplicate_groups: duplicate groups with images in more than one part.
        num_shared_files: files that rows of more than one part name.
        class_shares: whether the parts hold the classes in equal shares; None where there is too
            little to compare.
        size_shares: the same of families by their size.
        examples: a few of the shared things, one line each.
    """

    num_images: dict[str, int]
    num_classes: dict[str, int]
    num_labels: int
    missing_labels: dict[str, tuple[str, ...]]
    train_only: dict[str, int]
    num_groups: int | None
    num_shared_groups: int
    num_duplicate_groups: int | None
    num_shared_duplicate_groups: int
    num_shared_files: int
    class_shares: Shares | None
    size_shares: Shares | None
    examples: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the parts share nothing."""
        return not (
            self.num_shared_groups or self.num_shared_duplicate_groups or self.num_shared_files
        )

    def lines(self) -> list[str]:
        """The report as lines of text."""
        parts = ", ".join(
            f"{part_name(part)}{':' * (part not in SPLITS)} {count:,}"
            for part, count in self.num_images.items()
        )
        lines = [f"images: {parts}"]
        if self.num_labels:
            lines.append(self._class_line())
        if self.num_groups is not None:
            shared = f"{self.num_shared_groups} of {self.num_groups:,}"
            lines.append(f"groups in more than one part: {shared}")
        if self.num_duplicate_groups is not None:
            shared = f"{self.num_shared_duplicate_groups} of {self.num_duplicate_groups:,}"
            lines.append(f"duplicate groups in more than one part: {shared}")
        lines.append(f"files in more than one part: {self.num_shared_files}")
        if self.class_shares is not None:
            lines.append(self.class_shares.line("classes"))
        if self.size_shares is not None:
            lines.append(self.size_shares.line("sizes of families"))
        return lines + [f"  {example}" for example in self.examples]

    def _class_line(self) -> str:
        if not self.missing_labels:
            return f"classes: all {self.num_labels:,} in every part"
        gaps = []
        if self.train_only:
            named = [
                f"{label} ({counted(count, 'image')})" for label, count in self.train_only.items()
            ]
            gaps.append(f"{len(named):,} in training only, not measured: {listed(named, most=3)}")
        for part, labels in self.missing_labels.items():
            others = [label for label in labels if label not in self.train_only]
            if others:
                gaps.append(f"{part_name(part)} lacks {listed(others)}")
        return f"classes: {self.num_labels:,}; " + "; ".join(gaps)

    def to_json(self) -> dict[str, Any]:
        """All attributes and `ok`, as `split.json` holds them."""
        return asdict(self) | {"ok": self.ok}


def part_name(part: str) -> str:
    """Name of a part in text: `"test"`, or "fold 1" for `"0"`, since text counts from 1."""
    if part == str(EVERY_TRAINING):
        return "every training"
    return f"fold {int(part) + 1}" if part.isdigit() else part


def check_leakage(catalog: Catalog, duplicate_group: DuplicateGroup | None = None) -> SplitReport:
    """Count what the parts of a split (or else of the folds) share.

    Args:
        catalog: has the column `split` or `fold`, whoever made it.
        duplicate_group: duplicate group of each row; None leaves duplicates uncounted.

    Raises:
        SplitError: the catalog has neither a split nor folds.
    """
    column = next((name for name in ("split", "fold") if catalog.has(name)), None)
    if column is None:
        raise SplitError("the catalog is not split", where=catalog.name)
    table = catalog.table.select("image", part=pl.col(column).cast(pl.String))
    found = table["part"].drop_nulls().unique().sort().to_list()
    parts = [name for name in SPLITS if name in found] if column == "split" else found
    counts = dict(table["part"].value_counts().iter_rows())
    in_part = _labels_by_part(catalog, table["part"])
    measured = [part for part in parts if part not in ("train", str(EVERY_TRAINING))]
    shared_files, examples = _shared(table, table["image"], "file")
    num_groups, shared_groups, groups = None, 0, whole_groups(catalog)
    if groups is not None:
        num_groups = catalog.table["group"].drop_nulls().n_unique()
        shared_groups, more = _shared(table, groups, "group")
        examples = [*more, *examples]
    num_duplicate_groups, shared_duplicate_groups = None, 0
    if duplicate_group is not None:
        ids = pl.Series(duplicate_group)
        num_duplicate_groups = int(ids.value_counts()["count"].gt(1).sum())
        shared_duplicate_groups, more = _shared(table, ids, "duplicates of", by_image=True)
        examples = [*more, *examples]
    class_shares, size_shares = _shares(catalog, parts, table["part"], duplicate_group)
    return SplitReport(
        num_images={part: counts[part] for part in parts},
        num_classes={part: len(in_part.get(part, ())) for part in parts},
        num_labels=len(catalog.labels),
        missing_labels={
            part: tuple(label for label in catalog.labels if label not in in_part.get(part, ()))
            for part in parts
            if part != str(EVERY_TRAINING) and len(in_part.get(part, ())) < len(catalog.labels)
        },
        train_only=_train_only(catalog, in_part, measured),
        num_groups=num_groups,
        num_shared_groups=shared_groups,
        num_duplicate_groups=num_duplicate_groups,
        num_shared_duplicate_groups=shared_duplicate_groups,
        num_shared_files=shared_files,
        class_shares=class_shares,
        size_shares=size_shares,
        examples=tuple(examples[:SHOWN_DETAILS]),
    )


def _shares(
    catalog: Catalog, names: list[str], part: pl.Series, duplicate_group: DuplicateGroup | None
) -> tuple[Shares | None, Shares | None]:
    """How the parts share classes, and families by size; images that always train are in none."""
    compared = [name for name in names if name != str(EVERY_TRAINING)]
    index = part.replace_strict(compared, list(range(len(compared))), default=-1)
    of_image = index.cast(pl.Int64).to_numpy()
    links = [catalog.table[name] for name in ("image", "group") if catalog.has(name)]
    if duplicate_group is not None:
        links.append(pl.Series(duplicate_group))
    families = linked_rows(len(catalog), links)
    sizes, size_of = size_kinds(families)
    pairs, labels = label_rows(catalog), list(catalog.labels)
    codes = pairs["label"].replace_strict(labels, list(range(len(labels))), return_dtype=pl.Int64)
    rows = pairs["row"].to_numpy().astype(np.int64)
    return (
        compare_shares(
            compared, of_image, families, labels, rows, codes.to_numpy().astype(np.int64)
        ),
        compare_shares(compared, of_image, families, sizes, np.arange(len(catalog)), size_of),
    )


def label_rows(catalog: Catalog) -> pl.DataFrame:
    """One line for each row and label; rows without a label have no line."""
    if not catalog.labels:
        return pl.DataFrame(schema={"row": pl.Int64, "label": pl.String})
    rows = pl.Series("row", np.arange(len(catalog)))
    frame = pl.DataFrame([rows, catalog.table["label"]])
    return (frame.explode("label") if catalog.multilabel else frame).drop_nulls("label")


def _train_only(
    catalog: Catalog, in_part: dict[str, set[str]], measured: list[str]
) -> dict[str, int]:
    """The labels that no part measures, where there are such parts, with their images."""
    trained = in_part.get("train", set()) | in_part.get(str(EVERY_TRAINING), set())
    alone = trained.difference(*(in_part.get(part, set()) for part in measured))
    if not measured or not alone:
        return {}
    counts = dict(label_rows(catalog)["label"].value_counts().iter_rows())
    return {label: counts[label] for label in sorted(alone, key=lambda one: (counts[one], one))}


def _labels_by_part(catalog: Catalog, part: pl.Series) -> dict[str, set[str]]:
    rows = pl.DataFrame({"row": np.arange(len(catalog)), "part": part})
    pairs = rows.join(label_rows(catalog), on="row").select("part", "label").drop_nulls().unique()
    found: dict[str, set[str]] = {}
    for name, label in pairs.iter_rows():
        found.setdefault(name, set()).add(label)
    return found


def _shared(
    table: pl.DataFrame, value: pl.Series, what: str, *, by_image: bool = False
) -> tuple[int, list[str]]:
    """How many values occur in several parts, and a few of them as lines of text."""
    if value.n_unique() == len(value):
        return 0, []
    frame = table.with_columns(value=value).drop_nulls(["part", "value"])
    spread = frame.group_by("value").agg(pl.col("part").n_unique()).filter(pl.col("part") > 1)
    first = spread["value"].sort().head(SHOWN_DETAILS)
    shown = (
        frame.filter(pl.col("value").is_in(first.implode()))
        .group_by("value")
        .agg(pl.col("part").unique().sort(), pl.col("image").min())
    )
    examples = [
        f"{what} {image if by_image else value} in {' and '.join(map(part_name, parts))}"
        for value, parts, image in shown.sort("value").iter_rows()
    ]
    return len(spread), examples
