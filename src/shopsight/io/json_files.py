"""JSON files, as strangers may have written them: bounded, and each key once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from shopsight.errors import DamagedFileError
from shopsight.files import damage_named
from shopsight.io.local_files import read_file

JSON_BYTES = 64 << 20
"""The most that a file of JSON may have; parsed, it takes up to 25 times as much."""


def read_json(path: Path | str, *, fix: str | None = None, most_bytes: int = JSON_BYTES) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        fix: How it is made anew.
        most_bytes: It may have.

    Raises:
        DamagedFileError: It is none.
        LocationError: It has more than `most_bytes`.
    """
    with damage_named(path, fix=fix):
        return parse_json(read_file(path, most_bytes=most_bytes))


def read_json_table(path: Path | str, *, fix: str | None = None) -> dict[str, Any]:
    """Read a JSON file of keys and values; see `read_json`."""
    found = read_json(path, fix=fix)
    if not isinstance(found, dict):
        raise DamagedFileError("is damaged: it holds no keys", where=str(path), fix=fix)
    return found


def parse_json(text: bytes | str) -> Any:
    """Parse JSON in which each key stands once.

    Raises:
        ValueError: It is none, is nested too deeply, or has a key twice: readers differ in which
            of the two values they take.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return table
