"""Which DATA are exports of a shop system: a file, several files of one export, or their folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from shopsight import paths
from shopsight.catalog.about_record import read_about
from shopsight.errors import CatalogError
from shopsight.exports.export_files import platform_of, read_export
from shopsight.exports.platforms import PLATFORMS
from shopsight.exports.profiles import Profile
from shopsight.read_options import ReadOptions
from shopsight.tables.table_names import PACKED, is_parquet, is_table, may_be_list
from shopsight.text import listed

BETWEEN_FILES = ","
JSON_SUFFIXES = (".json", ".json.gz")
FEED_SUFFIXES = (".xml", ".rss", ".atom", ".json")


def find_export(data: str, read: ReadOptions) -> tuple[str, ...]:
    """The files of an export that DATA names; empty for any other DATA.

    Args:
        data: a path or URL, or several with commas between them.
        read: a platform says that it is one; columns of images that it is to be read as any table.
    """
    files = _several(data)
    if read.platform is not None:
        return files
    if read.image is not None or not all(map(_may_be_export, files)):
        return ()
    is_export = [_is_sure(file) or platform_of(file) is not None for file in files]
    return files if all(is_export) else ()


def export_files(exports: Sequence[str], read: ReadOptions) -> tuple[str, ...]:
    """The files of one export that the user named as such.

    Args:
        exports: files, or folders in which they lie.
        read: how they are to be read.

    Raises:
        CatalogError: nothing is there, or what is there is no export.
    """
    files: list[str] = []
    for one in exports:
        if not paths.is_url(one) and not paths.exists(one):
            raise CatalogError("no such file or folder", where=one)
        if paths.is_url(one) or not paths.is_folder(one):
            files.append(one)
            continue
        found = export_in_folder(one)
        if not found:
            raise CatalogError(
                "no file in this folder is an export of a shop system",
                where=one,
                fix="name the files of the export",
            )
        files += found
    if len(files) > 1 and (odd := next((file for file in files if BETWEEN_FILES in file), None)):
        raise CatalogError(
            "a comma in the name of one of several files", where=odd, fix="rename it"
        )
    if read.platform is None and not find_export(BETWEEN_FILES.join(files), read):
        if any(map(paths.is_url, files)):
            raise CatalogError(
                "what lies at this address is an export only if you say of what",
                where=next(filter(paths.is_url, files)),
                fix=f"--platform {'|'.join(PLATFORMS)}",
            )
        read_export(files, read)  # It says why not.
    return tuple(files)


def export_in_folder(folder: str) -> tuple[str, ...]:
    """The files of the one export that lies directly in a local folder; empty without.

    Raises:
        CatalogError: there are exports of several platforms.
    """
    if paths.is_url(folder):
        return ()
    found: dict[str, Profile] = {}
    for file in sorted(Path(folder).iterdir(), key=lambda path: _natural(path.name)):
        name = file.as_posix()
        if _may_be_export(name) and (platform := platform_of(name)) is not None:
            found[name] = platform
    titles = sorted({platform.title for platform in found.values()})
    if len(titles) > 1:
        raise CatalogError(
            f"exports of several shop systems: {listed(titles)}",
            where=folder,
            details=[paths.name_of(name) for name in found],
            fix=f"name the files of one, such as {next(iter(found))}",
        )
    return tuple(found)


def _several(data: str) -> tuple[str, ...]:
    """The files that one DATA names, `a.csv,b.csv`; DATA itself where that is a file."""
    parts = tuple(part.strip() for part in data.split(BETWEEN_FILES) if part.strip())
    if len(parts) < 2 or paths.exists(data) or paths.is_url(data):
        return (data,)
    return parts


def _may_be_export(name: str) -> bool:
    """Whether a file may be an export by its name, and is a local one that shopsight did not write.

    A table at an address is read once, and as an export only if the user says so.
    """
    if is_feed_name(name):
        return paths.is_url(name) or paths.is_file(name)
    if paths.is_url(name) or is_parquet(name) or not (is_table(name) or may_be_list(name)):
        return False
    return paths.is_file(name) and read_about(Path(name)) is None


def _is_sure(name: str) -> bool:
    """Whether a file is read as an export whatever is in it: nothing else here reads XML."""
    return is_feed_name(name) and (paths.is_url(name) or not name.lower().endswith(JSON_SUFFIXES))


def is_feed_name(name: str) -> bool:
    """Whether a file has the suffix of what nothing else here reads: XML, and JSON of products.

    >>> [is_feed_name(one) for one in ("a.xml.gz", "https://shop.com/a.JSON?page=2", "a.csv")]
    [True, True, False]
    """
    bare = (name.partition("?")[0] if paths.is_url(name) else name).lower().removesuffix(PACKED)
    return bare.endswith(FEED_SUFFIXES)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which `products_2.csv` comes before `products_10.csv`."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
