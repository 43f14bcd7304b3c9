"""A key of this user alone, by which shopsight knows again what it wrote for him.

It lies in the user's state folder, whatever cache is used: a cache may be deleted, and one's own
runs stay one's own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from shopsight.errors import WriteError
from shopsight.files import atomic_file, make_folder
from shopsight.held_files import remove_file
from shopsight.progress import notify

STATE_VARIABLE = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_STATE_HOME"
_KEY_FILE = "tables.key"
_KEY_BYTES = 32
# Another process makes the key within milliseconds.
_PATIENCE_S = 10.0

_said: set[Path | None] = set()


def state_folder() -> Path | None:
    """Where this user's key is kept; None where he has no home.

    %LOCALAPPDATA% on Windows, elsewhere $XDG_STATE_HOME, else ~/Library/Application Support on a
    Mac and ~/.local/state on other systems; in it, `shopsight`.
    """
    named = Path(os.environ.get(STATE_VARIABLE, ""))
    if named.is_absolute():
        return named / "shopsight"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "shopsight"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "shopsight"
    return home / ".local" / "state" / "shopsight"


def mark_of(said: Any) -> str | None:
    """This user's mark on a value of JSON, in hexadecimal; None where no key can be kept."""
    key = _key() or _new_key()
    return None if key is None else _mark(said, key)


def is_marked(said: Any, mark: object) -> bool:
    """Whether the mark is this user's, on this very value."""
    key = _key()
    if key is None or not isinstance(mark, str):
        return False
    return hmac.compare_digest(mark.encode(errors="replace"), _mark(said, key).encode())


def _mark(said: Any, key: bytes) -> str:
    return hmac.new(key, json.dumps(said, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """The key; None where there is none that this user alone knows."""
    folder = state_folder()
    if folder is None:
        return None
    try:
        with (folder / _KEY_FILE).open("rb") as file:
            is_private = _is_private(os.fstat(file.fileno()))
            key = file.read(_KEY_BYTES + 1)
    except OSError:
        return None
    return key if is_private and len(key) == _KEY_BYTES else None


def _is_private(found: os.stat_result) -> bool:
    """Whether a file is this user's, and closed to others; Windows says it of the folder."""
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _new_key() -> bytes | None:
    """Make a key that only this user reads; None, and said once, where it cannot be kept."""
    folder = state_folder()
    try:
        if folder is None:
            raise WriteError("there is no home folder")
        make_folder(folder)
        # Of processes that start together, the first one makes it for all.
        with FileLock(folder / f"{_KEY_FILE}.lock", mode=0o600, timeout=_PATIENCE_S):
            key = _key()
            if key is None:
                # A file that is replaced hands on who may read it.
                remove_file(folder / _KEY_FILE)
                key = os.urandom(_KEY_BYTES)
                with atomic_file(folder / _KEY_FILE, keep=False) as part:
                    part.touch(mode=0o600)
                    part.write_bytes(key)
        return key
    except (OSError, NotImplementedError, Timeout, WriteError) as error:
        _say_none(folder, error)
        return None


def _say_none(folder: Path | None, error: Exception) -> None:
    if folder not in _said:
        _said.add(folder)
        reason = error.what if isinstance(error, WriteError) else getattr(error, "strerror", None)
        notify(
            f"No key can be kept in {folder or 'the home folder'} ({reason or 'locked'}): what is "
            "written now counts as somebody else's later, and is read with --images-root FOLDER or "
            f"--allow-outside; {STATE_VARIABLE}=FOLDER names another place"
        )
