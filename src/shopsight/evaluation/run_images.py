"""The images of a run as they are now, compared with the hashes in its catalog.

A score of files that are no longer those that the run was split and trained by says nothing about
the run. So each verb that reads a run's images compares them first, and again while it decodes
them. A file whose size and modification time are those that the audit noted is not read for the
first comparison. Images at URLs are compared only while they are decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight import paths
from shopsight.audit.file_info import file_info_path, inspect_all
from shopsight.audit.findings import check_kinds
from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError, ChangedFilesError, ReadOnlyError
from shopsight.held_files import remove_file
from shopsight.image_files.scan import scan_folder
from shopsight.io.addresses import shown
from shopsight.progress import notify
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line, counted, listed

CHANGED_FILE = "changed-file"
"""What `--accept` calls images of a run that changed or vanished."""


@dataclass(frozen=True)
class RunImages:
    """What became of a run's images.

    Attributes:
        changed: the new hash (hex) of each image that is another file now, by name.
        vanished: names of the images that are not there any more, or cannot be read.
    """

    changed: Mapping[str, str]
    vanished: frozenset[str]

    @property
    def as_they_were(self) -> bool:
        """Whether every image is the file that the run was made with."""
        return not self.changed and not self.vanished

    def rows_there(self, audited: AuditedCatalog) -> Int64[np.ndarray, "m"]:
        """Rows of the catalog whose images did not vanish."""
        gone = audited.catalog.table["image"].is_in(list(self.vanished))
        return np.flatnonzero(~gone.to_numpy()).astype(np.int64)

    def now(self, audited: AuditedCatalog) -> AuditedCatalog:
        """The catalog of the images that are there, with their hashes as they are now."""
        kept = audited.take(self.rows_there(audited)) if self.vanished else audited
        if not self.changed:
            return kept
        names = kept.catalog.table["image"].to_list()
        hashes = [self.changed.get(name, sha) for name, sha in zip(names, kept.sha256, strict=True)]
        return replace(kept, sha256=pl.Series("sha256", hashes, dtype=pl.String))

    def line(self) -> str:
        """`"2 changed, e.g. a.jpg; 1 vanished, e.g. b.jpg"`."""
        found = {"changed": sorted(self.changed), "vanished": sorted(self.vanished)}
        return "; ".join(
            f"{len(names):,} {what}, e.g. {names[0]}" for what, names in found.items() if names
        )


UNCHANGED = RunImages({}, frozenset())


def check_run_images(
    run: RunFolder,
    *,
    command: Sequence[object],
    accept: Collection[str] = (),
    images_root: str | Path | None = None,
) -> RunImages:
    """Compare a run's images with the hashes in its catalog, before anything is written.

    Args:
        run: the run.
        command: what the user typed, for the advice: `["shopsight", "evaluate", run]`.
        accept: "changed-file" goes on in spite of images that changed or vanished, with a note.
        images_root: where the images lie now. What is found there by its hash is kept in the
            run's catalogs, once nothing is wrong or that is accepted.

    Returns:
        What is no longer as it was; nothing, unless that is accepted.

    Raises:
        ChangedFilesError: images changed or vanished.
        CatalogError: `images_root` holds none of the run's images; or the run is somebody else's,
            or its images are remote, and nothing says that they may be read.
        ConfigError: `accept` holds another kind.
    """
    check_kinds("--accept", accept, {CHANGED_FILE})
    audited = run.audited_catalog()
    moved: Catalog | None = None
    if images_root is not None:
        moved = _moved(audited, str(images_root))
        audited = audited.with_catalog(moved)
    _refuse_unnamed(run, audited.catalog, command)
    # What is accepted is looked at in full: no file passes by its time alone.
    found = _compared(audited, remember=CHANGED_FILE not in accept)
    if not found.as_they_were:
        if CHANGED_FILE not in accept:
            raise _refusal(run, audited, found, command)
        gone = set(audited.catalog.labels) - set(found.now(audited).catalog.labels)
        lost = f"; no image is left of {listed(sorted(gone))}" if gone else ""
        notify(f"accepted, no longer as the run was made with: {found.line()}{lost}")
    if moved is not None:
        try:
            _keep_places(run, moved)
        except ReadOnlyError as error:
            notify(f"where the images are now is not kept: {error.where}: {error.what}")
    return found


def accept_changes(run: RunFolder, found: RunImages) -> None:
    """Go on training without the images that vanished, and with the others as they are now.

    Raises:
        ChangedFilesError: a label, or a part of the split, would have no image left.
    """
    if found.as_they_were:
        return
    changed = {one: found.now(one.audited_catalog()) for one in run.trainings()}
    for training, now in changed.items():
        _refuse_gaps(training.catalog(), now.catalog, str(training.path))
    for training, now in changed.items():
        now.write(training.catalog_file)
        for stale in training.predictions.glob("*.parquet"):
            remove_file(stale)
    run.update_state(
        changed_files={"changed": sorted(found.changed), "vanished": sorted(found.vanished)}
    )


def _refuse_unnamed(run: RunFolder, catalog: Catalog, command: Sequence[object]) -> None:
    """Refuse images that are not read on a run's word; see `shopsight.runs.run_access`."""
    access, refs = catalog.access, catalog.refs()
    asking = command_line(command)
    remote = sorted(
        {shown(ref) for ref in refs if paths.is_url(ref) and not access.allows_url(ref)}
    )
    if remote:
        raise CatalogError(
            f"{counted(len(remote), 'image')} of the run are at addresses, which are not asked on "
            "a run's word",
            where=str(run.path),
            details=remote,
            fix=f"{asking} --allow-remote   (asks them)",
        )
    if access.roots == () and not all(map(paths.is_url, refs)):
        raise CatalogError(
            "this run was not made by your shopsight on this machine: of its images, those are "
            "read that you name",
            where=str(run.path),
            details=[f"the run says: {catalog.root or refs[0]}"],
            fix=f"{asking} --images-root FOLDER   (reads those in this folder)\n"
            f"{asking} --allow-outside   (reads each file that the run names)",
        )


