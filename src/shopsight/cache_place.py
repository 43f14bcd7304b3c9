"""Where decoded images, features and downloads are kept, and what happens where they cannot be.

The cache only saves work. Where it cannot be written (a read-only system, a folder of somebody
else, no home, a full disk) that is said once, and the work is done without it. So it is where
others could change what is read from it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from shopsight.errors import WriteError, first_line
from shopsight.files import make_folder
from shopsight.held_files import free_bytes, remove_file
from shopsight.leftovers import part_beside
from shopsight.output_paths import check_output_name
from shopsight.progress import notify
from shopsight.text import human_bytes

CACHE_VARIABLE = "SHOPSIGHT_CACHE"
LONGEST_CACHED_NAME = 80
"""Characters of the longest path of decoded images and features within the cache, and some more."""
NO_HOME = Path(os.devnull) / "no-home"
"""The cache of a user without a home: a folder that cannot be made."""
UNTRUSTED = Path(os.devnull) / "untrusted"
"""The cache in place of one that is not used: a folder that cannot be made, like `NO_HOME`."""
ROOT = 0

_chosen_cache: ContextVar[Path | None] = ContextVar("shopsight_cache_dir", default=None)
_said: set[Path] = set()


@contextmanager
def use_cache_dir(folder: Path | str | None) -> Iterator[None]:
    """Keep decoded images and downloads below `folder` inside the block; None changes nothing."""
    if folder is None:
        yield
        return
    token = _chosen_cache.set(Path(folder).expanduser().absolute())
    try:
        yield
    finally:
        _chosen_cache.reset(token)


def cache_folder() -> Path:
    """Where decoded images and downloads are kept; it need not exist.

    The folder of `use_cache_dir` (the flag `--cache-dir`), else $SHOPSIGHT_CACHE, else
    ~/.cache/shopsight.
    """
    chosen = _chosen_cache.get()
    return usual_cache_folder() if chosen is None else _trusted(chosen, is_named=True)


def usual_cache_folder() -> Path:
    """The folder that `cache_folder` gives where no `--cache-dir` names another."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return _trusted(Path(named), is_named=True)
    try:
        return _trusted(Path.home() / ".cache" / "shopsight", is_named=False)
    except RuntimeError:
        return NO_HOME


def _trusted(folder: Path, *, is_named: bool) -> Path:
    """The folder, or `UNTRUSTED` where somebody else could have put other pixels into it."""
    reason = _distrust(folder, is_named=is_named)
    if reason is None:
        return folder
    if folder not in _said:
        _said.add(folder)
        notify(
            f"Cache: {folder} is not used: {reason}; the work goes on without, --cache-dir FOLDER "
            "names another place"
        )
    return UNTRUSTED


def _distrust(folder: Path, *, is_named: bool) -> str | None:
    """Why what is in a folder cannot be trusted; None where it can.

    Decoded pixels, embeddings and data sets that were unpacked are taken as they are found there.

    Args:
        folder: it need not exist.
        is_named: the user named it, perhaps to share it with a group.
    """
    # Windows has users' folders closed to others, and no such numbers.
    if not hasattr(os, "geteuid"):
        return None
    try:
        found = folder.stat()
    except OSError:
        return None
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write in it"
    if found.st_uid not in {os.geteuid(), ROOT} and not is_named:
        return "it belongs to another user"
    if found.st_mode & stat.S_IWGRP and not is_named:
        return "others may write in it"
    return None


def check_cache_path() -> None:
    """Refuse, before any work, a cache folder whose files would have paths too long for Windows.

    One that cannot be written is no error: the work goes on without.

    Raises:
        WriteError: They would.
    """
    check_output_name(cache_folder(), reserve=LONGEST_CACHED_NAME)


def cache_folder_is_chosen() -> bool:
    """Whether `use_cache_dir` or $SHOPSIGHT_CACHE names the cache folder."""
    return _chosen_cache.get() is not None or bool(os.environ.get(CACHE_VARIABLE))


def can_keep(folder: Path, num_bytes: int) -> bool:
    """Whether a folder of the cache can be written and has room; where not, that is said.

    Args:
        folder: It is made.
        num_bytes: What is to be written.
    """
    with unless_unwritable(cache_folder()):
        make_folder(folder)
        probe = part_beside(folder / "probe")
        probe.touch()
        remove_file(probe)
        free = free_bytes(folder)
        if free < num_bytes:
            needed = f"{human_bytes(num_bytes)} are needed, {human_bytes(free)} are free"
            raise WriteError(f"the disk is full: {needed}", where=str(folder))
        return True
    return False


@contextmanager
def unless_unwritable(folder: Path) -> Iterator[None]:
    """End the block at the first write that fails, and say so, once for each folder.

    Args:
        folder: Where the block writes; nothing but that may raise an `OSError` in it.
    """
    try:
        yield
    except (OSError, WriteError) as error:
        if folder in _said or folder == UNTRUSTED:
            return
        _said.add(folder)
        reason = error.what if isinstance(error, WriteError) else error.strerror
        place = "the cache (there is no home folder)" if folder == NO_HOME else folder
        notify(
            f"Cache: nothing is kept in {place}: {reason or first_line(error)}; the work goes on "
            "without, --cache-dir FOLDER names another place"
        )


@contextmanager
def one_after_another(lock: Path, *, waiting: str, without: str | None = None) -> Iterator[None]:
    """Have one process at a time do what is in the block; another one waits for it.

    Args:
        lock: the file.
        waiting: is said where another process has it.
        without: is said where the file system has no locks; then all do it at once.
    """
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        notify(waiting)
        held.acquire()
    except NotImplementedError:
        if without is not None:
            notify(without)
    try:
        yield
    finally:
        held.release()
