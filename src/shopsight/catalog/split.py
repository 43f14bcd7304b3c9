"""Train, validation and test, or K folds: seeded, stratified, without leaks, with the proof."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.columns import NO_COLUMN
from shopsight.catalog.stratify import Units, divide, gather_units
from shopsight.errors import SHOWN_DETAILS, SplitError
from shopsight.text import counted, listed

DuplicateGroup = Int64[np.ndarray, "n"]


@dataclass(frozen=True)
class SplitReport:
    """What was counted on a split.

    Attributes:
        images: by part.
        classes: by part, how many labels occur in it.
        class_total: labels in the whole catalog.
        missing: by part, labels that occur in others but not in it.
        groups: distinct groups; None when the catalog has none.
        shared_groups: groups with images in more than one part.
        families: duplicate families of two or more images; None when they were not looked for.
        shared_twins: such families in more than one part.
        shared_images: files that rows in more than one part name.
        examples: of what is shared.
    """

    images: dict[str, int]
    classes: dict[str, int]
    class_total: int
    missing: dict[str, tuple[str, ...]]
    groups: int | None
    shared_groups: int
    duplicate_groups: int | None
    shared_duplicate_groups: int
    shared_images: int
    examples: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing is in two parts."""
        return not (self.shared_groups or self.shared_duplicate_groups or self.shared_images)

    def lines(self) -> list[str]:
        """The proof in words."""
        parts = ", ".join(
            f"{part_name(part)}{':' * part.isdigit()} {count:,}"
            for part, count in self.images.items()
        )
        lines = [f"images: {parts}"]
        if self.class_total:
            lines.append(self._about_classes())
        if self.groups is not None:
            lines.append(f"groups in more than one part: {self.shared_groups} of {self.groups:,}")
        if self.duplicate_groups is not None:
            shared = f"{self.shared_duplicate_groups} of {self.duplicate_groups:,}"
            lines.append(f"duplicate groups in more than one part: {shared}")
        lines.append(f"files in more than one part: {self.shared_images}")
        return lines + [f"  {example}" for example in self.examples]

    def _about_classes(self) -> str:
        if not self.missing:
            return f"classes: all {self.class_total:,} in every part"
        gaps = [
            f"{part_name(part)} lacks {listed(labels)}" for part, labels in self.missing.items()
        ]
        return f"classes: {self.class_total:,}; " + "; ".join(gaps)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}


def part_name(part: str) -> str:
    """Fold `"0"` is "fold 1": words count from 1, flags and folders from 0."""
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

    A split that the catalog brings along is kept; a part that it lacks is carved out of its
    train rows, in the asked share of these. A share of 0 makes no such part.

    Args:
        val, test: shares of the images, below 1 together.
        group: the column whose values must not straddle; None: `group` where there is one;
            "none": no such column.
        twins: duplicate family of each row, as the audit gives it; families stay together.

    Raises:
        SplitError: the shares leave nothing to train on, a column is missing, a given split is
            incomplete, or a class cannot be in every part.
    """
    shares = {"train": 1.0 - val - test, "val": val, "test": test}
    if min(val, test) < 0.0 or shares["train"] <= 0.0:
        raise SplitError(f"shares of {val} for val and {test} for test leave no training images")
    catalog = _grouped(catalog, group)
    if catalog.has("split"):
        return _completed(catalog, shares, seed=seed, duplicate_group=duplicate_group)
    parts = _divided(
        catalog, _positive(shares), salt=f"split {seed}", duplicate_group=duplicate_group
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

    Folds that the catalog brings along are kept. A given split is set aside: the folds cover
    all images.

    Raises:
        SplitError: fewer than two folds, another number than given, or a class with fewer
            independent units than folds.
    """
    if folds < 2:
        raise SplitError(f"{folds} folds; at least 2 are needed")
    catalog = _grouped(catalog, group)
    if catalog.has("split"):
        catalog = catalog.with_notes("the given split is set aside: the folds cover all images")
    table = catalog.table.drop("split", strict=False)
    if catalog.has("fold"):
        given = table["fold"].n_unique()
        if given != folds or table["fold"].null_count() or table["fold"].max() != folds - 1:
            raise SplitError(
                f"the catalog has {given} folds, {folds} are asked for", where=catalog.name
            )
        done = catalog.with_table(table)
        return done, check_leakage(done, duplicate_group)
    shares = {str(fold): 1.0 / folds for fold in range(folds)}
    parts = _divided(catalog, shares, salt=f"folds {seed}", duplicate_group=duplicate_group)
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
    """One fold as test; validation is carved out of the others, in the asked share of these.

    Raises:
        SplitError: no such fold, or a class of the others has too few units for validation.
    """
    if not catalog.has("fold") or fold not in catalog.table["fold"].unique().to_list():
        raise SplitError(f"there is no fold {fold}", where=catalog.name)
    given = pl.when(pl.col("fold") == fold).then(pl.lit("test")).otherwise(pl.lit("train"))
    split = catalog.with_table(catalog.table.with_columns(split=given))
    shares = _positive({"train": 1.0 - val, "val": val})
    return _carved(split, shares, salt=f"fold {fold} {seed}", duplicate_group=duplicate_group)


