"""A mark on the tables that this user's shopsight wrote, by which they differ from a stranger's.

Such a table says in which folder its images lie, wherever that is, and is read again without a
question. A table that somebody else made could say so too, and name any folder of this machine. The
mark is a keyed hash of what the table says of its images; the key is this user's alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shopsight.cache_place import cache_folder, usual_cache_folder
from shopsight.errors import LocationError, WriteError
from shopsight.files import atomic_file
from shopsight.held_files import remove_file
from shopsight.io.local_files import open_file, read_all

SEAL_KEY = "seal"
_SEALED_KEYS = ("root", "root_from_here", "access")
_KEY_BYTES = 32


def sealed(about: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a table with this user's mark; without one where no key can be kept."""
    usual, chosen = usual_cache_folder(), cache_folder()
    # The usual place first: a later command may name no `--cache-dir`.
    key = _key(usual) or _new_key(usual) or _key(chosen) or _new_key(chosen)
    return {**about} if key is None else {**about, SEAL_KEY: _mark(about, key)}


def is_sealed(about: Mapping[str, Any]) -> bool:
    """Whether the record has this user's mark, and is as it was when that was made."""
    mark = about.get(SEAL_KEY)
    if not isinstance(mark, str):
        return False
    keys = [_key(folder) for folder in {usual_cache_folder(), cache_folder()}]
    return any(
        key is not None and hmac.compare_digest(mark.encode(), _mark(about, key).encode())
        for key in keys
    )


def _mark(about: Mapping[str, Any], key: bytes) -> str:
    said = json.dumps({name: about.get(name) for name in _SEALED_KEYS}, sort_keys=True)
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def _key_file(folder: Path) -> Path:
    """Where a cache, which users may share, has this user's key."""
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return folder / f"tables{user}.key"


def _key(folder: Path) -> bytes | None:
    """The key that is kept there; None where there is none that this user alone knows."""
    path = _key_file(folder)
    try:
        with open_file(path) as file:
            if not _is_private(os.fstat(file.fileno())):
                return None
            key = read_all(file, str(path), most_bytes=_KEY_BYTES)
    except (OSError, LocationError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _is_private(found: os.stat_result) -> bool:
    """Whether a file is this user's, and closed to others; Windows says it of the folder."""
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _new_key(folder: Path) -> bytes | None:
    """Make a key that only this user reads; None where it cannot be kept."""
    with suppress(OSError, WriteError):
        # A file that is replaced hands on who may read it.
        remove_file(_key_file(folder))
        with atomic_file(_key_file(folder), keep=False) as part:
            part.touch(mode=0o600)
            part.write_bytes(os.urandom(_KEY_BYTES))
        # Another process may have made one at the same moment: that of the last one counts.
        return _key(folder)
    return None
