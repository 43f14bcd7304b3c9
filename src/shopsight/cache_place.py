"""Where decoded images, features and downloads are kept, and what happens where they cannot be.

The cache only saves work. Where it cannot be written (a read-only system, a folder of somebody
else, no home, a full disk) that is said once, and the work is done without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import mkstemp

from shopsight.errors import WriteError, first_line
from shopsight.held_files import free_bytes, remove_file
from shopsight.output_paths import check_output_name
from shopsight.progress import notify
from shopsight.safe_names import PART_PREFIX, PART_SUFFIX
from shopsight.text import human_bytes

CACHE_VARIABLE = "SHOPSIGHT_CACHE"
LONGEST_CACHED_NAME = 80
"""Characters of the longest path of decoded images and features within the cache, and some more."""
NO_HOME = Path(os.devnull) / "no-home"
"""The cache of a user without a home: a folder that cannot be made."""

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
    return usual_cache_folder() if chosen is None else chosen


def usual_cache_folder() -> Path:
    """The folder that `cache_folder` gives where no `--cache-dir` names another."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "shopsight"
    except RuntimeError:
        return NO_HOME


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
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, probe = mkstemp(prefix=PART_PREFIX, suffix=PART_SUFFIX, dir=folder)
        os.close(descriptor)
        remove_file(Path(probe))
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
        if folder in _said:
            return
        _said.add(folder)
        reason = error.what if isinstance(error, WriteError) else error.strerror
        place = "the cache (there is no home folder)" if folder == NO_HOME else folder
        notify(
            f"Cache: nothing is kept in {place}: {reason or first_line(error)}; the work goes on "
            "without, --cache-dir FOLDER names another place"
        )