def _compared(audited: AuditedCatalog, *, remember: bool = True, remote: bool = False) -> RunImages:
    names, refs = audited.catalog.table["image"].to_list(), audited.catalog.refs()
    local = [row for row, ref in enumerate(refs) if remote or not paths.is_url(ref)]
    hashes = audited.sha256.to_list()
    changed, vanished = {}, set()
    hashes_now = _hashes([refs[row] for row in local], audited, remember=remember)
    for row, now in zip(local, hashes_now, strict=True):
        if now is None:
            vanished.add(names[row])
        elif now != hashes[row]:
            changed[names[row]] = now
    return RunImages(changed, frozenset(vanished))


def _hashes(
    refs: Sequence[str], audited: AuditedCatalog, *, remember: bool = True
) -> list[str | None]:
    """The hash of each file as it is now; None where it cannot be read."""
    kept = file_info_path(cache_folder(), str(Path(audited.catalog.root).absolute()))
    inspected = inspect_all(refs, access=audited.catalog.access, kept=kept if remember else None)
    hashes: list[str | None] = inspected.files["sha256"].to_list()
    return hashes


def _refusal(
    run: RunFolder, audited: AuditedCatalog, found: RunImages, command: Sequence[object]
) -> ChangedFilesError:
    changed, vanished = sorted(found.changed), sorted(found.vanished)
    total = audited.catalog.table["image"].n_unique()
    where_to = f"{command_line([*command, '--images-root'])} FOLDER   (finds moved ones by hash)\n"
    on = (
        f"{command_line([*command, '--accept', CHANGED_FILE])}   "
        "(takes changed ones as they are, leaves out vanished ones)"
    )
    return ChangedFilesError(
        "not the files that the run was made with: "
        f"{len(changed) + len(vanished):,} of {counted(total, 'image')} "
        f"({len(changed):,} changed, {len(vanished):,} vanished)",
        where=str(run.path),
        details=[
            *(f"changed: {name}" for name in changed),
            *(f"vanished: {name} (looked in {audited.catalog.root or '/'})" for name in vanished),
        ],
        fix=(f"bring them back\n{where_to}" if vanished else "bring them back\n") + on,
    )


def _refuse_gaps(before: Catalog, now: Catalog, where: str) -> None:
    lost = sorted(set(before.labels) - set(now.labels))
    if "split" in before.table.columns:
        parts = before.table["split"].drop_nulls().unique().sort().to_list()
        lost += [f"the {split} part" for split in parts if not len(now.rows_of(split))]
    if lost:
        raise ChangedFilesError(
            f"without the images that vanished, nothing is left of {', '.join(lost)}",
            where=where,
            fix="bring them back, or train anew",
        )


