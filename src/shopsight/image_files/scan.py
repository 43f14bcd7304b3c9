"""The image files under a folder: a million files in seconds."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from shopsight.errors import CatalogError
from shopsight.image_files.companions import companions_of
from shopsight.image_files.empty_folders import folders_without
from shopsight.image_files.left_out import LeftOut
from shopsight.images.kinds import (
    HEAD_BYTES,
    OTHER_SUFFIXES,
    has_image_suffix,
    is_image_kind,
    kind_of_bytes,
    suffix_of,
)
from shopsight.io.access import PUBLIC
from shopsight.io.addresses import local_path
from shopsight.io.confinement import is_inside, real_root
from shopsight.io.local_files import open_file
from shopsight.io.opening import list_all
from shopsight.paths import is_url
from shopsight.progress import task
from shopsight.tables.table_names import is_table
from shopsight.text import as_unicode, counted, is_unicode, listed

# What operating systems, cameras and archives leave on cards, drives and shares, in lower case.
LITTER = frozenset(
    {
        *("system volume information", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", ".ds_store", ".trashes", ".spotlight-v100", ".fseventsd", ".appledouble"),
        *(".documentrevisions-v100", ".temporaryitems", ".apdisk", ".volumeicon.icns"),
        *("lost+found", "lost.dir", "@eadir", "#recycle", "#snapshot"),
    }
)
# macOS keeps what a foreign file system cannot hold of a file `x` in `._x`.
APPLE_DOUBLE = "._"
NOTIFY_EVERY_FILES = 10_000
_SHOWN_KINDS = 4
# Only Windows names it, in the standard library as well.
_JUNCTION = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0xA0000003)


@dataclass(frozen=True)
class Scan:
    """The files under a folder.

    Attributes:
        images: files with the suffix of an image, and those of no or an unknown suffix that begin
            like one; relative with forward slashes, sorted.
        others: number of other files, by suffix.
        tables: CSV, TSV and Parquet files directly in the folder.
        containers: IDX files directly in the folder.
        litter: number of files and folders that a system left behind, by name; skipped.
        denied: folders that may not be read, with the reason; skipped.
        not_unicode: images whose path cannot be written as UTF-8, so that no table can name them;
            not in `images`.
        examples: one of the `others`, by suffix.
        left_out: number of folders that the user had left out, by name.
        companions: files that belong to one of `images` (its raw file, thumbnail or mask), each
            with that one; not in `images`.
        empty: folders below which no image is, but beside or around which there are some.
        outside: folders that are links to a place outside the folder; not followed.
    """

    images: list[str]
    others: Counter[str]
    tables: list[str]
    containers: list[str]
    litter: Counter[str] = field(default_factory=Counter)
    denied: list[str] = field(default_factory=list)
    not_unicode: list[str] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    companions: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[str]:
        """What makes a row of a catalog: the images, and what cannot be read by its name.

        Those are images of no Unicode name, with escapes, and a row for what is in each folder
        outside. As rows they are counted, so that a class does not vanish with them.
        """
        if not (self.not_unicode or self.outside):
            return self.images
        beyond = (f"{as_unicode(name)}/." for name in self.outside)
        return sorted([*self.images, *map(as_unicode, self.not_unicode), *beyond])

    def notes(self) -> list[str]:
        """What is not in `images`, a line for each reason, with an example."""
        lines = []
        if self.left_out:
            names = listed([f"{name}/" for name in self.left_out])
            lines.append(f"left out by --skip-folder: {names}")
        if self.empty:
            lines.append(f"folders without an image: {listed([f'{name}/' for name in self.empty])}")
        if self.others:
            kinds = ", ".join(self.other_kinds())
            lines.append(
                f"skipped, not an image file: {counted(self.others.total(), 'file')} ({kinds})"
            )
        if self.companions:
            example, image = next(iter(self.companions.items()))
            lines.append(
                "skipped, they belong to other images: "
                f"{counted(len(self.companions), 'file')}, e.g. {example} beside {image}"
            )
        if self.litter:
            names = listed([name for name, _ in self.litter.most_common()])
            lines.append(f"skipped, left behind by a system: {self.litter.total():,} ({names})")
        return [*lines, *self.unread_notes()]

    def other_kinds(self) -> list[str]:
        """How many files are no images, the commonest suffixes first, with an example each."""
        most = [
            f"{count:,} {suffix}, e.g. {self.examples.get(suffix, suffix)}"
            for suffix, count in self.others.most_common(_SHOWN_KINDS)
        ]
        rest = len(self.others) - len(most)
        return [*most, counted(rest, "other kind")] if rest else most

    def unread_notes(self) -> list[str]:
        """Lines about images that no table can name, folders outside, and those that are closed."""
        lines = []
        if self.not_unicode:
            lines.append(
                "cannot be read, the name is not Unicode: "
                f"{counted(len(self.not_unicode), 'image')}, e.g. "
                f"{as_unicode(self.not_unicode[0])} (rename it, and folders of such names)"
            )
        if self.outside:
            lines.append(
                "not followed, links that lead outside: "
                f"{counted(len(self.outside), 'folder')}, e.g. {as_unicode(self.outside[0])} "
                "(--allow-outside)"
            )
        return [*lines, *self.denied_notes()]

    def denied_notes(self) -> list[str]:
        """A line about the folders that may not be read."""
        if not self.denied:
            return []
        return [
            f"skipped, may not be read: {counted(len(self.denied), 'folder')}: "
            f"{listed(self.denied)}"
        ]

    def no_images(self, root: str) -> CatalogError:
        """The error for a folder without images: what it holds instead."""
        return CatalogError(
            "this folder has no image files",
            where=root,
            details=[*self.unread_notes(), *self.other_kinds()],
            fix="name the folder that holds the images, or a table that names them",
        )


def is_litter(name: str) -> bool:
    """Whether a system left a file or folder of this name behind."""
    return name.lower() in LITTER or name.startswith((APPLE_DOUBLE, ".Trash-"))


def is_image_file(path: Path) -> bool:
    """Whether a file is an image by its suffix or, where that is unknown, by its first bytes."""
    return has_image_suffix(path.name) or _begins_like_an_image(path.name, partial(_head, path))


def is_container(name: str) -> bool:
    """Whether the file name is that of an IDX file, the format of MNIST."""
    return name.removesuffix(".gz").endswith(("ubyte", ".idx", ".idx1", ".idx3"))


def scan_folder(folder: str, *, skip: Collection[str] = (), follow_outside: bool = False) -> Scan:
    """List everything below a folder.

    Hidden files and folders (a leading dot) and what systems leave behind are skipped; linked
    folders, and Windows' junctions, are followed once, and only to places below the folder. A
    folder that may not be read is skipped and named in `denied`.

    Args:
        folder: a local folder, or a URL such as `s3://bucket/photos`, that the user named.
        skip: names, or paths below `folder`, of folders to leave out.
        follow_outside: follow links to places outside the folder as well.

    Raises:
        CatalogError: there is no such folder, or it cannot be read, or one to leave out is not
            there.
        RemoteError: a remote folder cannot be listed, such as every folder of a web server.
    """
    left_out = LeftOut(skip)
    found = Scan([], Counter(), [], [], left_out=left_out.counts)
    folder = local_path(folder)
    if is_url(folder):
        _scan_remote(folder, found, left_out)
    else:
        roots = None if follow_outside else (real_root(folder),)
        _scan_local(folder, found, left_out, roots)
    left_out.check(folder)
    found.images.sort()
    found.not_unicode.sort()
    found.companions.update(companions_of(found.images))
    if found.companions:
        found.images[:] = [image for image in found.images if image not in found.companions]
    return found


def list_images(folder: Path) -> list[str]:
    """Names of the image files directly in a folder, sorted; empty without such a folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if has_image_suffix(entry.name) and not entry.is_dir()
            )
    except OSError:
        return []


