"""Where the images of a table are: which column names them, in which folder, with which suffix."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl

from shopsight.catalog.columns import IMAGE_NAMES, as_text, canonical, ranked
from shopsight.catalog.scan import is_image, is_litter
from shopsight.errors import CatalogError, RemoteError
from shopsight.paths import is_full, is_url, join, parent_of
from shopsight.remote.addresses import check_protocol, protocol_of
from shopsight.remote.opening import list_folder
from shopsight.text import as_unicode, counted, listed

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


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes:
        files: file names, by name and, for images, also by name without suffix.
        folders: names of the folders in it.
    """

    files: dict[str, str]
    folders: frozenset[str] = frozenset()

    @cached_property
    def files_by_plain(self) -> dict[str, list[str]]:
        """The keys of `files` that are equal but for case and Unicode form."""
        return _by_plain(self.files)

    @cached_property
    def folders_by_plain(self) -> dict[str, list[str]]:
        """The folders' names that are equal but for case and Unicode form."""
        return _by_plain(self.folders)

    def find_file(self, name: str) -> list[str]:
        """The file of this name, else those whose names differ in case or Unicode form alone."""
        if name in self.files:
            return [self.files[name]]
        return [self.files[key] for key in self.files_by_plain.get(plain(name), ())]

    def find_folder(self, name: str) -> list[str]:
        """The folder of this name, else those whose names differ in case or form alone."""
        # What leads elsewhere is in no listing.
        if name in self.folders or name in {"", ".", ".."}:
            return [name]
        return self.folders_by_plain.get(plain(name), [])


@dataclass
class Folders:
    """Listings of folders, each folder read once.

    Windows and macOS open `img_1.jpg` where the table says `IMG_1.JPG`, and macOS takes both forms
    of an accented letter for one. Names are looked up in listings, so that a table leads to the
    same files on every system, under the names that these have.
    """

    _listings: dict[str, Listing] = field(default_factory=dict)
    _places: dict[tuple[str, str], list[tuple[str, Listing]] | None] = field(default_factory=dict)

    def find(self, root: str, name: str) -> list[str]:
        """The files under `root` that a table may mean by `name`, with their own names.

        Args:
            root: a folder or URL.
            name: a path, with slashes of either kind; an image's suffix may be missing.

        Returns:
            One where it is clear, none where it is missing, several where no name is exactly this
            one and several differ from it in case or Unicode form alone.
        """
        found = self._find(root, name.replace("\\", "/"))
        # On POSIX a backslash can be a letter of a name.
        return self._find(root, name) if not found and "\\" in name else found

    def listing(self, folder: str) -> Listing:
        """What lies in a folder; nothing where it cannot be listed."""
        bare = folder.rstrip("/")
        # "C:" alone is the working folder of that drive.
        folder = f"{bare}/" if not bare or bare.endswith(":") else bare
        if folder not in self._listings:
            files, folders = _names_in(folder)
            stems = {name.rpartition(".")[0]: name for name in reversed(files) if is_image(name)}
            self._listings[folder] = Listing(
                stems | {name: name for name in files}, frozenset(folders)
            )
        return self._listings[folder]

    def _find(self, root: str, name: str) -> list[str]:
        head, slash, base = name.rpartition("/")
        places = self._places_of(root, head + slash)
        if places is None:
            # Web servers give no listings, and addresses are taken as they are: the audit finds
            # what is missing.
            return [name]
        return [place + hit for place, listing in places for hit in listing.find_file(base)]

    def _places_of(self, root: str, head: str) -> list[tuple[str, Listing]] | None:
        """The folders that the start of a name may mean, with what is in each; None of an address.

        A folder is named as a start of names below `root`: empty, or with a slash at its end.
        """
        if (root, head) not in self._places:
            start = head if is_full(head) else root
            if is_url(head) or protocol_of(start) in {"http", "https"}:
                self._places[root, head] = None
            elif is_full(head):
                self._places[root, head] = [(head, self.listing(head))]
            else:
                folders = self._folders(root, head.rstrip("/"))
                self._places[root, head] = [
                    (folder, self.listing(join(root, folder))) for folder in folders
                ]
        return self._places[root, head]

    def _folders(self, root: str, path: str) -> list[str]:
        if not path:
            return [""]
        if is_url(root):
            return [f"{path}/"]
        parent, _, last = path.rpartition("/")
        return [
            f"{above}{folder}/"
            for above in self._folders(root, parent)
            for folder in self.listing(join(root, above)).find_folder(last)
        ]


def plain(name: str) -> str:
    """Equal for names that differ in upper and lower case or in Unicode form alone."""
    return unicodedata.normalize("NFC", name.lower())


