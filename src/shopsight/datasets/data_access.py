"""What may be read on the word of DATA, and what lies outside of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.images.idx import idx_member
from shopsight.io.access import Access
from shopsight.io.addresses import host_of
from shopsight.io.confinement import is_inside, is_there_outside, real_root
from shopsight.paths import is_url
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import command_line, counted, fix_in_line, listed

MOST_AT_SERVERS = 0.5
"""Of images; where more are at web servers, it is said how they become files."""

_LOOKED_AT = 1_000


def allowed(access: Access, read: ReadOptions) -> Access:
    """The access with what the user's flags add."""
    flags = Access(
        private=read.allow_private,
        web=False,
        remote=read.allow_remote,
        roots=None if read.allow_outside else (),
    )
    return access.joined(flags)


def folder_access(folder: str, read: ReadOptions) -> Access:
    """What may be read in a folder that the user named: what lies in it, links followed."""
    roots = () if is_url(folder) else (real_root(folder),)
    return allowed(Access(roots=roots), read).typed(folder)


def about_hosts(addresses: pl.Series, num_images: int) -> str:
    """Which hosts and stores a table's cells name, and how often; those of most images first."""
    counts: Counter[str] = Counter()
    for place, count in addresses.str.extract("^([^:]+://[^/?#]*)").value_counts().iter_rows():
        counts[host_of(place or "") or "this machine"] += count
    hosts = [f"{host} ({count:,})" for host, count in counts.most_common()]
    return f"at addresses: {len(addresses):,} of {counted(num_images, 'image')}: {listed(hosts)}"


def say_how_to_fetch(catalog: Catalog, data: str) -> None:
    """Say how images at web servers become files; nothing where most are files.

    Args:
        catalog: the images.
        data: what the user named, or will.
    """
    images = catalog.table["image"]
    count = int(images.str.contains(r"^(?i:https?)://").sum())
    if count > MOST_AT_SERVERS * len(images):
        words = command_line(["shopsight", "fetch", data, "--out", "photos"])
        notify(f"each read of these images asks a server; to keep them as files: {words}")


def with_outside_noted(catalog: Catalog, fix: str) -> Catalog:
    """The catalog with a note on images outside the data, which the audit finds by row.

    Args:
        catalog: its `access` says which files may be read.
        fix: how to allow the folder `{folder}` of all these images.

    Raises:
        CatalogError: all are outside.
    """
    outside = _outside(catalog.refs(), catalog.access.roots)
    if not outside:
        return catalog
    few, folder = counted(len(outside), "image"), _common_folder(outside)
    fix = fix.format(folder=folder)
    if len(outside) == len(catalog):
        raise CatalogError(
            f"all {few} lie outside the data, below {folder}",
            where=catalog.name,
            details=outside,
            fix=fix,
        )
    flags = fix_in_line(fix)
    return catalog.with_notes(
        f"outside the data, not read: {few} of {len(catalog):,}, below {folder} ({flags})"
    )


def _outside(refs: Sequence[str], roots: tuple[str, ...] | None) -> list[str]:
    """Files that are there and may not be read.

    Folders are looked at, of which there are few; files, which may be links, are where the first
    ones of a sample say so.
    """
    if roots is None or not refs:
        return []
    files = pl.Series([ref if (member := idx_member(ref)) is None else member[0] for ref in refs])
    files = files.filter(~files.str.contains("^[A-Za-z][A-Za-z0-9_+.-]+://"))
    if not len(files):
        return []
    parents = files.str.replace("/[^/]*$", "/")
    beyond = [one for one in parents.unique(maintain_order=True) if not is_inside(one, roots)]
    found = files.filter(parents.is_in(beyond)).to_list()
    others = files.filter(~parents.is_in(beyond))
    sample = others.gather_every(max(1, len(others) // _LOOKED_AT)).to_list()
    if not all(is_inside(one, roots) for one in sample):
        found += [one for one in others.to_list() if not is_inside(one, roots)]
    # What is not there at all is a missing file.
    return [one for one in found if is_there_outside(one, roots)]


def _common_folder(files: Sequence[str]) -> str:
    folders = {os.path.realpath(os.path.dirname(file)) for file in files[:_LOOKED_AT]}  # noqa: PTH120
    try:
        return os.path.commonpath(folders)
    except ValueError:
        # On several drives.
        return min(folders)
