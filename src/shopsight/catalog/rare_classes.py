"""Classes of few images: kept in training only, dropped, merged, folded up the tree, or refused.

They are decided after the audit, when files that cannot be used are left out, and before the split.
A class is rare when it cannot be in every part of the split (or every fold) that is made, or when
it has fewer images than `--rare-below` says. A given split that has all its parts makes none: there
only `--rare-below` makes a class rare.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.label_map import drop_labels, renamed_labels
from shopsight.catalog.split_report import DuplicateGroup, SplitReport, label_rows
from shopsight.errors import CatalogError, SplitError
from shopsight.label_tree import is_path, parent_path, path_parts
from shopsight.read_options import ReadOptions, drop_flags
from shopsight.text import counted, listed

RARE_LABEL = "(rare)"
"""The class that rare ones are merged into."""

Scarce = Callable[[Catalog, DuplicateGroup], Collection[str]]
"""Gives the labels of a catalog, with the duplicate group of each row, that cannot be in every part
of the split that is to be made: see `shopsight.catalog.split.scarce_labels`."""


@dataclass(frozen=True, eq=False)
class SettledClasses:
    """A catalog whose rare classes are decided.

    Attributes:
        catalog: the images that stay, with their labels.
        rows: their rows in the catalog before.
        train_only: labels that are to be in training only, beside those that cannot be elsewhere.
        merged: labels that became `RARE_LABEL`.
        dropped: labels that were left out.
        folded: labels that became a path above them, and which.
        notes: what was decided, with an example; a line or none. What is kept in training only is
            known once the split is made: see `split_notes`.
    """

    catalog: Catalog
    rows: Int64[np.ndarray, "m"]
    train_only: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    folded: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_rare_options(catalog: Catalog, read: ReadOptions) -> None:
    """Refuse, before any image is read, what `settle_rare_classes` would refuse after all.

    Raises:
        CatalogError: classes are to be merged into one whose name is taken, or folded into parents
            that no label has, or the limit is no number of images.
    """
    if read.rare_below is not None and read.rare_below < 1:
        raise CatalogError(
            f"{read.rare_below} is no number of images", where="--rare-below", fix="--rare-below 10"
        )
    if read.choice("on_rare") == "merge" and RARE_LABEL in catalog.labels:
        raise CatalogError(
            f"there is a label {RARE_LABEL!r} already, and --on-rare merge makes one",
            where=catalog.name,
            fix="rename it with --label-map, or --on-rare keep",
        )
    if read.choice("on_rare") == "parent" and not any(map(is_path, catalog.labels)):
        raise CatalogError(
            "--on-rare parent folds paths such as 'Jewelry > Rings', and no label is one",
            where=catalog.name,
            details=[f"labels: {listed(catalog.labels)}"],
            fix='--path-separator "/"   (where labels are paths with another separator)\n'
            "--on-rare merge   (makes one class of the rare ones)",
        )


def settle_rare_classes(
    catalog: Catalog,
    read: ReadOptions,
    *,
    duplicate_group: DuplicateGroup,
    scarce: Scarce,
) -> SettledClasses:
    """Decide what becomes of rare classes, as `read.on_rare` says.

    Args:
        catalog: the images that the audit let pass.
        read: `on_rare` and `rare_below`.
        duplicate_group: of each row.
        scarce: see `Scarce`.

    Raises:
        SplitError: there are rare classes and `on_rare` is "error", or no class is left.
        CatalogError: see `check_rare_options`.
    """
    check_rare_options(catalog, read)
    action, every = read.choice("on_rare"), np.arange(len(catalog), dtype=np.int64)
    few = _fewer_than(catalog, read.rare_below)
    if action == "keep":
        return SettledClasses(catalog, every, train_only=tuple(few))
    rare = sorted({*few, *scarce(catalog, duplicate_group)})
    if not rare:
        return SettledClasses(catalog, every)
    if action == "error":
        raise _refusal(catalog, rare, read)
    if action == "parent":
        return _folded(catalog, read, duplicate_group, scarce)
    if action == "merge":
        merged = _renamed(catalog, rare)
        return SettledClasses(
            merged,
            every,
            train_only=tuple(_fewer_than(merged, read.rare_below)),
            merged=tuple(rare),
            notes=_notes(catalog, rare, "merge", _images(catalog, rare)),
        )
    return _without(catalog, read, duplicate_group, scarce, rare)


def split_notes(
    report: SplitReport, *, made: bool, train_only: Collection[str] = ()
) -> tuple[str, ...]:
    """A line about the classes that a split has in training only, or was to have.

    Args:
        report: on the split.
        made: whether it was made just now, and not given with DATA.
        train_only: labels that were to be in training only.
    """
    if made and report.train_only:
        label, count = next(iter(report.train_only.items()))
        return (
            f"rare: {len(report.train_only):,} of {counted(report.num_labels, 'class')} in "
            f"training only, not measured, e.g. {label} ({counted(count, 'image')}); --on-rare "
            "drop, merge, parent or error does otherwise",
        )
    elsewhere = sorted(set(train_only) - set(report.train_only))
    if elsewhere:
        return (
            f"rare: {counted(len(elsewhere), 'class')} of fewer images than --rare-below stay in "
            f"the parts that DATA gives them, e.g. {elsewhere[0]}",
        )
    return ()


def apply_rare_labels(
    catalog: Catalog,
    *,
    merged: Collection[str],
    dropped: Collection[str],
    folded: Mapping[str, str] | None = None,
) -> tuple[Catalog, tuple[str, ...]]:
    """Give DATA the labels of a model whose rare classes were merged or dropped.

    Args:
        catalog: labeled images.
        merged: labels that the model knows as `RARE_LABEL`.
        dropped: labels that it was not trained on.
        folded: labels that it knows as a path above them; None is none.

    Returns:
        The catalog, and a line for what was done, if anything was.
    """
    found = [label for label in catalog.labels if label in set(merged)]
    gone = [label for label in catalog.labels if label in set(dropped)]
    notes = []
    if found:
        images = _images(catalog, found)
        catalog = _renamed(catalog, found)
        notes.append(
            f"as in training, {counted(images, 'image')} of {counted(len(found), 'class')} are "
            f"labeled {RARE_LABEL}: {listed(found, most=3)}"
        )
    up = {label: to for label, to in (folded or {}).items() if label in catalog.labels}
    if up:
        images, pairs = _images(catalog, up), [f"{old} -> {to}" for old, to in up.items()]
        catalog = renamed_labels(catalog, up)
        notes.append(
            f"as in training, {counted(images, 'image')} of {counted(len(up), 'class')} are "
            f"labeled by a path above: {listed(pairs, most=3)}"
        )
    if gone:
        images = _images(catalog, gone)
        catalog = drop_labels(catalog, gone)
        notes.append(
            f"as in training, left out {counted(images, 'image')} of "
            f"{counted(len(gone), 'rare class')}: {listed(gone, most=3)}"
        )
    return catalog, tuple(notes)


def _fewer_than(catalog: Catalog, limit: int | None) -> list[str]:
    if limit is None:
        return []
    counts = _counts(catalog)
    return [label for label in catalog.labels if counts[label] < limit]


def _counts(catalog: Catalog) -> Mapping[str, int]:
    return dict(label_rows(catalog)["label"].value_counts().iter_rows())


def _images(catalog: Catalog, labels: Collection[str]) -> int:
    rows = label_rows(catalog).filter(pl.col("label").is_in(list(labels)))
    return rows["row"].n_unique()


def _renamed(catalog: Catalog, labels: Collection[str]) -> Catalog:
    return renamed_labels(catalog, dict.fromkeys(labels, RARE_LABEL))


def _folded(
    catalog: Catalog, read: ReadOptions, duplicate_group: DuplicateGroup, scarce: Scarce
) -> SettledClasses:
    """Fold rare classes into the path above them, until none that has one is rare.

    The deepest first: two rare leaves may make a parent that is not rare, and it stays then. What
    is rare at the top has nothing above it, and trains only.
    """
    folded, rest = dict[str, str](), catalog
    while True:
        rare = {*_fewer_than(rest, read.rare_below), *scarce(rest, duplicate_group)}
        level = max((len(path_parts(label)) for label in rare), default=1)
        deepest = [label for label in sorted(rare) if len(path_parts(label)) == level > 1]
        if not deepest:
            break
        step = {label: str(parent_path(label)) for label in deepest}
        rest = renamed_labels(rest, step)
        folded = {label: step.get(to, to) for label, to in (step | folded).items()}
    folded = {label: to for label, to in sorted(folded.items()) if label in catalog.labels}
    return SettledClasses(
        rest,
        np.arange(len(catalog), dtype=np.int64),
        train_only=tuple(_fewer_than(rest, read.rare_below)),
        folded=folded,
        notes=_folded_notes(catalog, folded),
    )


def _folded_notes(catalog: Catalog, folded: Mapping[str, str]) -> tuple[str, ...]:
    if not folded:
        return ()
    counts = _counts(catalog)
    fewest = min(folded, key=lambda label: (counts[label], label))
    classes = f"{len(folded):,} of {counted(len(catalog.labels), 'class')}"
    paths = counted(len(set(folded.values())), "path")
    return (
        f"rare: folded {classes}, {counted(_images(catalog, folded), 'image')}, into {paths} "
        f"above, e.g. {fewest} ({counted(counts[fewest], 'image')}) -> {folded[fewest]}",
    )


def _without(
    catalog: Catalog,
    read: ReadOptions,
    duplicate_group: DuplicateGroup,
    scarce: Scarce,
    rare: list[str],
) -> SettledClasses:
    """Leave rare classes out, until none is left: an image can take another label with it."""
    rows, dropped, rest = np.arange(len(catalog), dtype=np.int64), set[str](), catalog
    while rare:
        dropped |= set(rare)
        if not set(rest.labels) - set(rare):
            raise SplitError(
                f"all {counted(len(catalog.labels), 'class')} are rare: nothing is left",
                where=catalog.name,
                fix="--on-rare keep, or --on-rare merge"
                + ", or a lower --rare-below" * (read.rare_below is not None),
            )
        numbered = rest.with_table(rest.table.with_row_index("row in rest"))
        rest = drop_labels(numbered, rare)
        rows = rows[rest.table["row in rest"].to_numpy()]
        rest = rest.with_table(rest.table.drop("row in rest"))
        few = _fewer_than(rest, read.rare_below)
        rare = sorted({*few, *scarce(rest, duplicate_group[rows])})
    names = sorted(dropped)
    return SettledClasses(
        catalog.with_table(rest.table),
        rows,
        dropped=tuple(names),
        notes=_notes(catalog, names, "drop", len(catalog) - len(rows)),
    )


def _notes(catalog: Catalog, rare: list[str], action: str, images: int) -> tuple[str, ...]:
    counts = _counts(catalog)
    fewest = min(rare, key=lambda label: (counts[label], label))
    what = f"{len(rare):,} of {counted(len(catalog.labels), 'class')}"
    example = f"e.g. {fewest} ({counted(counts[fewest], 'image')})"
    left = f"{what}, {counted(images, 'image')}"
    if action == "drop":
        return (f"rare: left out {left}, {example}",)
    return (f"rare: merged {left}, into {RARE_LABEL}, {example}",)


def _refusal(catalog: Catalog, rare: list[str], read: ReadOptions) -> SplitError:
    counts = _counts(catalog)
    fewest_first = sorted(rare, key=lambda label: (counts[label], label))
    limit = f"have fewer than {read.rare_below} images, or " if read.rare_below else ""
    return SplitError(
        f"{len(rare):,} of {counted(len(catalog.labels), 'class')} {limit}cannot be in every part "
        "of the split",
        where=catalog.name,
        details=[f"{label!r}: {counted(counts[label], 'image')}" for label in fewest_first],
        fix="--on-rare keep   (trains on them, measures the others)\n"
        + "--on-rare parent   (folds them into the paths above them)\n"
        * any(map(is_path, catalog.labels))
        + f"--on-rare merge   (makes one class of them, {RARE_LABEL})\n"
        f"--on-rare drop   (leaves them out, as {drop_flags(fewest_first)} does)",
    )