def _moved(audited: AuditedCatalog, images_root: str) -> Catalog:
    """The run's catalog with its images where they lie now; what is not there stays as it is."""
    root = paths.full(images_root)
    if not paths.is_url(root) and not paths.is_folder(root):
        raise CatalogError("no such folder of images", where=images_root, fix="--images-root DIR")
    catalog = audited.catalog
    names = catalog.table["image"].to_list()
    access = catalog.access.typed(root)
    access = access if paths.is_url(root) else access.within(root)
    catalog = replace(catalog, access=access)
    audited = audited.with_catalog(catalog)
    there = replace(catalog, root=root)
    relative = not any(map(paths.is_full, names))
    # A new place is believed when every file is there, at a URL too.
    if relative and _compared(audited.with_catalog(there), remote=True).as_they_were:
        return there
    found = _by_hash(audited, root)
    if not found:
        raise CatalogError(
            f"none of the {counted(len(set(names)), 'image')} of the run is in this folder "
            "(compared by the hash of the files)",
            where=images_root,
            details=[f"the run's first image: {names[0]}"],
            fix="--images-root FOLDER names the one that they lie in now",
        )
    notify(f"found by hash under {images_root}: {len(found):,} of {len(set(names)):,} images")
    start = _common_start(found)
    if start is not None:
        root = paths.join(root, start).rstrip("/")
    # What did not move stays where it was; what is nowhere is looked for with the others.
    stays = {
        name: ref
        for name, ref in zip(names, catalog.refs(), strict=True)
        if name not in found and not paths.exists(paths.join(root, name)) and paths.is_file(ref)
    }
    if start is None or stays:
        found = {name: path.removeprefix(start or "") for name, path in found.items()}
        renamed = pl.Series([found.get(name) or stays.get(name) or name for name in names])
        catalog = catalog.with_table(catalog.table.with_columns(image=renamed))
    return replace(catalog, root=root)


def _common_start(found: Mapping[str, str]) -> str | None:
    """The folder below which all images have the names that they had; None without one."""
    starts = {path.removesuffix(name) for name, path in found.items() if path.endswith(name)}
    alike = len(starts) == 1 and all(path.endswith(name) for name, path in found.items())
    return starts.pop() if alike else None


def _by_hash(audited: AuditedCatalog, root: str) -> dict[str, str]:
    """For each image whose file is under `root`, its path there; of copies the likeliest."""
    scan = scan_folder(root)
    there = audited.with_catalog(replace(audited.catalog, root=root))
    places: dict[str, list[str]] = {}
    hashes = _hashes([paths.join(root, path) for path in scan.images], there)
    for path, sha in zip(scan.images, hashes, strict=True):
        if sha is not None:
            places.setdefault(sha, []).append(path)
    found = {}
    for name, sha in zip(audited.catalog.table["image"], audited.sha256, strict=True):
        if sha in places:
            found[name] = max(places[sha], key=partial(_common_tail, name))
    return found


def _common_tail(name: str, path: str) -> int:
    """How many folders and names at the end of two paths agree."""
    backwards = zip(*(reversed(one.replace("\\", "/").split("/")) for one in (name, path)))  # noqa: B905
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], backwards))


def _keep_places(run: RunFolder, moved: Catalog) -> None:
    """Write where the images lie now into the catalogs of a run, its folds and its refit."""
    before = run.catalog().table["image"].to_list()
    place = dict(zip(before, moved.table["image"].to_list(), strict=True))
    for training in run.trainings():
        audited = training.audited_catalog()
        names = [place[name] for name in audited.catalog.table["image"].to_list()]
        table = audited.catalog.table.with_columns(image=pl.Series(names, dtype=pl.String))
        catalog = replace(audited.catalog.with_table(table), root=moved.root)
        audited.with_catalog(catalog).write(training.catalog_file)
    held_out = run.held_out()
    if held_out is not None and all(name == now for name, now in place.items()):
        # They moved with the others, whose names stayed.
        catalog = replace(held_out.catalog, root=moved.root)
        held_out.with_catalog(catalog).write(run.held_out_file)
