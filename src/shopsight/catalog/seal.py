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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shopsight.cache_place import cache_folder, usual_cache_folder
from shopsight.errors import LocationError, WriteError
from shopsight.files import atomic_file
from shopsight.io.local_files import read_file

SEAL_KEY = "seal"
_SEALED_KEYS = ("root", "root_from_here", "access")
_KEY_FILE = "tables.key"
_KEY_BYTES = 32


def sealed(about: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a table with this user's mark; without one where no key can be kept."""
    key = _key(cache_folder()) or _new_key()
    return {**about} if key is None else {**about, SEAL_KEY: _mark(about, key)}


def is_sealed(about: Mapping[str, Any]) -> bool:
    """Whether the record has this user's mark, and is as it was when that was made."""
    mark = about.get(SEAL_KEY)
    if not isinstance(mark, str):
        return False
    # A table that was written with `--cache-dir`, or without.
    keys = [_key(folder) for folder in {cache_folder(), usual_cache_folder()}]
    return any(
        key is not None and hmac.compare_digest(mark.encode(), _mark(about, key).encode())
        for key in keys
    )


def _mark(about: Mapping[str, Any], key: bytes) -> str:
    said = json.dumps({name: about.get(name) for name in _SEALED_KEYS}, sort_keys=True)
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def _key(folder: Path) -> bytes | None:
    try:
        key = read_file(folder / _KEY_FILE, most_bytes=_KEY_BYTES)
    except (OSError, LocationError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _new_key() -> bytes | None:
    """Make a key that only this user reads; None where it cannot be kept."""
    with suppress(OSError, WriteError):
        with atomic_file(cache_folder() / _KEY_FILE, keep=False) as part:
            part.touch(mode=0o600)
            part.write_bytes(os.urandom(_KEY_BYTES))
        # Another process may have made one at the same moment: that of the last one counts.
        return _key(cache_folder())
    return None
