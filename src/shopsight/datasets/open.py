"""Open DATA: every source that a user can name becomes a catalog."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import polars as pl

from shopsight import paths
from shopsight.catalog.about_record import read_about
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.idx_pairs import container_catalog
from shopsight.catalog.label_paths import unify_paths
from shopsight.catalog.label_spelling import unify_labels
from shopsight.catalog.moved_images import move_images, refuse_missing_images
from shopsight.catalog.tables import table_catalog
from shopsight.datasets.chosen_columns import (
    refuse_long_labels,
    with_columns,
    with_label_options,
)
from shopsight.datasets.data_access import (
    about_hosts,
    allowed,
    folder_access,
    with_outside_noted,
)
from shopsight.datasets.folder_tables import table_in_folder
from shopsight.datasets.registry import DATASETS, is_dataset, open_dataset
from shopsight.datasets.split_files import open_parts, several_files
from shopsight.errors import CatalogError, RemoteError
from shopsight.exports.find_export import export_in_folder, find_export
from shopsight.exports.open_export import export_catalog
from shopsight.exports.statuses import rows_of_status
from shopsight.folders.folders import folder_catalog
from shopsight.folders.label_patterns import pattern_catalog
from shopsight.image_files.scan import is_container, is_image_file, scan_folder
from shopsight.io.addresses import local_path
from shopsight.io.local_files import read_file
from shopsight.io.logins import without_login
from shopsight.io.opening import check_readable
from shopsight.progress import notify
from shopsight.read_options import NO_COLUMN, DataKind, ReadOptions, flag_of
from shopsight.tables.table_files import refuse_other_kinds
from shopsight.tables.table_names import is_table, may_be_list
from shopsight.text import as_unicode, counted, is_unicode

MOST_UNREAD = 0.5
"""When more than this fraction of the images has addresses that nothing here reads, it is no
matter of single rows."""

_LOOKED_AT_BYTES = 100_000_000


def open_catalog(data: str | Path | Catalog, read: ReadOptions | None = None) -> Catalog:
    """Read a folder, a table, IDX files or a named data set; what is guessed is reported.

    Args:
        data: a path or URL, the name of a data set (`shopsight data` lists them), or a catalog,
            whose label, group and text can still be taken from other columns.
        read: how to read it; None guesses everything.

    Returns:
        The catalog; its `notes`, which `shopsight.progress` got too, list what was guessed.

    Raises:
        CatalogError: there is nothing there, its path is not Unicode, it cannot be read as images
            with labels, or an option does not go with it.
        SourceError: a named data set is neither on this machine nor can it be fetched.
        RemoteError: an address cannot be read, or most images have one that nothing here reads.
    """
    read = read or ReadOptions()
    if isinstance(data, Catalog):
        known = len(data.notes)
        _refuse(read, "opened", data.name)
        catalog = with_columns(data, read)
        access = allowed(catalog.access, read)
        catalog = catalog if access == catalog.access else replace(catalog, access=access)
    else:
        known = 0
        for given in (data, read.root, read.images_root):
            _refuse_not_unicode("" if given is None else str(given))
        # What the user typed goes before what a table says.
        for given in (data, read.images_root):
            without_login("" if given is None else str(given))
        catalog = _open(local_path(str(data)), read)
        named = several_files(str(data)) or (data,)
        access = allowed(catalog.access, read).typed(*named, read.images_root)
        catalog = _with_readable_addresses(replace(catalog, access=access))
        if catalog.root:
            # The images are found again after a change of the working folder.
            catalog = replace(catalog, root=paths.full(catalog.root))
        catalog = with_outside_noted(catalog, _outside_fix(str(data)))
    _refuse_not_unicode(catalog.root)
    if read.choice("on_missing_image") == "error":
        refuse_missing_images(catalog, catalog.name)
    catalog = unify_paths(unify_labels(catalog), read.path_separator)
    catalog = with_label_options(catalog, read)
    refuse_long_labels(catalog)
    for line in catalog.notes[known:]:
        notify(line)
    return catalog


def check_there(data: str | None) -> None:
    """Refuse DATA where nothing is; for those who would else find it after what takes long.

    Args:
        data: None names nothing.

    Raises:
        CatalogError: nothing is there, or its path is not Unicode.
    """
    if data is None or paths.is_url(data) or is_dataset(data):
        return
    _refuse_not_unicode(data)
    path = local_path(data)
    if not (several_files(path) or paths.exists(path)):
        raise _not_there(path)


def _outside_fix(data: str) -> str:
    """How to allow images outside the data, below `{folder}`."""
    every = "--allow-outside   (reads every file that a table or a link names)"
    return every if paths.is_folder(data) else f"--images-root {{folder}}\n{every}"


def _with_readable_addresses(catalog: Catalog) -> Catalog:
    """The catalog with a note on addresses that nothing here reads: the audit finds them by row.

    Raises:
        RemoteError: such addresses are most of the images.
    """
    images = catalog.table["image"]
    if paths.is_url(catalog.root):
        check_readable(catalog.root, catalog.access)
    addresses = images.filter(images.str.contains("://", literal=True))
    if len(addresses):
        catalog = catalog.with_notes(about_hosts(addresses, len(images)))
    starts = addresses.str.split("://").list.first()
    for start, count in starts.value_counts(sort=True).iter_rows():
        example = images.filter(images.str.starts_with(f"{start}://"))[0]
        try:
            if paths.is_url(example):
                check_readable(example, catalog.access)
        except RemoteError as error:
            lacking = f"{count:,} of {counted(len(images), 'image')}"
            if count > MOST_UNREAD * len(images):
                where = f"{catalog.name}, such as {error.where}"
                raise RemoteError(
                    error.reason, f"{lacking}: {error.what}", where=where, fix=error.fix
                ) from None
            catalog = catalog.with_notes(
                f"{lacking} cannot be read, e.g. {error.where}: {error.what}"
            )
    return catalog


def _open(data: str, read: ReadOptions) -> Catalog:
    if is_dataset(data):
        return _open_named(data, read)
    if read.root is not None:
        raise CatalogError(
            "--root goes with a named data set",
            where=data,
            details=[f"data sets: {', '.join(DATASETS)}"],
        )
    if not paths.is_folder(data) and (files := find_export(data, read)):
        return _open_export(files, read)
    parts = several_files(data)
    if parts:
        _refuse(read, "table", data)
        return open_parts(parts, read, name=", ".join(map(paths.name_of, parts)))
    is_url = paths.is_url(data)
    check_there(data)
    is_file = not is_url and paths.is_file(data)
    if not (is_url or is_file or paths.is_folder(data)):
        raise CatalogError(
            "neither a folder nor a regular file (a pipe or a device)",
            where=data,
            fix="write what it gives to a file, and name that",
        )
    if read.label_pattern is not None and (
        is_file or (is_url and (is_table(data) or may_be_list(data)))
    ):
        raise CatalogError("a label pattern goes with a folder of images", where=data)
    # A folder may have the name of a table.
    if (is_url or is_file) and (is_table(data) or may_be_list(data)):
        return _open_table(data, read)
    if is_file:
        _refuse(read, "file", data)
        return with_columns(_open_file(Path(data), read), read)
    return _open_folder(data, read)


def _open_export(files: tuple[str, ...], read: ReadOptions) -> Catalog:
    for file in files:
        check_there(file)
    _refuse(read, "export", ", ".join(map(paths.name_of, files)))
    catalog = export_catalog(files, read)
    # A column of the export itself is no longer one of the catalog.
    known = set(read.label_columns) <= {NO_COLUMN, *catalog.table.columns}
    return with_columns(catalog, read if known else read.without(["label"]))


def _open_named(name: str, read: ReadOptions) -> Catalog:
    _refuse(read, "named", name)
    root = None if read.root is None else Path(read.root)
    images_root = None if read.images_root is None else str(read.images_root)
    catalog = open_dataset(name, root=root, images_root=images_root)
    if paths.exists(name):
        note = f"{name!r} is read as the data set; ./{name} is the folder of that name"
        catalog = catalog.with_notes(note)
    return with_columns(catalog, read)


def _open_table(path: str, read: ReadOptions) -> Catalog:
    if paths.is_url(path) or read_about(Path(path)) is None or read.image is not None:
        _refuse(read, "table", path)
        return table_catalog(path, read)
    _refuse(read, "own table", path)
    catalog = Catalog.read(path, read)
    if read.images_root is not None:
        root = str(read.images_root)
        catalog = move_images(catalog, root, path)
        inside = () if paths.is_url(root) else (root,)
        catalog = replace(catalog, access=catalog.access.within(*inside))
    return with_columns(rows_of_status(catalog, read.status), read)


def _open_file(path: Path, read: ReadOptions) -> Catalog:
    if is_container(path.name):
        return container_catalog(
            [path.name],
            name=path.name,
            root=str(path.parent),
            follow_outside=read.allow_outside,
        )
    if is_image_file(path):
        return Catalog(pl.DataFrame({"image": [path.name]}), path.name, str(path.parent))
    try:
        if path.stat().st_size < _LOOKED_AT_BYTES:
            refuse_other_kinds(read_file(path, most_bytes=_LOOKED_AT_BYTES), str(path))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise CatalogError(reason, where=str(path)) from error
    raise CatalogError(
        "neither a folder nor a table (.csv, .tsv, .jsonl, .parquet), a list (.txt), an IDX file "
        "or an image",
        where=str(path),
    )


def _open_folder(folder: str, read: ReadOptions) -> Catalog:
    folder = folder.rstrip("/") if paths.is_url(folder) else Path(folder).as_posix()
    name = paths.name_of(folder)
    scan = scan_folder(folder, skip=read.skip_folder, follow_outside=read.allow_outside)
    if read.platform is not None or not (scan.images or scan.containers):
        files = export_in_folder(folder)
        if files and read.image is None:
            return _open_export(files, read)
    if read.label_pattern is not None:
        catalog = pattern_catalog(scan, read.label_pattern, name=name, root=folder)
    elif not scan.images and scan.containers:
        catalog = container_catalog(
            scan.containers, name=name, root=folder, follow_outside=read.allow_outside
        )
    else:
        if not scan.images and scan.tables:
            # Images within Parquet files, or elsewhere.
            labeled = table_in_folder(folder, scan, read)
            if labeled is not None:
                return labeled
        catalog = folder_catalog(scan, name=name, root=folder)
        if len(catalog.labels) < 2 and read.label_columns != (NO_COLUMN,):
            labeled = table_in_folder(folder, scan, read)
            if labeled is not None:
                return labeled
    _refuse(read, "folder", folder)
    return with_columns(replace(catalog, access=folder_access(folder, read)), read)


def _refuse(read: ReadOptions, kind: DataKind, where: str) -> None:
    """Refuse options that this kind of DATA would ignore."""
    ignored = [flag_of(name) for name in read.unused(kind)]
    if ignored:
        raise CatalogError(
            f"{', '.join(ignored)} would change nothing here",
            where=where,
            fix=f"leave out {', '.join(ignored)}",
        )


def unused_options(read: ReadOptions, data: str | Path | Catalog) -> tuple[str, ...]:
    """Names of the options that are set and say nothing about DATA, as far as that is known.

    A folder with a table in it may be either: what goes with one of them is not unused.
    """
    if isinstance(data, Catalog):
        return read.unused("opened")
    name = str(data)
    if is_dataset(name):
        return read.unused("named")
    if not paths.is_folder(name) and find_export(name, read):
        return read.unused("export")
    is_local = not paths.is_url(name)
    if several_files(name):
        return read.unused("table")
    if (is_table(name) or may_be_list(name)) and not (is_local and paths.is_folder(name)):
        own = is_local and paths.is_file(name) and read_about(Path(name)) is not None
        return read.unused("own table" if own else "table")
    if is_local and paths.is_file(name):
        return read.unused("file")
    has_table = (
        is_local
        and paths.is_folder(name)
        and any(is_table(file.name) or may_be_list(file.name) for file in Path(name).iterdir())
    )
    kinds: list[DataKind] = ["folder"]
    kinds += ["table"] if has_table else []
    kinds += ["export"] if is_local and paths.is_folder(name) and export_in_folder(name) else []
    unused = [set(read.unused(kind)) for kind in kinds]
    return tuple(option for option in read.given() if all(option in one for one in unused))


def _refuse_not_unicode(path: str) -> None:
    """Refuse a path that no table, cache or report could name."""
    if not is_unicode(path):
        raise CatalogError(
            "the path is not Unicode (UTF-8)",
            where=as_unicode(path),
            fix="rename the file or folder that has escapes (such as \\udce9) in its name above",
        )


def _not_there(data: str) -> CatalogError:
    here = Path(data).parent
    beside = [path.name for path in here.iterdir()] if paths.is_folder(here) else []
    near = difflib.get_close_matches(Path(data).name, [*DATASETS, *beside], n=1, cutoff=0.6)
    return CatalogError(
        "no such folder, table or data set" + (f"; did you mean {near[0]!r}?" if near else ""),
        where=data,
        fix="shopsight data   (lists the named data sets)",
    )
