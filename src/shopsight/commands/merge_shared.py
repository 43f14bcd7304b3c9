"""What the parts of a merge share: said, written down, and refused where nobody decided."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import polars as pl

from shopsight.audit.shared_images import SharedImages
from shopsight.catalog.merge_parts import ID
from shopsight.commands.merge_rules import MergeRules
from shopsight.errors import AuditError
from shopsight.files import atomic_file
from shopsight.output_locks import only_writer_of_folder
from shopsight.progress import notify
from shopsight.spreadsheets import for_reading
from shopsight.text import counted

IMAGES_FILE, CLASSES_FILE = "shared_images.csv", "same_classes.csv"


def shared_lines(shared: SharedImages) -> list[str]:
    """What parts share, a line for each kind, with an example."""
    lines = [f"images that several parts have: {shared.num_images:,}"]
    for count, flag, what in (
        (shared.num_leaks, "is_leak", "in different parts of a split"),
        (shared.num_conflicts, "is_conflict", "with different labels"),
    ):
        if count:
            lines.append(f"  {what}: {count:,}, e.g. {_example(shared.rows.filter(flag))}")
    pairs = shared.classes
    for hit, what in (
        (pairs.filter(pl.col("shared_images") > 0), "classes that share images"),
        (pairs.filter("same_name"), "classes of one name"),
    ):
        if len(hit):
            first = hit.row(0, named=True)
            images = counted(first["shared_images"], "image")
            lines.append(
                f"{what}: {counted(len(hit), 'pair')}, e.g. {first['label']} and {first['to']} "
                f"({images} in both)"
            )
    return lines


def _example(rows: pl.DataFrame) -> str:
    """`"shop/1.jpg (train, shop/Shoes) and web/9.jpg (test, web/Boots)"`.

    Of the first image: two rows of different parts, in which the split or the label differs.
    """
    kinds = (
        rows.filter(pl.col("image_group") == rows["image_group"][0])
        .unique(["part", "split", "label"], keep="first", maintain_order=True)
        .select("part", "split", "label", ID)
        .rows()
    )
    one, other = next(
        (one, other)
        for one, other in combinations(kinds, 2)
        if one[0] != other[0] and one[1:3] != other[1:3]
    )
    return f"{_with_place(*one[1:])} and {_with_place(*other[1:])}"


def _with_place(split: str | None, label: str, name: str) -> str:
    return f"{name} ({label if split is None else f'{split}, {label}'})"


def refuse_undecided(shared: SharedImages, rules: MergeRules, report: str | Path | None) -> None:
    """Refuse images that would corrupt a score, where nobody decided about them."""
    bad = shared.rows.filter(pl.col("is_leak") | pl.col("is_conflict"))
    if rules.on_duplicate != "error" or not len(bad):
        return
    groups = bad["image_group"].unique(maintain_order=True).to_list()[: AuditError.shown_details]
    examples = [_example(bad.filter(pl.col("image_group") == group)) for group in groups]
    ways = [
        "--on-duplicate drop   (keeps each where it is tested, else in the first part)",
        "--on-duplicate keep   (keeps all: the audit names them, and training refuses)",
    ]
    if shared.num_conflicts:
        ways.append(
            f"--report FOLDER   (lists them; its {CLASSES_FILE} is a --label-map)"
            if report is None
            else f"--label-map {Path(report) / CLASSES_FILE}   (once you have looked through it)"
        )
    raise AuditError(
        f"parts share {counted(bad['image_group'].n_unique(), 'image')} that would corrupt a "
        f"score: {shared.num_leaks:,} in different parts of a split, {shared.num_conflicts:,} with "
        "different labels; nothing is written",
        where="merge",
        details=examples,
        fix="\n".join(ways),
    )


def write_report(shared: SharedImages, folder: Path) -> None:
    """Write the images and the classes that parts share."""
    with only_writer_of_folder(folder):
        tables = {IMAGES_FILE: shared.rows.drop("row"), CLASSES_FILE: shared.label_map()}
        for name, table in tables.items():
            with atomic_file(folder / name) as part:
                for_reading(table).write_csv(part)
            notify(f"written: {folder / name}")
