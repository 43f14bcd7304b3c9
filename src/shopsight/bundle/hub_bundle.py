"""A bundle that somebody published on the Hub, kept in the cache by its commit.

    hub/OWNER/NAME@COMMIT/    the bundle: those of the repository's files that a bundle has
    hub/OWNER/NAME.json       the commit that each branch and tag was, when it was last asked for

Only files that a bundle has are downloaded, none of them a pickle or code, each within its limit. A
commit that is kept is not asked for again, and needs neither the network nor the Hub's client.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path

from shopsight.bundle.attribute_info import ATTRIBUTES_FILE
from shopsight.bundle.format import CARD_FILE, GOLDEN_FILE, INFO_FILE, METRICS_FILE, WEIGHTS_FILE
from shopsight.bundle.text_info import TEXT_WEIGHTS_FILE, TOKENIZER_FILE
from shopsight.bundle.unknown_info import UNKNOWN_FILE
from shopsight.cache_place import cache_folder, one_after_another
from shopsight.errors import BundleError, DamagedFileError, HubError, WriteError
from shopsight.files import atomic_folder, make_folder, write_json
from shopsight.io.hub import HubCommit, HubFile, HubName, download_file, find_commit
from shopsight.io.json_files import read_json_table
from shopsight.paths import is_file
from shopsight.progress import notify, task
from shopsight.text import human_bytes

_SMALL, _LARGE = 64 << 20, 64 << 30
"""What a description, and what weights may have."""
_MOST_BYTES = {
    INFO_FILE: _SMALL,
    METRICS_FILE: _SMALL,
    CARD_FILE: _SMALL,
    TOKENIZER_FILE: _SMALL,
    "exports.json": _SMALL,
    # Up to 64 files of images.
    GOLDEN_FILE: 1 << 30,
    ATTRIBUTES_FILE: 1 << 30,
    UNKNOWN_FILE: 1 << 30,
    WEIGHTS_FILE: _LARGE,
    TEXT_WEIGHTS_FILE: _LARGE,
}
# Which of them there are, `bundle.exports` reads from exports.json.
_EXPORTED = re.compile(r"[a-z0-9][a-z0-9_.-]{0,100}\.onnx(\.data)?")
_NEEDED = (INFO_FILE, WEIGHTS_FILE, GOLDEN_FILE)


def is_bundle_file(name: str) -> bool:
    """Whether a bundle may hold a file of this name."""
    return name in _MOST_BYTES or _EXPORTED.fullmatch(name) is not None


def hub_bundle(name: HubName, *, check: Callable[[Path], object]) -> Path:
    """The folder of a published bundle, downloaded where it is not kept yet.

    Args:
        name: the repository; without a revision, the newest commit of its main branch.
        check: raises a `BundleError` for a folder that is no whole bundle.

    Raises:
        HubError: there is no such repository, it cannot be read, or it holds what no bundle does.
        BundleError: it is no whole bundle.
        WriteError: the cache cannot be written.
        ExtraMissingError: it is not kept, and the Hub's client is not installed.
    """
    return _bundle_of(name, cache_folder(), check)


def pinned(name: HubName, folder: Path) -> HubName:
    """The name with its commit, of the folder that `hub_bundle` gave."""
    return name.at(folder.name.rpartition("@")[2])


# Once in a process: what a branch is must not change between two readings of one command.
@cache
def _bundle_of(name: HubName, root: Path, check: Callable[[Path], object]) -> Path:
    owner, _, repo = name.repo.partition("/")
    home = root / "hub" / owner
    if name.is_commit and is_file(home / f"{repo}@{name.revision}" / INFO_FILE):
        return home / f"{repo}@{name.revision}"
    known = home / f"{repo}.json"
    try:
        found = find_commit(name)
    except HubError as error:
        kept = _last_known(known, name) if error.unreachable else None
        if kept is None or not is_file(home / f"{repo}@{kept}" / INFO_FILE):
            raise
        notify(f"{name}: {error.what}: commit {kept} is taken, which is kept on this machine")
        return home / f"{repo}@{kept}"
    folder = home / f"{repo}@{found.commit}"
    try:
        make_folder(home)
        with _alone(folder):
            if not is_file(folder / INFO_FILE):
                _download(found, folder, check)
        if not name.is_commit:
            _remember(known, name, found.commit)
            notify(f"{name} is commit {found.commit} now; {found.name} names it for ever")
    except WriteError as error:
        raise WriteError(
            f"the bundle cannot be kept: {error.what}",
            where=error.where,
            details=error.details,
            fix="--cache-dir FOLDER, or SHOPSIGHT_CACHE=FOLDER   (where this user may write)",
        ) from error
    return folder


def _download(found: HubCommit, folder: Path, check: Callable[[Path], object]) -> None:
    """Have all of it or nothing."""
    files = _wanted(found)
    total = sum(file.num_bytes for file in files)
    with (
        atomic_folder(folder, needed_bytes=total) as part,
        task(f"Downloading {found.name.repo}", total=total, unit="bytes") as advance,
    ):
        for file in files:
            download_file(found, file, part / file.name, advance=advance)
        try:
            check(part)
        except BundleError as error:
            raise BundleError(
                f"what was published is no whole bundle: {error.what}",
                where=f"{found.name}: {Path(error.where or '').name}",
                details=error.details,
                fix="shopsight push RUN hf:OWNER/NAME   (by its owner, publishes it anew)",
            ) from error


def _wanted(found: HubCommit) -> list[HubFile]:
    """The files that a bundle has, the description first.

    Raises:
        HubError: one of them is too large, or a name would lead out of the folder.
    """
    outside = [file.name for file in found.files if _leads_out(file.name)]
    if outside:
        raise HubError(
            "lists files whose names lead out of its folder: it is not downloaded",
            where=str(found.name),
            details=outside,
        )
    files = [file for file in found.files if is_bundle_file(file.name)]
    names = [file.name for file in files]
    missing = [name for name in _NEEDED if name not in names]
    if missing or len(set(names)) != len(names):
        raise HubError(
            f"holds no shopsight bundle: no {', '.join(missing)}"
            if missing
            else "lists a file twice",
            where=str(found.name),
            fix="timm:NAME   (the backbones of timm; `shopsight backbones` lists some)",
        )
    for file in files:
        most = _MOST_BYTES.get(file.name, _LARGE)
        if not 0 <= file.num_bytes <= most:
            size = (
                human_bytes(file.num_bytes) if file.num_bytes >= 0 else "an unknown number of bytes"
            )
            raise HubError(
                f"{file.name} has {size}, where at most {human_bytes(most)} may be",
                where=str(found.name),
            )
    others = [file.name for file in found.files if file.name not in names]
    others = [name for name in others if name != ".gitattributes"]
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        notify(f"{found.name.repo}: not downloaded, no part of a bundle: {shown}")
    return sorted(files, key=lambda file: (file.name != INFO_FILE, file.name))


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name != name.strip() or ".." in parts or "" in parts or ":" in name or "\0" in name


def _alone(folder: Path) -> AbstractContextManager[None]:
    """One process at a time downloads a bundle."""
    return one_after_another(
        folder.with_name(f"{folder.name.partition('@')[0]}.lock"),
        waiting=f"waiting for another process that is downloading {folder.name}",
    )


def _last_known(known: Path, name: HubName) -> str | None:
    with suppress(DamagedFileError):
        commit = read_json_table(known).get(name.revision or "")
        return commit if isinstance(commit, str) and HubName(name.repo, commit).is_commit else None
    return None


def _remember(known: Path, name: HubName, commit: str) -> None:
    before = {}
    with suppress(DamagedFileError):
        before = read_json_table(known)
    write_json(known, {**before, name.revision or "": commit})
