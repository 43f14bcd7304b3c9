"""Train, validation and test, or K folds: seeded, stratified and free of leaks.

A part is one of train, val and test, or one of the folds. What must not be torn apart (a group, a
duplicate group, all rows of one file) goes into one part as a whole; `check_leakage` counts
afterwards, on the result alone, what the parts share.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.stratify import Units, divide, gather_units
from shopsight.errors import SHOWN_DETAILS, SplitError
from shopsight.read_options import NO_COLUMN, drop_flags
from shopsight.text import counted, listed

DuplicateGroup = Int64[np.ndarray, "n"]


@dataclass(frozen=True)
class SplitReport:
    """Counts on a finished split: what each part holds and what the parts share.

    Attributes:
        num_images: number of rows of each part.
        num_classes: number of labels that occur in each part.
        num_labels: number of labels in the whole catalog.
        missing_labels: labels that a part lacks, for each part that lacks any.
        num_groups: number of distinct groups; None when the catalog has no groups.
        num_shared_groups: groups with images in more than one part.
        num_duplicate_groups: duplicate groups of two or more images; None when the catalog was not
            searched for duplicates.
        num_shared_duplicate_groups: duplicate groups with images in more than one part.
        num_shared_files: files that rows of more than one part name.
        examples: a few of the shared things, one line each.
    """

    num_images: dict[str, int]
    num_classes: dict[str, int]
    num_labels: int
    missing_labels: dict[str, tuple[str, ...]]
    num_groups: int | None
    num_shared_groups: int
    num_duplicate_groups: int | None
    num_shared_duplicate_groups: int
    num_shared_files: int
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
            f"{part_name(part)}{':' * part.isdigit()} {count:,}"
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
        return lines + [f"  {example}" for example in self.examples]

    def _class_line(self) -> str:
        if not self.missing_labels:
            return f"classes: all {self.num_labels:,} in every part"
        gaps = [
            f"{part_name(part)} lacks {listed(labels)}"
            for part, labels in self.missing_labels.items()
        ]
        return f"classes: {self.num_labels:,}; " + "; ".join(gaps)

    def to_json(self) -> dict[str, Any]:
        """All attributes and `ok`, as `split.json` holds them."""
        return asdict(self) | {"ok": self.ok}


def part_name(part: str) -> str:
    """Name of a part in text: `"test"`, or "fold 1" for `"0"`, since text counts from 1."""
    return f"fold {int(part) + 1}" if part.isdigit() else part


def split_catalog(
    catalog: Catalog,
    *,
    val: float,
    test: float,
    seed: int,
    group: str | None = None,
    duplicate_group: DuplicateGroup | None = None,
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

    Returns:
        The catalog with its column `split`, and the report on it.

    Raises:
        SplitError: the fractions leave nothing to train on, a column is missing, a given split is
            incomplete, or a class cannot be in every part.
    """
    fractions = {"train": 1.0 - val - test, "val": val, "test": test}
    if min(val, test) < 0.0 or fractions["train"] <= 0.0:
        raise SplitError(f"fractions of {val} for val and {test} for test leave no training images")
    catalog = _grouped(catalog, group)
    if catalog.has("split"):
        return _completed(catalog, fractions, seed=seed, duplicate_group=duplicate_group)
    parts = _divided(
        catalog, _positive(fractions), salt=f"split {seed}", duplicate_group=duplicate_group
    )
    done = catalog.with_table(catalog.table.with_columns(parts.alias("split")))
    return done, check_leakage(done, duplicate_group)


