"""One table or list for each part of a split: `train.txt`, `val.txt`, `test.txt`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from shopsight import paths
from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.lists import is_list, read_rows
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError
from shopsight.io.confinement import is_inside, real_root
from shopsight.read_options import NO_COLUMN, ReadOptions
from shopsight.tables.split_names import split_of
from shopsight.tables.table_files import read_start, read_table
from shopsight.tables.table_names import is_table, may_be_list
from shopsight.text import counted, listed

BETWEEN_FILES = ","
_SHARD = re.compile(r"-\d+-of-\d+\.")


def several_files(data: str) -> tuple[str, ...]:
    """The tables and lists that one DATA names, `train.txt,val.txt`; empty for any other DATA."""
    parts = tuple(part.strip() for part in data.split(BETWEEN_FILES))
    if len(parts) < 2 or paths.exists(data):
        return ()
    good = all(
        (is_table(part) or may_be_list(part)) and (paths.is_url(part) or paths.is_file(part))
        for part in parts
    )
    return parts if good else ()


def lists_in(folder: str) -> list[str]:
    """Names of the lists of images directly in a local folder, sorted."""
    if paths.is_url(folder):
        return []
    roots = (real_root(folder),)
    files = sorted(path for path in Path(folder).iterdir() if may_be_list(path.name))
    return [
        file.name
        for file in files
        if file.is_file() and is_inside(str(file), roots) and is_list(read_start(file), str(file))
    ]


def split_of_file(name: str) -> str | None:
    """The part of a split that a file's name means, or else that of its folder; or None.

    >>> split_of_file("lists/val.txt"), split_of_file("shoes_train.csv"), split_of_file("a.csv")
    ('val', 'train', None)
    >>> split_of_file("shop/valid/metadata.csv")
    'val'
    """
    stem = paths.name_of(name).split(".")[0]
    words = {split_of(word) for word in (stem, *re.split(r"[\W_\d]+", stem))} - {None}
    if not words:
        return split_of(paths.name_of(paths.parent_of(name)))
    return words.pop() if len(words) == 1 else None


def tables_in_parts(folder: str) -> tuple[str, ...]:
    """Tables of one name, one in each of several parts of a split: `train/metadata.csv`, ...

    Folders of images of the Hugging Face Hub have such tables, and exports of Roboflow.

    Args:
        folder: a local folder; a URL is not looked into.

    Returns:
        Paths below the folder, train first; empty unless one name alone is in several parts.
    """
    if paths.is_url(folder):
        return ()
    roots = (real_root(folder),)
    by_name: dict[str, list[str]] = defaultdict(list)
    for part in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        if split_of(part.name) and is_inside(str(part), roots):
            for file in sorted(part.iterdir()):
                if is_table(file.name) and file.is_file() and is_inside(str(file), roots):
                    by_name[file.name].append(f"{part.name}/{file.name}")
    several = [files for files in by_name.values() if len(set(map(split_of_file, files))) > 1]
    order = {str(split): place for place, split in enumerate(SPLITS)}
    if len(several) != 1:
        return ()
    return tuple(sorted(several[0], key=lambda file: order[split_of_file(file) or SPLITS[0]]))


def parts_among(names: Sequence[str]) -> tuple[str, ...]:
    """Those of a folder's files that are the parts of one split, train first; empty without.

    A part may come in several files, as `train-00001-of-00003.parquet`.

    Raises:
        CatalogError: there are such files of two kinds, as `train.csv` beside `train.txt`.
    """
    by_suffix: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        split = split_of_file(name)
        if split is not None:
            by_suffix[name.lower().partition(".")[2]][split].append(name)
    kinds = [kind for kind in by_suffix.values() if len(kind) > 1 or _are_shards(kind)]
    if not kinds:
        return ()
    files = [name for kind in kinds for names in kind.values() for name in names]
    if len(kinds) > 1 or not _are_parts(kinds[0]):
        raise CatalogError(
            "several files could be one part of a split",
            details=sorted(files),
            fix=f"name those that count: {BETWEEN_FILES.join(['train.txt', 'val.txt'])}",
        )
    return tuple(name for split in SPLITS for name in sorted(kinds[0].get(split, ())))


def _are_parts(kind: Mapping[str, Sequence[str]]) -> bool:
    return all(len(names) == 1 or all(map(_SHARD.search, names)) for names in kind.values())


def _are_shards(kind: Mapping[str, Sequence[str]]) -> bool:
    return any(len(names) > 1 and all(map(_SHARD.search, names)) for names in kind.values())


def open_parts(files: Sequence[str], read: ReadOptions, *, name: str) -> Catalog:
    """Read tables or lists as one catalog; their names may say which part of a split each is.

    Files without labels beside others that have them hold images to be labeled: in no part.

    Args:
        files: paths or URLs.
        read: how to read each.
        name: of the catalog.

    Raises:
        CatalogError: a file cannot be read, or the files do not go together.
    """
    splits = [split_of_file(file) for file in files]
    if len(set(splits)) > 1 and None in splits:
        raise CatalogError(
            f"the name of {paths.name_of(files[splits.index(None)])} says no part of a split, "
            "those of the others do",
            where=name,
            fix="rename it, with train, val or test in its name, or leave it out",
        )
    parts = _read_parts(files, read)
    labeled = any(part.labels for part in parts)
    measured = {
        split for split, part in zip(splits, parts, strict=True) if part.labels or not labeled
    }
    tables = []
    root = parts[0].root if len({part.root for part in parts}) == 1 else ""
    for part, split in zip(parts, splits, strict=True):
        table = part.table
        if not root:
            table = table.with_columns(pl.Series("image", part.refs(), dtype=pl.String))
        if "split" not in table.columns and len(measured) > 1 and split in measured:
            table = table.with_columns(pl.lit(split, dtype=pl.String).alias("split"))
        tables.append(table)
    notes = [_about_parts(files, splits, parts, measured), *_notes(files, parts)]
    used = {image for part in parts for image in part.table["image"].to_list()}
    unlisted = {image for part in parts for image in part.unlisted} - used
    return replace(
        parts[0],
        table=_stacked(tables, name),
        name=name,
        root=root,
        notes=tuple(notes),
        unlisted=tuple(sorted(unlisted)) if root else (),
        access=parts[0].access.joined(*(part.access for part in parts[1:])),
    )


def _read_parts(files: Sequence[str], read: ReadOptions) -> list[Catalog]:
    """Each file; one without the columns of labels that others have is one of images to label."""
    named = set(read.label_columns) - {NO_COLUMN}
    lacking = [file for file in files if named and not named <= set(_columns_of(file, read))]
    if len(lacking) == len(files):
        lacking = []
    bare = replace(read, label=NO_COLUMN)
    return [table_catalog(file, bare if file in lacking else read) for file in files]


def _columns_of(file: str, read: ReadOptions) -> list[str]:
    return read_table(file, read, read_rows=read_rows)[0].columns


def _stacked(tables: Sequence[pl.DataFrame], name: str) -> pl.DataFrame:
    try:
        return pl.concat(tables, how="diagonal")
    except pl.exceptions.PolarsError as error:
        kinds = [str(table.schema.get("label", "no label")) for table in tables]
        raise CatalogError(
            "the files do not have columns of the same kinds",
            where=name,
            details=[f"labels: {listed(kinds)}", str(error).splitlines()[0]],
            fix="--label COLUMN, and --label-separator TEXT where an image has several labels",
        ) from error


def _about_parts(
    files: Sequence[str],
    splits: Sequence[str | None],
    parts: Sequence[Catalog],
    measured: set[str | None],
) -> str:
    shown = [
        f"{_shown(file, files)} ({counted(len(part), 'row')})"
        + (f" is {split}" if split in measured and len(measured) > 1 else "")
        for file, split, part in zip(files, splits, parts, strict=True)
    ]
    return f"read together: {', '.join(shown)}"


def _shown(file: str, files: Sequence[str]) -> str:
    """The name of a file, with its folder where others have the same."""
    name = paths.name_of(file)
    names = [paths.name_of(other) for other in files]
    return name if names.count(name) == 1 else f"{paths.name_of(paths.parent_of(file))}/{name}"


def _notes(files: Sequence[str], parts: Sequence[Catalog]) -> list[str]:
    """Each note once; with the name of its file where it is not the same for all."""
    common = set.intersection(*(set(part.notes) for part in parts))
    return [
        *(note for note in parts[0].notes if note in common),
        *(
            f"{_shown(file, files)}: {note}"
            for file, part in zip(files, parts, strict=True)
            for note in part.notes
            if note not in common
        ),
    ]
