"""Merge: several DATA as one catalog, with what they share said before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight.audit.audit import audit
from shopsight.audit.findings import BLOCKING_KINDS
from shopsight.audit.gate import gate
from shopsight.audit.shared_images import SharedImages, find_shared_images
from shopsight.catalog.about_record import about_path, check_catalog_file
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.class_sizes import beyond_most, of_small_classes, with_repeats
from shopsight.catalog.merge_parts import ID, REPEAT, MergePart, merged_catalog
from shopsight.commands.merge_counts import MergeCounts, MergedRows
from shopsight.commands.merge_inputs import OF_THE_WHOLE, Data, named_data, read_parts
from shopsight.commands.merge_rules import MergeRules
from shopsight.commands.merge_shared import (
    IMAGES_FILE,
    refuse_undecided,
    shared_lines,
    write_report,
)
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_among_images
from shopsight.errors import CatalogError, ConfigError, WriteError
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import check_output_path
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import counted, listed

# Findings that would end a training here say nothing about reading the files.
_NOT_OF_FILES = BLOCKING_KINDS - {"most-missing", "unreachable"}


@dataclass(frozen=True, eq=False)
class MergeResult:
    """A merged catalog, and what became of the rows.

    Attributes:
        catalog: as it is written.
        shared: images and classes that several parts have, before any were left out for it.
        counts: rows of each part: read, left out, written.
    """

    catalog: Catalog
    shared: SharedImages
    counts: MergeCounts

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            **self.counts.to_json(),
            "shared": {
                "images": self.shared.num_images,
                "leaks": self.shared.num_leaks,
                "conflicts": self.shared.num_conflicts,
                "classes": self.shared.classes.to_dicts(),
            },
        }


def merge(
    data: Sequence[Data] | Mapping[str, Data],
    *,
    out: str | Path | None = None,
    rules: MergeRules | None = None,
    read: ReadOptions | None = None,
    report: str | Path | None = None,
) -> MergeResult:
    """Join several DATA in one catalog, whose classes and products stay apart.

    A label `Shoes` of a folder `shop` is `shop/Shoes`. What the parts share is found by the audit
    and reported before anything is written.

    Args:
        data: two or more of what every verb reads; `NAME=DATA`, or keys, name them.
        out: a .parquet or .csv file that is not there yet; None writes nothing.
        rules: which rows it has; None is the default of each.
        read: how each DATA is read; options that say nothing about one are for the others. Labels
            that are dropped or mapped are those of the merged catalog.
        report: the folder for shared_images.csv and same_classes.csv; the latter, corrected by
            hand, is a label map that makes one class of two.

    Raises:
        ConfigError: fewer than two DATA, one twice, or options that contradict each other.
        CatalogError: a DATA cannot be read or has no single labels, names clash, or no class stays.
        AuditError: parts share images that would corrupt a score, and nobody decided about them; or
            most files are missing.
        WriteError: `out` is there already or cannot be written, or `report` is a folder of images.
        LockedError: another process writes it.
    """
    rules, read = rules or MergeRules(), read or ReadOptions()
    if read.on_rare is not None or read.rare_below is not None:
        raise ConfigError(
            "--on-rare and --rare-below are of a split; a merge has --min-per-class", where="merge"
        )
    if report is not None:
        check_output_path(Path(report), reserve=1 + len(IMAGES_FILE))
    given = named_data(data)
    if out is None:
        return _merged(read_parts(given, read), rules, read, report, name="merged")
    _refuse_existing(check_catalog_file(out))
    with only_writer_of_file(out):
        result = _merged(read_parts(given, read), rules, read, report, name=Path(out).name)
        result.catalog.write(out)
    return result


def _refuse_existing(out: Path) -> None:
    beside = [] if out.suffix == ".parquet" else [about_path(out)]
    for path in (out, *beside):
        if path.exists():
            raise WriteError(
                "is there already, and a merge replaces nothing",
                where=str(path),
                fix="give another name, or delete it first",
            )


def _merged(
    parts: Sequence[MergePart],
    rules: MergeRules,
    read: ReadOptions,
    report: str | Path | None,
    *,
    name: str,
) -> MergeResult:
    for part in parts:
        if report is not None:
            refuse_output_among_images(part.catalog, report)
    whole = merged_catalog(parts, name=name, same_labels=rules.same_labels)
    _say_how(parts, whole, rules)
    rows = _with_labels(MergedRows.of(whole), read)
    audited = audit(rows.catalog)
    passed = gate(rows.catalog, audited, accept={*_NOT_OF_FILES, "damaged"})
    readable = np.zeros(len(rows.catalog), bool)
    readable[passed.rows] = True
    groups = audited.duplicate_group[readable]
    rows = rows.without(~readable, "file cannot be read")
    shared = find_shared_images(rows.catalog, groups, [part.name for part in parts])
    for line in shared_lines(shared):
        notify(line)
    if report is not None:
        write_report(shared, Path(report))
    refuse_undecided(shared, rules, report)
    if rules.on_duplicate == "drop":
        gone = shared.not_settled(len(rows.catalog))
        rows = rows.without(gone, "image that another part has")
    gone = beyond_most(rows.catalog, rules.max_per_class, seed=rules.seed)
    rows = rows.without(gone, f"more than {rules.max_per_class:,} of the class")
    gone = of_small_classes(rows.catalog, rules.min_per_class)
    if gone.all():
        raise CatalogError(
            f"none of {counted(len(rows.catalog.labels), 'class')} has "
            f"{rules.min_per_class:,} images",
            where=name,
            fix="--min-per-class with a smaller number",
        )
    rows = rows.without(gone, f"class of fewer than {rules.min_per_class:,}")
    catalog = rows.catalog
    if rules.resample:
        catalog = with_repeats(catalog, rules.resample, seed=rules.seed)
        if not catalog.has("split"):
            notify("repeats, and no split: one made of this catalog counts them in its test too")
    return MergeResult(catalog, shared, MergeCounts.of(whole, rows.left_out, catalog))


def _say_how(parts: Sequence[MergePart], whole: Catalog, rules: MergeRules) -> None:
    """Say how names were made, and which rows got a split."""
    for line in whole.notes:
        notify(line)
    if rules.same_labels:
        notify("labels of one name are one class, as --same-labels says")
    else:
        example = whole.table["label"].drop_nulls()[0]
        notify(f"classes of different DATA are kept apart, by their names: {example}")
    bare = [part.name for part in parts if not part.catalog.has("split")]
    if whole.has("split") and bare:
        notify(f"no split in {listed(bare)}: all of it is train")


def _with_labels(rows: MergedRows, read: ReadOptions) -> MergedRows:
    """The rows that have one label each, by the user's options, and are images and no repeats."""
    table = rows.catalog.table
    if REPEAT in table.columns:
        again = pl.col(REPEAT).cast(pl.Int64, strict=False).fill_null(0) > 0
        rows = rows.without(_mask(rows.catalog, again), "repeat of an earlier merge")
        rows = rows.with_catalog(rows.catalog.with_table(rows.catalog.table.drop(REPEAT)))
    if rows.catalog.has("split"):
        gone = _mask(rows.catalog, pl.col("split").is_null())
        rows = rows.without(gone, "in no part of its split")
    bare = _mask(rows.catalog, pl.col("label").is_null())
    if bare.any() and read.choice("on_unlabeled") == "error":
        raise CatalogError(
            f"{counted(int(bare.sum()), 'image')} without a label",
            where=rows.catalog.name,
            details=rows.catalog.table.filter(bare)["image"].to_list(),
            fix="1. label them\n2. --on-unlabeled skip   (leaves them out)",
        )
    rows = rows.without(bare, "without a label")
    about_labels = ReadOptions(**{name: getattr(read, name) for name in OF_THE_WHOLE})
    if not about_labels.given():
        return rows
    kept = open_catalog(rows.catalog, about_labels)
    gone = ~rows.catalog.table[ID].is_in(kept.table[ID].implode()).to_numpy()
    return rows.without(gone, "label left out").with_catalog(kept)


def _mask(catalog: Catalog, condition: pl.Expr) -> Bool[np.ndarray, "n"]:
    return np.asarray(catalog.table.select(condition).to_series().to_numpy(), bool)