def _by_plain(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(plain(name), []).append(name)
    return found


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
    home = parent_of(path)
    if images_root is not None:
        if is_url(images_root):
            return [images_root.rstrip("/")]
        if Path(images_root).is_dir():
            return [Path(images_root).as_posix()]
        beside = join(home, images_root).rstrip("/")
        if is_url(home) or Path(beside).is_dir():
            return [beside]
        raise CatalogError("no such folder of images", where=images_root, fix="--images-root DIR")
    if is_url(home):
        return [home, f"{home}/images"]
    inner = sorted(
        (name for name in _names_in(home)[1] if name[0] != "." and not is_litter(name)),
        key=lambda name: (name.lower() not in IMAGE_FOLDERS, name),
    )
    deeper = [join(home, name) for name in inner[:MAX_FOLDERS]]
    around = [Path(home).absolute().parent.as_posix(), Path.cwd().as_posix()]
    return list(dict.fromkeys([home, *deeper, *around]))


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
    """A path of the table, without blanks around it and no leading `./`."""
    return name.strip().removeprefix("./").removeprefix(".\\")


def _found_fraction(folders: Folders, root: str, sample: Sequence[str]) -> float:
    if not sample:
        return 0.0
    return sum(bool(folders.find(root, name)) for name in sample) / len(sample)


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
    hits = _hits(folders, names, root, path)
    added = Counter(
        suffix for name, hit in zip(names, hits, strict=True) if (suffix := _added(name, hit))
    )
    # A row without a file gets the usual suffix, so that the audit names the missing file.
    usual = added.most_common(1)[0][0] if added else ""
    images = [
        hit or (name if is_image(name) else name + usual).replace("\\", "/")
        for name, hit in zip(names, hits, strict=True)
    ]
    found = sum(hit is not None for hit in hits)
    notes = [f"image from column {column.name!r}, files under {root}"]
    if added:
        notes.append(f"suffix added to image names: {listed(list(added))}")
    notes += _about_other_names(names, hits)
    if found < len(names):
        notes.append(f"{counted(len(names) - found, 'row')} of {len(names):,} without a file")
    if len(set(images)) < len(images):
        notes.append(f"{counted(len(images) - len(set(images)), 'row')} name an image again")
    unlisted = _unlisted(folders, root, [hit for hit in hits if hit])
    return ImagePaths(column.name, root, images, unlisted, tuple(notes))


def _hits(folders: Folders, names: Sequence[str], root: str, path: str) -> list[str | None]:
    """The file of each name, None where it is missing."""
    found = [folders.find(root, name) for name in names]
    unclear = {name: files for name, files in zip(names, found, strict=True) if len(files) > 1}
    if unclear:
        raise CatalogError(
            f"{counted(len(unclear), 'image name')} could mean files that differ in case "
            "or Unicode form alone",
            where=path,
            details=[f"{name}: {listed(files)}" for name, files in unclear.items()],
            fix="write the names in the table exactly as the files are named",
        )
    return [files[0] if files else None for files in found]


def _added(name: str, hit: str | None) -> str:
    """The suffix that a name of the table lacks."""
    if hit is None or hit == name or plain(hit) == plain(name.replace("\\", "/")):
        return ""
    return hit[hit.rfind(".") :]


def _about_other_names(names: Sequence[str], hits: Sequence[str | None]) -> list[str]:
    """A line for each way in which names of the table differ from those of the files."""
    examples: dict[str, list[str]] = defaultdict(list)
    for name, hit in zip(names, hits, strict=True):
        if hit == name:
            continue
        slashed = name.replace("\\", "/")
        if slashed != name and not (hit and hit.startswith(name)):
            examples["backslashes in image names, read as slashes"].append(name)
        if hit is None or hit.startswith(slashed) or hit.startswith(name):
            continue
        composed = unicodedata.normalize("NFC", hit)
        same_case = composed.startswith(unicodedata.normalize("NFC", slashed))
        way = "Unicode form" if same_case else "upper and lower case"
        examples[f"image names that differ from the file's in {way}"].append(f"{name} is {hit}")
    return [
        f"{what}: {counted(len(found), 'row')}, e.g. {found[0]}" for what, found in examples.items()
    ]


def _unlisted(folders: Folders, root: str, used: list[str]) -> tuple[str, ...]:
    by_folder: dict[str, set[str]] = defaultdict(set)
    for name in used:
        head, slash, base = name.rpartition("/")
        by_folder[head + slash].add(base)
    left: list[str] = []
    for head, names in by_folder.items():
        if is_full(head):
            continue
        listing = folders.listing(join(root, head))
        files = {name for key, name in listing.files.items() if key == name and is_image(name)}
        left += [as_unicode(head + name) for name in files - names]
    return tuple(sorted(left))


def _names_in(folder: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder, sorted; none where it cannot be listed."""
    files: list[str] = []
    folders: list[str] = []
    try:
        if is_url(folder):
            return _names_in_store(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                (folders if entry.is_dir() else files).append(entry.name)
    except OSError:
        return [], []
    return sorted(files), sorted(folders)


def _names_in_store(folder: str) -> tuple[list[str], list[str]]:
    """Of a remote folder; a store that does not answer at all is an error.

    Raises:
        RemoteError: the store refuses, or its driver is missing.
    """
    if check_protocol(folder) == "web":
        return [], []
    try:
        return list_folder(folder)
    except RemoteError as error:
        if error.reason == "missing":
            return [], []
        raise