def check_leakage(catalog: Catalog, duplicate_group: DuplicateGroup | None = None) -> SplitReport:
    """Count what a split (or else the folds) shares between its parts.

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
    shared_images, examples = _shared(table, table["image"], "file")
    groups = shared_groups = None
    if catalog.has("group"):
        groups = catalog.table["group"].drop_nulls().n_unique()
        shared_groups, more = _shared(table, catalog.table["group"], "group")
        examples = [*more, *examples]
    duplicate_groups = shared_duplicate_groups = None
    if duplicate_group is not None:
        family = pl.Series(duplicate_group)
        duplicate_groups = int(family.value_counts()["count"].gt(1).sum())
        shared_duplicate_groups, more = _shared(table, family, "duplicates of", by_image=True)
        examples = [*more, *examples]
    return SplitReport(
        images={part: counts[part] for part in parts},
        classes={part: len(in_part.get(part, ())) for part in parts},
        class_total=len(catalog.labels),
        missing={
            part: tuple(label for label in catalog.labels if label not in in_part.get(part, ()))
            for part in parts
            if len(in_part.get(part, ())) < len(catalog.labels)
        },
        groups=groups,
        shared_groups=shared_groups or 0,
        duplicate_groups=duplicate_groups,
        shared_duplicate_groups=shared_duplicate_groups or 0,
        shared_images=shared_images,
        examples=tuple(examples[:SHOWN_DETAILS]),
    )


def _grouped(catalog: Catalog, group: str | None) -> Catalog:
    """The catalog with `group` taken from the asked column."""
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


def _positive(shares: Mapping[str, float]) -> dict[str, float]:
    kept = {part: share for part, share in shares.items() if share > 0.0}
    total = sum(kept.values())
    return {part: share / total for part, share in kept.items()}


def _completed(
    catalog: Catalog,
    shares: Mapping[str, float],
    *,
    seed: int,
    duplicate_group: DuplicateGroup | None,
) -> tuple[Catalog, SplitReport]:
    given = set(catalog.table["split"].drop_nulls().to_list())
    lost = catalog.table["split"].null_count()
    if lost or "train" not in given:
        raise SplitError(
            f"the given split leaves out {counted(lost, 'row')}"
            if lost
            else "it has no train part",
            where=catalog.name,
            details=catalog.table.filter(pl.col("split").is_null())["image"].to_list(),
            fix="complete the column, or remove it and let the split be made",
        )
    lacking = {part: shares[part] for part in ("val", "test") if part not in given}
    wanted = _positive({"train": 1.0 - sum(lacking.values()), **lacking})
    if len(wanted) > 1:
        catalog = _carved(catalog, wanted, salt=f"split {seed}", duplicate_group=duplicate_group)
    return catalog, check_leakage(catalog, duplicate_group)


def _carved(
    catalog: Catalog,
    shares: Mapping[str, float],
    *,
    salt: str,
    duplicate_group: DuplicateGroup | None,
) -> Catalog:
    """Divide the train rows; the other rows stay where they are."""
    rows = catalog.rows_of("train")
    inner = None if duplicate_group is None else duplicate_group[rows]
    parts = _divided(catalog.take(rows), shares, salt=salt, duplicate_group=inner)
    split = catalog.table["split"].to_numpy().astype(object)
    split[rows] = parts.to_numpy()
    column = pl.Series("split", split.tolist(), dtype=pl.String)
    return catalog.with_table(catalog.table.with_columns(column))


def _divided(
    catalog: Catalog,
    shares: Mapping[str, float],
    *,
    salt: str,
    duplicate_group: DuplicateGroup | None,
) -> pl.Series:
    """The part of each row, by name."""
    names = list(shares)
    units = _units(catalog, salt=salt, duplicate_group=duplicate_group)
    _refuse_rare(catalog, units, names)
    part = divide(units, list(shares.values()))
    if part is None:
        raise SplitError(
            f"no way found to have every class in each of {listed(names)}: groups or duplicate "
            "families tie its images together",
            where=catalog.name,
            details=_sketch_rarest(catalog, units),
            fix="leave rare classes out with --drop LABEL, merge them with --label-map, or make "
            "fewer parts",
        )
    part_of_row = part[units.of_row]
    return pl.Series(names).gather(part_of_row)


def _units(catalog: Catalog, *, salt: str, duplicate_group: DuplicateGroup | None) -> Units:
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
    # Rows without any label share one more code, so that they are divided too.
    bare = np.setdiff1d(np.arange(len(table)), pairs["row"].to_numpy())
    return gather_units(
        table["image"].to_list(),
        np.concatenate([pairs["row"].to_numpy(), bare]),
        np.append(code.to_numpy().astype(np.int64), np.full(len(bare), len(labels))),
        labels=len(labels) + 1,
        links=links,
        salt=salt,
    )


def _pairs(catalog: Catalog) -> pl.DataFrame:
    """One line per row and label; rows without a label have none."""
    if not catalog.labels:
        return pl.DataFrame(schema={"row": pl.Int64, "label": pl.String})
    rows = pl.Series("row", np.arange(len(catalog)))
    frame = pl.DataFrame([rows, catalog.table["label"]])
    return (frame.explode("label") if catalog.multilabel else frame).drop_nulls("label")


def _codes(column: pl.Series) -> Int64[np.ndarray, "n"]:
    """0, 1, ... by value; -1 where there is none, or where no value occurs twice."""
    if column.n_unique() == len(column):
        return np.full(len(column), -1, np.int64)
    if column.dtype == pl.String:
        column = column.cast(pl.Categorical).to_physical()
    codes = (column.rank("dense").cast(pl.Int64) - 1).fill_null(-1)
    return codes.to_numpy()


def _refuse_rare(catalog: Catalog, units: Units, parts: Sequence[str]) -> None:
    occurrences = units.units_of_label()
    rare = [
        f"{label!r}: {counted(int(occurrences[code]), 'independent unit')}"
        f" ({counted(_images_of(units, code), 'image')}), {len(parts)} needed"
        for code, label in enumerate(catalog.labels)
        if occurrences[code] < len(parts)
    ]
    if rare:
        raise SplitError(
            f"{counted(len(rare), 'class')} cannot be in each of {listed(list(parts))}",
            where=catalog.name,
            details=rare,
            fix="leave it out with --drop LABEL, merge it with --label-map, or make fewer parts",
        )


def _images_of(units: Units, code: int) -> int:
    return int(units.count[units.label == code].sum())


def _sketch_rarest(catalog: Catalog, units: Units) -> list[str]:
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
    """How many values occur in several parts, and a few of them in words."""
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
