"""Files that are either there whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

CACHE_VARIABLE = "SHOPSIGHT_CACHE"


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block succeeds.

    A reader never sees half a file, and a failure leaves what was there before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    try:
        yield part
        with part.open("r+b") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside `path`; swap it in for `path` when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    part.mkdir()
    try:
        yield part
        if path.exists():
            # A folder that holds files cannot be renamed over: move the old one aside first.
            old = _beside(path)
            path.rename(old)
            part.rename(path)
            shutil.rmtree(old)
        else:
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(path: Path | str) -> int:
    """Free disk space where `path` is or would be."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def human_bytes(count: float) -> str:
    """`1_536_000` -> `"1.5 MB"` (decimal units, as disks are sold)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


_chosen_cache: ContextVar[Path | None] = ContextVar("shopsight_cache_dir", default=None)


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
    """Where decoded images and downloads are kept.

    The folder of `use_cache_dir` (the flag `--cache-dir`), else $SHOPSIGHT_CACHE, else
    ~/.cache/shopsight.
    """
    chosen = _chosen_cache.get()
    if chosen is not None:
        return chosen
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "shopsight")


def cache_folder_is_chosen() -> bool:
    """Whether `use_cache_dir` or $SHOPSIGHT_CACHE names the cache folder."""
    return _chosen_cache.get() is not None or bool(os.environ.get(CACHE_VARIABLE))
