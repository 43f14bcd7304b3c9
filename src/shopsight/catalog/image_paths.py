"""Where the images of a table are: which column names them, in which folder, with which suffix."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import polars as pl

from shopsight.catalog.catalog import ABSOLUTE
from shopsight.catalog.columns import IMAGE_NAMES, as_text, canonical, ranked
from shopsight.catalog.scan import is_image
from shopsight.errors import CatalogError
from shopsight.text import counted, listed

SAMPLED_ROWS = 50
MAX_FOLDERS = 50
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "pictures", "train", "jpg", "data")
# A column of another name must match this fraction of files to be chosen as the image column.
CLEAR_FRACTION = 0.5


@dataclass(frozen=True)
class ImagePaths:
    """The images of a table.

    Attributes:
        column: the column that names them.
        root: the folder that they are relative to.
        images: one per row, with a suffix where the table has only ids.
        unlisted: image files without a row, in the folders that the rows use.
        notes: lines for the user.
    """

    column: str
    root: str
    images: list[str]
    unlisted: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class Folders:
    """Listings of folders, each folder read once."""

    _kept: dict[str, dict[str, str]] = field(default_factory=dict)

    def find(self, root: str, name: str) -> str | None:
        """The file `name` under `root`, with a suffix added if it lacks one; None when missing."""
        head, slash, base = name.rpartition("/")
        inside = f"{root}/{head}" if slash else root
        folder = (head or "/") if ABSOLUTE.match(name) else inside
        if folder.startswith(("http://", "https://")):
            # Web servers give no listings: the audit finds what is missing.
            return name
        hit = self.listing(folder).get(base)
        return None if hit is None else f"{head}{slash}{hit}"

    def listing(self, folder: str) -> dict[str, str]:
        """The files of a folder, by name and, for images, also by name without suffix."""
        if folder not in self._kept:
            names = _names_in(folder)
            stems = {name.rpartition(".")[0]: name for name in reversed(names) if is_image(name)}
            self._kept[folder] = stems | {name: name for name in names}
        return self._kept[folder]


def find_image_paths(
    table: pl.DataFrame, path: str, *, image: str | None, images_root: str | None
) -> ImagePaths:
    """Find the column that names the images, and the folder they lie in.

    Args:
        table: the user's table.
        path: its file.
        image: the column, if the user named it.
        images_root: the folder, if the user named it.

    Raises:
        CatalogError: no column names existing files, or two columns do so equally well.
    """
    folders = Folders()
    roots = _roots(path, images_root)
    columns = [image] if image else _candidates(table)
    scores = [
        (_found_fraction(folders, root, sample), column, root)
        for column in columns
        for sample in [_sample(table[column])]
        for root in roots
    ]
    column, root = _best(scores, table, path, asked_for=image is not None)
    return _image_paths(folders, table[column], root, path)


def _roots(path: str, images_root: str | None) -> list[str]:
    home = path.rpartition("/")[0] or "."
    if images_root is not None:
        if "://" in images_root or Path(images_root).is_dir():
            return [images_root.rstrip("/")]
        beside = f"{home}/{images_root}".rstrip("/")
        if "://" in home or Path(beside).is_dir():
            return [beside]
        raise CatalogError("no such folder of images", where=images_root, fix="--images-root DIR")
    if "://" in home:
        return [home, f"{home}/images"]
    inner = sorted(
        (entry.name for entry in os.scandir(home) if entry.is_dir() and entry.name[0] != "."),
        key=lambda name: (name.lower() not in IMAGE_FOLDERS, name),
    )
    deeper = [f"{home}/{name}" for name in inner[:MAX_FOLDERS]]
    return list(dict.fromkeys([home, *deeper, str(Path(home).absolute().parent), str(Path.cwd())]))


def _candidates(table: pl.DataFrame) -> list[str]:
    usable = [
        name
        for name, kind in table.schema.items()
        if kind in {pl.String, pl.Categorical} or kind.is_integer()
    ]
    named = ranked(usable, IMAGE_NAMES)
    return named + [name for name in usable if name not in named]


def _sample(column: pl.Series) -> list[str]:
    values = as_text(column.drop_nulls())
    step = max(1, len(values) // SAMPLED_ROWS)
    return [
        clean(value) for value in values.gather_every(step).head(SAMPLED_ROWS).to_list() if value
    ]


def clean(name: str) -> str:
    """A path of the table, with forward slashes and no leading `./`."""
    return name.strip().replace("\\", "/").removeprefix("./")


def _found_fraction(folders: Folders, root: str, sample: Sequence[str]) -> float:
    if not sample:
        return 0.0
    return sum(folders.find(root, name) is not None for name in sample) / len(sample)


def _best(
    scores: list[tuple[float, str, str]], table: pl.DataFrame, path: str, *, asked_for: bool
) -> tuple[str, str]:
    """The column and folder under which most of the sampled names are files."""
    # max returns the first of equals: the better name, the nearer folder.
    best = max(scores, default=(0.0, "", ""), key=lambda score: score[0])
    fraction, column, root = best
    known = asked_for or canonical(column) in IMAGE_NAMES
    if fraction == 0.0 or (not known and fraction < CLEAR_FRACTION):
        raise _nothing_found(scores, table, path)
    rivals = {name for other, name, _ in scores if other == fraction and name != column}
    unnamed = sorted(name for name in rivals if canonical(name) not in IMAGE_NAMES)
    if not known and unnamed:
        raise CatalogError(
            "several columns name image files",
            where=path,
            details=[column, *unnamed],
            fix="--image COLUMN",
        )
    return column, root


def _nothing_found(
    scores: list[tuple[float, str, str]], table: pl.DataFrame, path: str
) -> CatalogError:
    tried = list(dict.fromkeys(root for _, _, root in scores))
    first = scores[0][1] if scores else ""
    example = f", e.g. {_sample(table[first])[:1]} from column {first!r}" if first else ""
    return CatalogError(
        f"no column names existing image files{example}",
        where=path,
        details=[f"looked in {root}" for root in tried] + [f"columns: {listed(table.columns)}"],
        fix="--images-root DIR names the folder of the images, --image COLUMN the column of their "
        "names",
    )


def _image_paths(folders: Folders, column: pl.Series, root: str, path: str) -> ImagePaths:
    names = [clean(name or "") for name in as_text(column).to_list()]
    if not all(names):
        empty = sum(not name for name in names)
        raise CatalogError(f"{counted(empty, 'row')} without an image name", where=path)
    hits = [folders.find(root, name) for name in names]
    added = Counter(
        hit[len(name) :] for name, hit in zip(names, hits, strict=True) if hit and hit != name
    )
    # A row without a file gets the usual suffix, so that the audit names the missing file.
    usual = added.most_common(1)[0][0] if added else ""
    images = [
        hit or (name if is_image(name) else name + usual)
        for name, hit in zip(names, hits, strict=True)
    ]
    found = sum(hit is not None for hit in hits)
    notes = [f"image from column {column.name!r}, files under {root}"]
    if added:
        notes.append(f"suffix added to image names: {listed(list(added))}")
    if found < len(names):
        notes.append(f"{counted(len(names) - found, 'row')} of {len(names):,} without a file")
    if len(set(images)) < len(images):
        notes.append(f"{counted(len(images) - len(set(images)), 'row')} name an image again")
    unlisted = _unlisted(folders, root, [hit for hit in hits if hit])
    return ImagePaths(column.name, root, images, unlisted, tuple(notes))


def _unlisted(folders: Folders, root: str, used: list[str]) -> tuple[str, ...]:
    by_folder: dict[str, set[str]] = defaultdict(set)
    for name in used:
        head, slash, base = name.rpartition("/")
        by_folder[head + slash].add(base)
    left: list[str] = []
    for head, names in by_folder.items():
        if ABSOLUTE.match(head):
            continue
        listing = folders.listing(f"{root}/{head}".rstrip("/"))
        files = {name for key, name in listing.items() if key == name and is_image(name)}
        left += [head + name for name in files - names]
    return tuple(sorted(left))


def _names_in(folder: str) -> list[str]:
    try:
        if "://" in folder:
            system, path = fsspec.core.url_to_fs(folder)
            listing = system.ls(path, detail=True)
            return sorted(
                entry["name"].rpartition("/")[2] for entry in listing if entry["type"] == "file"
            )
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError:
        return []
