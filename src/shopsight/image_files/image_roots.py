"""The folders in which the images of a table may lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

from shopsight.errors import CatalogError
from shopsight.image_files.file_lookup import Folders
from shopsight.image_files.image_cells import names_a_file
from shopsight.image_files.name_spellings import LOOSE_WAYS, number_of, plain, stem_of
from shopsight.image_files.scan import is_litter
from shopsight.io.confinement import real_root
from shopsight.paths import is_folder, is_url, join, parent_of, relative
from shopsight.tables.split_names import is_filler

MAX_FOLDERS = 20_000
"""Near folders that are looked into when a table does not say where its images are."""

# Folders beside a table that go before others with files of the same names.
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "pictures", "jpg", "jpegimages")
MOST_FAR_ROOTS = 50
_LONGEST_NAME = 1000
# Each is looked for in several folders: a line of a million cells would take minutes.
_MOST_NAMES = 20_000


def names_of_files(names: Collection[str], path: str, images_root: str | None) -> set[str]:
    """Those of the names that lead to files from a table, before its columns are known.

    Args:
        names: cells, or pieces of lines; the first `_MOST_NAMES` are looked for.
        path: the table.
        images_root: the folder of the images, if the user named it.
    """
    folders = Folders(table_roots(path, images_root))
    fitting = (name for name in names if name and len(name) <= _LONGEST_NAME and "\n" not in name)
    usable = list(islice(fitting, _MOST_NAMES))
    roots = Roots(folders, path, images_root, {"": usable})
    for some in (roots.near, roots.far):
        places = some()
        found = {name for name in usable if any(_is_file(folders, root, name) for root in places)}
        if found:
            return found
    return set()


def _is_file(folders: Folders, root: str, name: str) -> bool:
    if is_url(name) or (is_url(root) and not root.startswith("file:")):
        return names_a_file(name)
    match = folders.find(root, name)
    return bool(match.files) and LOOSE_WAYS.isdisjoint(match.ways)


class Roots:
    """The folders in which the images of a table may lie, the likeliest first."""

    def __init__(
        self, folders: Folders, path: str, named: str | None, samples: dict[str, list[str]]
    ) -> None:
        self.folders = folders
        self.table = path
        self.is_named = named is not None
        self.home = parent_of(path) if named is None else _named_root(named, parent_of(path))
        self.samples = samples
        self.found_far: list[str] = []

    def near(self) -> list[str]:
        """The named root; else the table's folder, and those in it with the name of images."""
        if self.is_named:
            return [self.home]
        if is_url(self.home):
            return [self.home, f"{self.home}/images"]
        inside = {plain(name): name for name in sorted(self.folders.listing(self.home).folders)}
        likely = (plain(stem_of(Path(self.table).name)), *IMAGE_FOLDERS)
        return [self.home, *(join(self.home, inside[name]) for name in likely if name in inside)]

    def far(self) -> list[str]:
        """Folders below the table's that hold files of the sampled names; those around it."""
        if self.is_named or is_url(self.home):
            return []
        bases = self._bases()
        known = set(self.near())
        below = self._holding(self.home, bases)
        parent = Path(self.home).absolute().parent.as_posix()
        around = [one for one in (parent, Path.cwd().as_posix()) if not _is_of_all(one)]
        # Any table of numbers would fit a folder of numbered images.
        is_telling = any(not number_of(name) for names in self.samples.values() for name in names)
        beside = self._beside(parent) if is_telling and not below else []
        inside = [root for folder in beside for root in self._holding(folder, bases)]
        self.found_far = [root for root in (*below, *inside) if root not in known]
        return list(dict.fromkeys([*self.found_far, *around, *beside]))

    def _bases(self) -> set[str]:
        """The names of the sampled files without their folders, with and without a suffix."""
        return {
            plain(part)
            for sample in self.samples.values()
            for name in sample
            for base in [name.replace("\\", "/").rpartition("/")[2]]
            for part in (base, stem_of(base))
        }

    def _beside(self, parent: str) -> list[str]:
        """Folders of images beside the table's, as `images` is beside `annotations`."""
        own = plain(Path(self.home).absolute().name)
        names = sorted(self.folders.listing(parent).folders)
        if not _says_images(Path(parent).name):
            names = [name for name in names if _says_images(name)]
        return [
            join(parent, name)
            for name in names
            if plain(name) != own and not name.startswith(".") and not is_litter(name)
        ]

    def _holding(self, base: str, names: Collection[str]) -> list[str]:
        """Folders below one that hold files of the names, those of most first."""
        hits: Counter[str] = Counter()
        for folder in self.folders.walk(base, most=MAX_FOLDERS):
            files = self.folders.listing(join(base, folder)).files
            count = sum(plain(stem_of(file)) in names for file in files)
            # Names that begin with folders are relative to a folder further up.
            for above in _with_parents(folder) if count else ():
                hits[above] += count
        return [join(base, name).rstrip("/") for name, _ in hits.most_common(MOST_FAR_ROOTS)]

    def most_bare_names(self, names: Sequence[str]) -> tuple[int, str]:
        """How many of the names have a file in one folder, whatever theirs; and which folder."""
        bases = [name.replace("\\", "/").rpartition("/")[2] for name in names]
        counts = {
            folder: sum(bool(listing.find_file(base).files) for base in bases)
            for folder in self.folders.walk(self.home, most=MAX_FOLDERS)
            for listing in [self.folders.listing(join(self.home, folder))]
        }
        folder = max(counts, key=lambda folder: counts[folder])
        return counts[folder], join(self.home, folder).rstrip("/")