def fold_catalog(
    catalog: Catalog,
    *,
    folds: int,
    seed: int,
    group: str | None = None,
    duplicate_group: DuplicateGroup | None = None,
) -> tuple[Catalog, SplitReport]:
    """Give every row a `fold`, 0 to `folds` - 1, by the rules of `split_catalog`.

    Folds that the catalog already has are kept. A given split is dropped, since the folds cover all
    images.

    Args:
        catalog: the images, with or without labels.
        folds: number of folds, at least 2.
        seed: another seed gives other folds.
        group: see `split_catalog`.
        duplicate_group: see `split_catalog`.

    Returns:
        The catalog with its column `fold`, and the report on it.

    Raises:
        SplitError: fewer than two folds, another number than given, or a class with fewer
            independent units than folds.
    """
    if folds < 2:
        raise SplitError(f"--folds {folds}: at least 2 are needed", fix="--folds 5")
    catalog = _grouped(catalog, group)
    if catalog.has("split"):
        catalog = catalog.with_notes("the given split is not used: the folds cover all images")
    table = catalog.table.drop("split", strict=False)
    if catalog.has("fold"):
        given = table["fold"].n_unique()
        if given != folds or table["fold"].null_count() or table["fold"].max() != folds - 1:
            raise SplitError(
                f"the catalog has {counted(given, 'fold')}, not {folds}",
                where=catalog.name,
                fix=f"--folds {given}, or remove the column `fold`",
            )
        done = catalog.with_table(table)
        return done, check_leakage(done, duplicate_group)
    fractions = {str(fold): 1.0 / folds for fold in range(folds)}
    parts = _divided(catalog, fractions, salt=f"folds {seed}", duplicate_group=duplicate_group)
    fold = parts.cast(pl.Int64).alias("fold")
    done = catalog.with_table(table.with_columns(fold))
    return done, check_leakage(done, duplicate_group)


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
        SplitError: no such fold, or a class of the others has too few units for validation.
    """
    if not catalog.has("fold") or fold not in catalog.table["fold"].unique().to_list():
        raise SplitError(f"there is no fold {fold}", where=catalog.name)
    given = pl.when(pl.col("fold") == fold).then(pl.lit("test")).otherwise(pl.lit("train"))
    split = catalog.with_table(catalog.table.with_columns(split=given))
    fractions = _positive({"train": 1.0 - val, "val": val})
    return _carved(split, fractions, salt=f"fold {fold} {seed}", duplicate_group=duplicate_group)


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
    shared_files, examples = _shared(table, table["image"], "file")
    num_groups, shared_groups = None, 0
    if catalog.has("group"):
        num_groups = catalog.table["group"].drop_nulls().n_unique()
        shared_groups, more = _shared(table, catalog.table["group"], "group")
        examples = [*more, *examples]
    num_duplicate_groups, shared_duplicate_groups = None, 0
    if duplicate_group is not None:
        ids = pl.Series(duplicate_group)
        num_duplicate_groups = int(ids.value_counts()["count"].gt(1).sum())
        shared_duplicate_groups, more = _shared(table, ids, "duplicates of", by_image=True)
        examples = [*more, *examples]
    return SplitReport(
        num_images={part: counts[part] for part in parts},
        num_classes={part: len(in_part.get(part, ())) for part in parts},
        num_labels=len(catalog.labels),
        missing_labels={
            part: tuple(label for label in catalog.labels if label not in in_part.get(part, ()))
            for part in parts
            if len(in_part.get(part, ())) < len(catalog.labels)
        },
        num_groups=num_groups,
        num_shared_groups=shared_groups,
        num_duplicate_groups=num_duplicate_groups,
        num_shared_duplicate_groups=shared_duplicate_groups,
        num_shared_files=shared_files,
        examples=tuple(examples[:SHOWN_DETAILS]),
    )


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


def _completed(
    catalog: Catalog,
    fractions: Mapping[str, float],
    *,
    seed: int,
    duplicate_group: DuplicateGroup | None,
) -> tuple[Catalog, SplitReport]:
    """Keep the given split and take the parts that it lacks out of its train rows."""
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
    wanted = _positive({"train": 1.0 - sum(lacking.values()), **lacking})
    if len(wanted) > 1:
        catalog = _carved(catalog, wanted, salt=f"split {seed}", duplicate_group=duplicate_group)
    return catalog, check_leakage(catalog, duplicate_group)


def _carved(
    catalog: Catalog,
    fractions: Mapping[str, float],
    *,
    salt: str,
    duplicate_group: DuplicateGroup | None,
) -> Catalog:
    """Divide the train rows among parts; the other rows keep their part."""
    rows = catalog.rows_of("train")
    inner = None if duplicate_group is None else duplicate_group[rows]
    parts = _divided(catalog.take(rows), fractions, salt=salt, duplicate_group=inner)
    split = catalog.table["split"].to_numpy().astype(object)
    split[rows] = parts.to_numpy()
    column = pl.Series("split", split.tolist(), dtype=pl.String)
    return catalog.with_table(catalog.table.with_columns(column))


def _divided(
    catalog: Catalog,
    fractions: Mapping[str, float],
    *,
    salt: str,
    duplicate_group: DuplicateGroup | None,
) -> pl.Series:
    """The part of each row, by name."""
    names = list(fractions)
    units = _units(catalog, salt=salt, duplicate_group=duplicate_group)
    _refuse_rare(catalog, units, names)
    part = divide(units, list(fractions.values()))
    if part is None:
        raise SplitError(
            f"found no split with every class in each of {listed(names)}: groups or duplicate "
            "groups keep the images of rare classes together",
            where=catalog.name,
            details=_rarest_first(catalog, units),
            fix="drop rare classes with --drop LABEL, merge them with --label-map, or make fewer "
            "parts",
        )
    part_of_row = part[units.of_row]
    return pl.Series(names).gather(part_of_row)


def _units(catalog: Catalog, *, salt: str, duplicate_group: DuplicateGroup | None) -> Units:
    """The units of the catalog: rows linked by file, group or duplicate group."""
    table = catalog.table
    links = [_codes(table["image"])]
    if catalog.has("group"):
        links.append(_codes(table["group"]))
    if duplicate_group is not None:
        assert len(duplicate_group) == len(catalog)
        links.append(_codes(pl.Series(duplicate_group)))
    labels = catalog.labels
    pairs = _pairs(catalog)
    code = pairs["label"].replace_strict(
        list(labels), list(range(len(labels))), return_dtype=pl.Int64
    )
    # Rows without any label get one more code, so that they are divided in proportion too.
    bare = np.setdiff1d(np.arange(len(table)), pairs["row"].to_numpy())
    return gather_units(
        table["image"].to_list(),
        np.concatenate([pairs["row"].to_numpy(), bare]),
        np.append(code.to_numpy().astype(np.int64), np.full(len(bare), len(labels))),
        num_labels=len(labels) + 1,
        links=links,
        salt=salt,
    )


def _pairs(catalog: Catalog) -> pl.DataFrame:
    """One line for each row and label; rows without a label have no line."""
    if not catalog.labels:
        return pl.DataFrame(schema={"row": pl.Int64, "label": pl.String})
    rows = pl.Series("row", np.arange(len(catalog)))
    frame = pl.DataFrame([rows, catalog.table["label"]])
    return (frame.explode("label") if catalog.multilabel else frame).drop_nulls("label")


def _codes(column: pl.Series) -> Int64[np.ndarray, "n"]:
    """0, 1, ... by value; -1 where there is no value, or everywhere if no value occurs twice."""
    if column.n_unique() == len(column):
        return np.full(len(column), -1, np.int64)
    if column.dtype == pl.String:
        column = column.cast(pl.Categorical).to_physical()
    codes = (column.rank("dense").cast(pl.Int64) - 1).fill_null(-1)
    return codes.to_numpy()


def _refuse_rare(catalog: Catalog, units: Units, parts: Sequence[str]) -> None:
    """Raise where a label has fewer units than there are parts."""
    occurrences = units.units_of_label()
    few = [code for code in range(len(catalog.labels)) if occurrences[code] < len(parts)]
    rare = [
        f"{catalog.labels[code]!r}: {counted(int(occurrences[code]), 'independent unit')}"
        f" ({counted(_images_of(units, code), 'image')}), needs {len(parts)}"
        for code in few
    ]
    if rare:
        dropped = drop_flags([catalog.labels[code] for code in few])
        fix = f"{dropped}, or merge with --label-map, or make fewer parts"
        if catalog.has("group"):
            fix += "\n--group none   (images of one group may be in several parts)"
        raise SplitError(
            f"{counted(len(rare), 'class')} cannot be in each of {listed(list(parts))}",
            where=catalog.name,
            details=rare,
            fix=fix,
        )


def _images_of(units: Units, code: int) -> int:
    return int(units.count[units.label == code].sum())


def _rarest_first(catalog: Catalog, units: Units) -> list[str]:
    """How many units each label has, fewest first."""
    occurrences = units.units_of_label()[: len(catalog.labels)]
    return [
        f"{catalog.labels[code]!r}: {counted(int(occurrences[code]), 'independent unit')}"
        for code in np.argsort(occurrences, kind="stable")
    ]


def _labels_by_part(catalog: Catalog, part: pl.Series) -> dict[str, set[str]]:
    rows = pl.DataFrame({"row": np.arange(len(catalog)), "part": part})
    pairs = rows.join(_pairs(catalog), on="row").select("part", "label").drop_nulls().unique()
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