def _scan_local(folder: str, found: Scan, left_out: LeftOut, roots: tuple[str, ...] | None) -> None:
    waiting = [""]
    linked: set[str] = set()
    visited: list[str] = []
    with task(f"Listing {Path(folder).name}", unit="files") as advance:
        unreported = 0
        while waiting:
            prefix = waiting.pop()
            visited.append(prefix)
            for entry in _entries(folder, prefix, found):
                name = entry.name
                if _is_skipped(name, found):
                    continue
                if not leads_to_folder(entry):
                    _add_entry(found, prefix, entry, roots)
                    unreported += 1
                elif left_out.has(f"{prefix}{name}"):
                    continue
                elif is_link(entry) and not is_inside(entry.path, roots):
                    found.outside.append(f"{prefix}{name}")
                elif not is_link(entry) or _first_visit(entry.path, linked):
                    waiting.append(f"{prefix}{name}/")
            if unreported >= NOTIFY_EVERY_FILES or not waiting:
                advance(unreported)
                unreported = 0
    images = [*found.images, *found.not_unicode]
    denied = [line.rpartition(" (")[0] for line in found.denied]
    found.empty.extend(as_unicode(name) for name in folders_without(images, visited, denied))


def _entries(folder: str, prefix: str, found: Scan) -> Sequence[os.DirEntry[str]]:
    """What lies in a folder; nothing, and a line in `denied`, where it may not be read."""
    try:
        with os.scandir(f"{folder}/{prefix}") as entries:
            return list(entries)
    except OSError as error:
        reason = error.strerror or str(error)
        if not prefix:
            raise CatalogError(reason, where=folder) from error
        found.denied.append(f"{as_unicode(prefix.rstrip('/'))} ({reason})")
        return []


