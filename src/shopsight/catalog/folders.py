"""Catalogs from folders: a sub-folder per class, splits above them, labels in file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.scan import Scan
from shopsight.errors import CatalogError
from shopsight.text import counted, listed

SPLIT_OF_NAME = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
PLACEHOLDER = re.compile(r"\{(\w+)\}|(\*\*/?)|(\*)|(\?)")


def split_of(name: str) -> str | None:
    """The split that the name of a folder or the text of a cell means, or None."""
    return SPLIT_OF_NAME.get(name.strip().lower())


def folder_catalog(scan: Scan, *, name: str, root: str) -> Catalog:
    """Read labels and splits from the folders that the images lie in.

    `shirt/1.jpg` has the label "shirt"; `train/shirt/1.jpg` also has the split "train". Folders
    below a class folder belong to the class. A single folder around everything is ignored. Images
    that lie directly in the folder give a catalog without labels.

    Args:
        scan: the files under `root`.
        name: name of the catalog.
        root: the folder.

    Raises:
        CatalogError: there are no images, or it is not clear which folders are classes.
    """
    if not scan.images:
        raise _no_images(scan, root)
    wrapper = _wrapper(scan.images)
    below = pl.Series("image", scan.images).str.strip_prefix(wrapper)
    table = pl.DataFrame({"image": scan.images, "below": below}).with_columns(
        top=pl.when(pl.col("below").str.contains("/", literal=True)).then(
            pl.col("below").str.split("/").list.first()
        )
    )
    tops = table["top"].drop_nulls().unique().sort().to_list()
    splits = {top: found for top in tops if (found := split_of(top))}
    if splits and len(splits) == len(tops):
        catalog = _with_splits(table, splits, name, root)
    else:
        if len(splits) > 1:
            raise _mixed(tops, splits, root)
        catalog = _with_classes(table, name, root)
    return catalog.with_notes(*_about_others(scan), *scan.notes())


@dataclass(frozen=True)
class _Labeled:
    """Rows with a label, images without one, and notes about both."""

    kept: pl.DataFrame
    left: list[str]
    notes: tuple[str, ...]


def _with_classes(table: pl.DataFrame, name: str, root: str) -> Catalog:
    if table["top"].null_count() == len(table):
        note = "the images lie in no class folders: read as unlabeled"
        return Catalog(table.select("image"), name, root, notes=(note,))
    if table["top"].n_unique() == 1:
        note = f"only one class folder ({table['top'][0]}/): read as unlabeled"
        return Catalog(table.select("image"), name, root, notes=(note,))
    labeled = _with_labels(table.with_columns(label=pl.col("top")), inner="below")
    classes = counted(labeled.kept["label"].n_unique(), "class")
    note = f"one folder per class: {classes}, {counted(len(labeled.kept), 'image')}"
    return Catalog(
        labeled.kept.select("image", "label"),
        name,
        root,
        notes=(note, *labeled.notes),
        unlisted=tuple(labeled.left),
    )


def _with_splits(table: pl.DataFrame, splits: dict[str, str], name: str, root: str) -> Catalog:
    table = table.with_columns(
        split=pl.col("top").replace_strict(splits, return_dtype=pl.String),
        inner=pl.col("below").str.replace(r"^[^/]*/", ""),
    )
    has_class = pl.col("inner").str.contains("/", literal=True)
    table = table.with_columns(
        label=pl.when(has_class).then(pl.col("inner").str.split("/").list.first())
    )
    given = ", ".join(f"{folder}/ is {split}" for folder, split in splits.items())
    columns = ["image", "label", "split"]
    if table["label"].null_count() == len(table):
        bare = f"splits from the folders ({given}); no class folders below them: read as unlabeled"
        return Catalog(table.select("image", "split"), name, root, notes=(bare,))
    labeled = _with_labels(table, inner="inner")
    notes = (f"splits from the folders: {given}", *labeled.notes)
    if len(set(splits.values())) == 1:
        # A single split says nothing about the others: all are made anew.
        columns.remove("split")
        notes = (
            f"{', '.join(splits)}/ is the only split folder: not used as a split",
            *labeled.notes,
        )
    return Catalog(
        labeled.kept.select(columns), name, root, notes=notes, unlisted=tuple(labeled.left)
    )


def _with_labels(table: pl.DataFrame, *, inner: str) -> _Labeled:
    kept = table.filter(pl.col("label").is_not_null())
    left = table.filter(pl.col("label").is_null())["image"].to_list()
    notes = []
    if left:
        notes.append(f"skipped, in no class folder: {counted(len(left), 'image')}, e.g. {left[0]}")
    deep = kept.filter(pl.col(inner).str.count_matches("/", literal=True) > 1)
    if len(deep):
        example = deep["image"][0]
        notes.append(
            f"deeper than their class folder: {counted(len(deep), 'image')}, e.g. {example} is "
            f'{deep["label"][0]!r} (--label-pattern "**/{{label}}/*" uses the innermost folder)'
        )
    return _Labeled(kept, left, tuple(notes))


def _wrapper(images: Sequence[str]) -> str:
    """The folders around everything: "photos/" when all images are photos/<class>/..."""
    wrapper = ""
    while True:
        first = images[0].removeprefix(wrapper)
        head, slash, rest = first.partition("/")
        inner = f"{wrapper}{head}/"
        # A single folder with images directly in it is a class, or just a folder of images.
        wraps = (
            slash
            and split_of(head) is None
            and "/" in rest
            and all(image.startswith(inner) for image in (images[-1], *images))
            and all("/" in image[len(inner) :] for image in images)
        )
        if not wraps:
            return wrapper
        wrapper = inner


def pattern_catalog(scan: Scan, pattern: str, *, name: str, root: str) -> Catalog:
    """Read labels (and any other named part) from file names.

    `*_{label}.jpg` matches names; with a slash, as in `{label}/{group}/*`, the path under
    the folder. `*` and `{...}` stop at slashes, `**/` does not. A regular expression with
    `(?P<label>...)` is searched for in the path.

    Args:
        scan: the files under `root`.
        pattern: the pattern.
        name: name of the catalog.
        root: the folder.

    Raises:
        CatalogError: the pattern is not valid, has no label, or matches nothing.
    """
    expression, whole = compile_pattern(pattern)
    if not scan.images:
        raise _no_images(scan, root)
    targets = scan.images if whole else [image.rpartition("/")[2] for image in scan.images]
    found = [expression.search(target) for target in targets]
    columns = {
        part: [None if match is None else match[part] for match in found]
        for part in expression.groupindex
    }
    table = pl.DataFrame(
        {"image": scan.images, **columns}, schema_overrides=dict.fromkeys(columns, pl.String)
    )
    if table["label"].null_count() == len(table):
        raise CatalogError(
            f"the label pattern {pattern!r} matches none of {counted(len(table), 'image')}",
            where=root,
            details=scan.images,
        )
    left = table.filter(pl.col("label").is_null())["image"].to_list()
    table = table.filter(pl.col("label").is_not_null())
    classes = counted(table["label"].n_unique(), "class")
    notes = [f"label pattern {pattern!r}: {counted(len(table), 'image')}, {classes}"]
    if left:
        notes.append(f"skipped, not matching: {counted(len(left), 'image')}, e.g. {left[0]}")
    if "split" in table.columns:
        table = table.with_columns(
            pl.col("split").str.to_lowercase().replace_strict(SPLIT_OF_NAME, default=None)
        )
    return Catalog(table, name, root, notes=(*notes, *scan.notes()), unlisted=tuple(left))


def compile_pattern(pattern: str) -> tuple[re.Pattern[str], bool]:
    """Turn a label pattern into a regular expression.

    Returns:
        The expression, and whether it is for the whole path rather than the file name.

    Raises:
        CatalogError: the pattern has no label, or is not a valid expression.
    """
    is_expression = "(?P<" in pattern
    try:
        expression = re.compile(pattern if is_expression else _from_glob(pattern))
    except re.error as error:
        raise CatalogError(f"{pattern!r} is not a valid pattern: {error}") from error
    if "label" not in expression.groupindex:
        raise CatalogError(
            f"the label pattern {pattern!r} has no label",
            fix='--label-pattern "*_{label}.jpg", or a regular expression with (?P<label>...)',
        )
    return expression, is_expression or "/" in pattern


def _from_glob(pattern: str) -> str:
    out, end = [], 0
    for found in PLACEHOLDER.finditer(pattern):
        out.append(re.escape(pattern[end : found.start()]))
        name, deep, star, _ = found.groups()
        if name:
            out.append(f"(?P<{name}>[^/]+)")
        elif deep:
            out.append("(?:.*/)?" if deep.endswith("/") else ".*")
        else:
            out.append("[^/]*" if star else "[^/]")
        end = found.end()
    return "^" + "".join(out) + re.escape(pattern[end:]) + "$"


def _about_others(scan: Scan) -> list[str]:
    others = scan.others + Counter(f".{table.rpartition('.')[2]}" for table in scan.tables)
    if not others:
        return []
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(4))
    return [f"skipped, not an image file: {counted(others.total(), 'file')} ({kinds})"]


def _no_images(scan: Scan, root: str) -> CatalogError:
    others = [f"{count} files with {suffix}" for suffix, count in scan.others.most_common()]
    return CatalogError(
        "this folder has no image files", where=root, details=[*scan.unread_notes(), *others]
    )


def _mixed(tops: list[str], splits: dict[str, str], root: str) -> CatalogError:
    rest = [top for top in tops if top not in splits]
    return CatalogError(
        f"{', '.join(splits)} look like splits, {listed(rest)} like classes",
        where=root,
        fix="move the folders of one kind away, or say where the label is: "
        '--label-pattern "{split}/{label}/*" or --label-pattern "{label}/*"',
    )
