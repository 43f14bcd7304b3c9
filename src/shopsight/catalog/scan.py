"""The image files under a folder: a million files in seconds."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import fsspec

from shopsight.errors import CatalogError
from shopsight.images.decode import IMAGE_SUFFIXES
from shopsight.progress import task

# Files that operating systems and archives leave behind.
LITTER = frozenset({"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"})
NOTIFY_EVERY_FILES = 10_000


@dataclass(frozen=True)
class Scan:
    """The files under a folder.

    Attributes:
        images: files with the suffix of an image, relative with forward slashes, sorted.
        others: number of other files, by suffix.
        tables: CSV, TSV and Parquet files directly in the folder.
        containers: IDX files directly in the folder.
    """

    images: list[str]
    others: Counter[str]
    tables: list[str]
    containers: list[str]


def is_image(name: str) -> bool:
    """Whether the file name has the suffix of an image."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES if "." in name else False


def is_table(name: str) -> bool:
    """Whether the file name has the suffix of a table."""
    return name.lower().endswith((".csv", ".tsv", ".parquet"))


def is_container(name: str) -> bool:
    """Whether the file name is that of an IDX file, the format of MNIST."""
    return name.removesuffix(".gz").endswith(("ubyte", ".idx", ".idx1", ".idx3"))


def scan_folder(folder: str) -> Scan:
    """List everything below a folder.

    Hidden files and folders (a leading dot) are skipped; linked folders are followed once.

    Args:
        folder: a local folder, or a URL such as `s3://bucket/photos`.

    Raises:
        CatalogError: there is no such folder, or it cannot be read.
    """
    found = Scan([], Counter(), [], [])
    if "://" in folder:
        _scan_remote(folder, found)
    else:
        _scan_local(folder, found)
    found.images.sort()
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
            try:
                entries = os.scandir(f"{folder}/{prefix}")
            except OSError as error:
                raise CatalogError(
                    error.strerror or str(error), where=f"{folder}/{prefix}"
                ) from error
            with entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(".") or name in LITTER:
                        continue
                    if not entry.is_dir():
                        _add(found, prefix, name)
                        unreported += 1
                    elif not entry.is_symlink() or _first_visit(entry.path, linked):
                        waiting.append(f"{prefix}{name}/")
            if unreported >= NOTIFY_EVERY_FILES or not waiting:
                advance(unreported)
                unreported = 0


def _first_visit(path: str, linked: set[str]) -> bool:
    """Whether a linked folder is new; a link to a parent would be followed without end."""
    real = os.path.realpath(path)
    if real in linked or Path(path).parent.resolve().is_relative_to(real):
        return False
    linked.add(real)
    return True


def _scan_remote(url: str, found: Scan) -> None:
    try:
        system, path = fsspec.core.url_to_fs(url)
        files = system.find(path)
    except (OSError, ImportError, ValueError) as error:
        raise CatalogError(str(error), where=url) from error
    start = len(system._strip_protocol(path).rstrip("/")) + 1
    for file in files:
        relative = file[start:]
        if not any(part.startswith(".") or part in LITTER for part in relative.split("/")):
            prefix, slash, name = relative.rpartition("/")
            _add(found, prefix + slash, name)


def _add(found: Scan, prefix: str, name: str) -> None:
    if is_image(name):
        found.images.append(prefix + name)
    elif not prefix and is_table(name):
        found.tables.append(name)
    elif is_container(name) and not prefix:
        found.containers.append(name)
    else:
        found.others[Path(name).suffix.lower() or "no suffix"] += 1