def _is_skipped(name: str, found: Scan) -> bool:
    if is_litter(name):
        kind = f"{APPLE_DOUBLE}*" if name.startswith(APPLE_DOUBLE) else as_unicode(name)
        found.litter[kind] += 1
        return True
    return name.startswith(".")


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself, or where nobody may look: reading the file will say so.
        return False


def is_link(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is a link, or a junction, which Windows does not call a link."""
    if entry.is_symlink():
        return True
    if hasattr(entry, "is_junction"):
        return bool(entry.is_junction())
    # Python 3.11 does not know junctions by name.
    about = entry.stat(follow_symlinks=False)
    return getattr(about, "st_reparse_tag", 0) == _JUNCTION


def _first_visit(path: str, linked: set[str]) -> bool:
    """Whether a linked folder is new; a link to a parent would be followed without end."""
    real = os.path.normcase(os.path.realpath(path))
    if real in linked or Path(path).parent.resolve().is_relative_to(real):
        return False
    linked.add(real)
    return True


def _scan_remote(url: str, found: Scan, left_out: LeftOut) -> None:
    folders: dict[str, bool] = {}
    for relative in list_all(url, PUBLIC.typed(url)):
        prefix, slash, name = relative.rpartition("/")
        if prefix not in folders:
            around = [prefix[: at.start()] for at in re.finditer("/|$", prefix)] if prefix else []
            folders[prefix] = any(left_out.has(folder) for folder in around)
        if not (folders[prefix] or any(_is_skipped(part, found) for part in relative.split("/"))):
            _add(found, prefix + slash, name)


def _add_entry(
    found: Scan, prefix: str, entry: os.DirEntry[str], roots: tuple[str, ...] | None
) -> None:
    if entry.is_symlink() and not has_image_suffix(entry.name) and not is_inside(entry.path, roots):
        # Of images, reading says so.
        _add_other(found, prefix, entry.name, "link to the outside")
    elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
        _add(found, prefix, entry.name, partial(_head, Path(entry.path)))
    else:
        # Reading a pipe would wait for ever.
        _add_other(found, prefix, entry.name, "pipe or device")


def _head(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(HEAD_BYTES)


def _add(found: Scan, prefix: str, name: str, read_head: Callable[[], bytes] | None = None) -> None:
    """Put a file where it belongs; one of no or an unknown suffix is opened, if that is quick."""
    if not prefix and is_unicode(name) and is_table(name):
        found.tables.append(name)
    elif not prefix and is_unicode(name) and is_container(name):
        found.containers.append(name)
    elif has_image_suffix(name) or _begins_like_an_image(name, read_head):
        path = prefix + name
        (found.images if is_unicode(path) else found.not_unicode).append(path)
    else:
        _add_other(found, prefix, name, as_unicode(suffix_of(name)) or "no suffix")


def _begins_like_an_image(name: str, read_head: Callable[[], bytes] | None) -> bool:
    if read_head is None or suffix_of(name) in OTHER_SUFFIXES:
        return False
    try:
        return is_image_kind(kind_of_bytes(read_head()))
    except OSError:
        return False


def _add_other(found: Scan, prefix: str, name: str, kind: str) -> None:
    found.others[kind] += 1
    found.examples.setdefault(kind, as_unicode(prefix + name))