def table_roots(path: str, images_root: str | None) -> tuple[str, ...]:
    """The folders below which a table may name files, as `Access.roots` has them.

    Its own and the one that the user named; none of them for a table at an address, whose cells
    name no files of this machine.
    """
    home = parent_of(path)
    folders = [home] if images_root is None else [home, _named_root(images_root, home)]
    return tuple(real_root(folder) for folder in folders if not is_url(folder))


def with_chosen_root(roots: tuple[str, ...], path: str, root: str) -> tuple[str, ...]:
    """`table_roots` with the folder in which the files were found, which may lie beside the table.

    A link in the table's folder, or beside it, that leads elsewhere adds nothing.
    """
    home = Path(parent_of(path)).absolute()
    if is_url(root) or is_url(parent_of(path)) or Path(root).absolute().is_relative_to(home):
        return roots
    way = relative(Path(root).absolute().as_posix(), home.parent.as_posix())
    if way is None or way.startswith(".."):
        # Where shopsight was started.
        place = real_root(root)
    else:
        place = Path(real_root(str(home.parent)), way).as_posix()
    return tuple(dict.fromkeys([*roots, os.path.normpath(place)]))


def _is_of_all(folder: str) -> bool:
    """Whether it is a user's home, or above: a table that lies there may not name all files."""
    try:
        return Path.home().is_relative_to(folder)
    except RuntimeError:
        return False


def _named_root(named: str, home: str) -> str:
    if is_url(named):
        return named.rstrip("/")
    if is_folder(named):
        return Path(named).as_posix()
    beside = join(home, named).rstrip("/")
    if is_url(home) or is_folder(beside):
        return beside
    raise CatalogError("no such folder of images", where=named, fix="--images-root DIR")


def _says_images(name: str) -> bool:
    return plain(name) in IMAGE_FOLDERS or is_filler(name)


def _with_parents(folder: str) -> list[str]:
    """`"a/b/"` -> `["a/b/", "a/"]`; the root itself is near."""
    parts = folder.rstrip("/").split("/") if folder else []
    return ["/".join(parts[:end]) + "/" for end in range(len(parts), 0, -1)]
