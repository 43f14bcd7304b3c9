"""The image files under a folder: a million files in seconds."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shopsight.catalog.table_names import is_table
from shopsight.errors import CatalogError
from shopsight.images.kinds import has_image_suffix
from shopsight.paths import is_url
from shopsight.progress import task
from shopsight.remote.addresses import local_path
from shopsight.remote.opening import list_all
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
# Only Windows names it, in the standard library as well.
_JUNCTION = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0xA0000003)


@dataclass(frozen=True)
class Scan:
    """The files under a folder.

    Attributes:
        images: files with the suffix of an image, relative with forward slashes, sorted.
        others: number of other files, by suffix.
        tables: CSV, TSV and Parquet files directly in the folder.
        containers: IDX files directly in the folder.
        litter: number of files and folders that a system left behind, by name; skipped.
        denied: folders that may not be read, with the reason; skipped.
        not_unicode: files with the suffix of an image whose path cannot be written as UTF-8, so
            that no table can name them; not in `images`.
    """

    images: list[str]
    others: Counter[str]
    tables: list[str]
    containers: list[str]
    litter: Counter[str] = field(default_factory=Counter)
    denied: list[str] = field(default_factory=list)
    not_unicode: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What was skipped without having been looked at, a line each; empty mostly."""
        if not self.litter:
            return self.unread_notes()
        names = listed([name for name, _ in self.litter.most_common()])
        line = f"skipped, left behind by a system: {self.litter.total():,} ({names})"
        return [line, *self.unread_notes()]

    def unread_notes(self) -> list[str]:
        """A line about images that no table can name, and one about folders that are closed."""
        if not self.not_unicode:
            return self.denied_notes()
        line = (
            f"skipped, the name is not Unicode: {counted(len(self.not_unicode), 'image')}, "
            f"e.g. {as_unicode(self.not_unicode[0])} (rename it, and folders of such names)"
        )
        return [line, *self.denied_notes()]

    def denied_notes(self) -> list[str]:
        """A line about the folders that may not be read."""
        if not self.denied:
            return []
        return [
            f"skipped, may not be read: {counted(len(self.denied), 'folder')}: "
            f"{listed(self.denied)}"
        ]


def is_litter(name: str) -> bool:
    """Whether a system left a file or folder of this name behind."""
    return name.lower() in LITTER or name.startswith((APPLE_DOUBLE, ".Trash-"))


def is_image(name: str) -> bool:
    """Whether the file name has the suffix of an image, of a kind that is read or not."""
    return has_image_suffix(name)


def is_container(name: str) -> bool:
    """Whether the file name is that of an IDX file, the format of MNIST."""
    return name.removesuffix(".gz").endswith(("ubyte", ".idx", ".idx1", ".idx3"))


def scan_folder(folder: str) -> Scan:
    """List everything below a folder.

    Hidden files and folders (a leading dot) and what systems leave behind are skipped; linked
    folders, and Windows' junctions, are followed once. A folder that may not be read is skipped
    and named in `denied`.

    Args:
        folder: a local folder, or a URL such as `s3://bucket/photos`.

    Raises:
        CatalogError: there is no such folder, or it cannot be read.
        RemoteError: a remote folder cannot be listed, such as every folder of a web server.
    """
    found = Scan([], Counter(), [], [])
    folder = local_path(folder)
    if is_url(folder):
        _scan_remote(folder, found)
    else:
        _scan_local(folder, found)
    found.images.sort()
    found.not_unicode.sort()
    return found


def list_images(folder: Path) -> list[str]:
    """Names of the image files directly in a folder, sorted; empty without such a folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name for entry in entries if is_image(entry.name) and not entry.is_dir()
            )
    except OSError:
        return []


def _scan_local(folder: str, found: Scan) -> None:
    waiting = [""]
    linked: set[str] = set()
    with task(f"Listing {Path(folder).name}", unit="files") as advance:
        unreported = 0
        while waiting:
            prefix = waiting.pop()
            for entry in _entries(folder, prefix, found):
                name = entry.name
                if _is_skipped(name, found):
                    continue
                if not _is_folder(entry):
                    _add(found, prefix, name)
                    unreported += 1
                elif not is_link(entry) or _first_visit(entry.path, linked):
                    waiting.append(f"{prefix}{name}/")
            if unreported >= NOTIFY_EVERY_FILES or not waiting:
                advance(unreported)
                unreported = 0


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


def _is_folder(entry: os.DirEntry[str]) -> bool:
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


def _scan_remote(url: str, found: Scan) -> None:
    for relative in list_all(url):
        if not any(_is_skipped(part, found) for part in relative.split("/")):
            prefix, slash, name = relative.rpartition("/")
            _add(found, prefix + slash, name)


def _add(found: Scan, prefix: str, name: str) -> None:
    if is_image(name):
        path = prefix + name
        (found.images if is_unicode(path) else found.not_unicode).append(path)
    elif not is_unicode(name):
        found.others[as_unicode(Path(name).suffix.lower()) or "no suffix"] += 1
    elif not prefix and is_table(name):
        found.tables.append(name)
    elif is_container(name) and not prefix:
        found.containers.append(name)
    else:
        found.others[Path(name).suffix.lower() or "no suffix"] += 1
