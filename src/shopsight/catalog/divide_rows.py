"""Rows of a catalog into parts: each class into every part, or all of it into training.

A class that cannot be in every part, for want of images or because groups and duplicates hold its
images together, trains with all of them and is measured by none: a score of it would be of images
like those that it was trained on, or of a network that never saw it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split_report import DuplicateGroup, label_rows
from shopsight.catalog.stratify import divide, divide_with_repairs
from shopsight.catalog.units import Units, gather_units
from shopsight.errors import SplitError
from shopsight.text import counted, listed


@dataclass(frozen=True, eq=False)
class Division:
    """Rows and their parts.

    Attributes:
        part: the part of each row, by name; null for the images that only train.
        scarce: labels that cannot be in every part, all of whose images train.
        alone: those of them that have fewer units than there are parts. The others are kept
            together with such ones, by groups or as labels of the same images.
    """

    part: pl.Series
    scarce: tuple[str, ...]
    alone: tuple[str, ...]


def divide_rows(
    catalog: Catalog,
    fractions: Mapping[str, float],
    *,
    salt: str,
    duplicate_group: DuplicateGroup | None,
    train_only: Collection[str] = (),
    refuse: bool = True,
) -> Division:
    """Divide the rows so that each part has its fraction of every class that can be in every part.

    Args:
        catalog: the images.
        fractions: of the parts, by name; they sum to 1. Images that only train count for "train"
            where it is one of the parts.
        salt: another salt gives another division.
        duplicate_group: duplicate group of each row; each stays in one part.
        train_only: further labels all of whose images train.
        refuse: raise where too few classes can be in every part; else all images then train.

    Raises:
        SplitError: so few classes can be in every part that nothing would be measured.
    """
    units = _units(catalog, salt=salt, duplicate_group=duplicate_group)
    wanted = set(train_only)
    given = np.zeros(units.num_labels, bool)
    given[: len(catalog.labels)] = [label in wanted for label in catalog.labels]
    tries = _Tries(units, list(fractions), given)
    of_unit = _divide_free(units, tries, list(fractions.values()))
    if refuse:
        _refuse_unmeasured(catalog, units, tries, list(fractions))
    code = pl.Series(of_unit[units.of_row])
    names = list(fractions)
    scarce = tries.rare & ~given
    few = scarce & (units.units_of_label() < len(names))
    return Division(
        part=code.replace_strict(list(range(len(names))), names, default=None).cast(pl.String),
        scarce=tuple(label for code, label in enumerate(catalog.labels) if scarce[code]),
        alone=tuple(label for code, label in enumerate(catalog.labels) if few[code]),
    )


def _divide_free(units: Units, tries: _Tries, fractions: Sequence[float]) -> Int64[np.ndarray, "u"]:
    """The part of each unit, -1 of those that only train: as many more as it takes."""
    of_unit = np.full(len(units.size), -1, np.int64)
    part = divide(units.only(~tries.trains), fractions, covered=tries.covered())
    while part is None and tries.num_measured():
        free, covered = units.only(~tries.trains), tries.covered()
        part, lacking = divide_with_repairs(free, fractions, covered=covered)
        if part is None:
            tries.give_up(lacking)
    if part is not None:
        of_unit[~tries.trains] = part
    return of_unit


class _Tries:
    """Which labels only train, so far.

    Images of such a label take their other labels, and whatever their units hold, with them into
    training. That may leave too few units of another label, which then only trains as well.

    Args:
        units: what is divided.
        parts: names of the parts.
        rare: labels that only train from the start.
    """

    def __init__(self, units: Units, parts: Sequence[str], rare: Bool[np.ndarray, "l"]) -> None:
        self._units, self._parts = units, parts
        self._owner = np.repeat(np.arange(len(units.size)), np.diff(units.start))
        self.rare = rare.copy()
        self._settle()

    def covered(self) -> Bool[np.ndarray, "p l"]:
        """Which labels each part has already, by units that only train."""
        found = np.zeros((len(self._parts), self._units.num_labels), bool)
        if "train" in self._parts:
            found[self._parts.index("train")] = self._trained
        # What only trains need not be anywhere else.
        found[:, self.rare] = True
        return found

    def give_up(self, lacking: Sequence[int]) -> None:
        """Let labels that some part lacked only train."""
        self.rare[lacking] = True
        self._settle()

    def num_measured(self) -> int:
        """Labels that are in every part."""
        return int(self._measurable().sum())

    def _measurable(self) -> Bool[np.ndarray, "l"]:
        found: Bool[np.ndarray, "l"] = (self._units.units_of_label() > 0) & ~self.rare
        found[-1] = False
        return found

    def _settle(self) -> None:
        units = self._units
        while True:
            self.trains = np.zeros(len(units.size), bool)
            self.trains[self._owner[self.rare[units.label]]] = True
            inside = self.trains[self._owner]
            self.free = np.bincount(units.label[~inside], minlength=units.num_labels)
            self._trained = np.bincount(units.label[inside], minlength=units.num_labels) > 0
            needed = len(self._parts) - (self._trained if "train" in self._parts else 0)
            few = self._measurable() & (self.free < needed)
            if not few.any():
                return
            self.rare |= few


def _refuse_unmeasured(catalog: Catalog, units: Units, tries: _Tries, parts: Sequence[str]) -> None:
    """Raise where the parts would measure no class, or one of several alone."""
    labels = len(catalog.labels)
    fewest = min(labels, 1 if catalog.multilabel else 2)
    if tries.num_measured() >= fewest:
        return
    names = [label for code, label in enumerate(catalog.labels) if tries.rare[code]]
    if each_class_is_one_group(catalog):
        raise _classes_are_groups(catalog, parts)
    occurrences = units.units_of_label()
    images = np.bincount(units.label, weights=units.count, minlength=units.num_labels)
    # A label of many images may be in the way of none, and lose them to rarer labels of theirs.
    details = [
        f"{label!r}: {counted(int(images[code]), 'image')}, "
        f"{counted(int(occurrences[code]), 'independent unit')}"
        + f", {tries.free[code]:,} without rarer labels" * catalog.multilabel
        + f", needs {len(parts)}"
        for code, label in enumerate(catalog.labels)
        if tries.rare[code]
    ]
    fix = (
        "add images of them, merge them with --label-map or --on-rare merge, or make fewer parts "
        "(no val part, fewer folds)"
    )
    if catalog.multilabel:
        fix += "\n--on-rare drop   (leaves the rarest out; their images keep their other labels)"
    if catalog.has("group"):
        fix += "\n--group none   (images of one group may be in several parts)"
    raise SplitError(
        f"{len(names):,} of {counted(labels, 'class')} cannot be in each of {listed(list(parts))}, "
        "so that no score would tell classes apart",
        where=catalog.name,
        details=details,
        fix=fix,
    )


def each_class_is_one_group(catalog: Catalog) -> bool:
    """Whether all images of each class are of one group, so that no class can be in two parts.

    So it is where both are the product, as in data for a search.
    """
    if catalog.multilabel or not catalog.has("group"):
        return False
    rows = catalog.table.filter(pl.col("label").is_not_null())
    classes = rows.group_by("label").agg(
        pl.len().alias("images"), pl.col("group").n_unique(), bare=pl.col("group").is_null().any()
    )
    several = classes.select(((pl.col("group") > 1) | pl.col("bare")).any()).item()
    # Without groups, single images could not be divided either.
    return not several and bool((classes["images"] > 1).any())


def _classes_are_groups(catalog: Catalog, parts: Sequence[str]) -> SplitError:
    firsts = catalog.table.group_by("label", maintain_order=True).agg(
        pl.len().alias("images"), pl.col("group").first()
    )
    return SplitError(
        f"each of {counted(len(catalog.labels), 'class')} is one group, which stays in one part: "
        f"none can be in each of {listed(list(parts))}",
        where=catalog.name,
        details=[
            f"{label!r}: {counted(images, 'image')} of group {group!r}"
            for label, images, group in firsts.drop_nulls("label").iter_rows()
        ],
        fix="--group none   (photos of one product may be in several parts: the score is of other "
        "photos of known products)\n"
        "shopsight split DATA --by label --out split.csv   (holds whole classes out: the score is "
        "of products that no training saw)\n"
        "--set data.val_classes=0.1 --set data.val=0 --set data.test=0   (training validates on "
        "whole classes)",
    )


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
    pairs = label_rows(catalog)
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


def _codes(column: pl.Series) -> Int64[np.ndarray, "n"]:
    """0, 1, ... by value; -1 where there is no value, or everywhere if no value occurs twice."""
    if column.n_unique() == len(column):
        return np.full(len(column), -1, np.int64)
    if column.dtype == pl.String:
        column = column.cast(pl.Categorical).to_physical()
    codes = (column.rank("dense").cast(pl.Int64) - 1).fill_null(-1)
    return codes.to_numpy()
