"""What a catalog's file says of itself, in the metadata of a Parquet file or beside a CSV.

The name, the root that images are relative to, whether they were rendered, what may be read for
them, and this user's mark (`shopsight.catalog.seal`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from shopsight import paths
from shopsight.catalog.own_tables import GUARDED_KEY, SEPARATOR_KEY, TYPES_KEY
from shopsight.errors import CatalogError, LocationError
from shopsight.io.json_files import parse_json
from shopsight.io.local_files import read_file
from shopsight.io.parquet import parquet_metadata
from shopsight.output_paths import check_output_path
from shopsight.tables.table_names import is_parquet

METADATA_KEY = "shopsight"
"""Key of what shopsight adds to the metadata of a Parquet file."""

ABOUT_BYTES = 4 << 20
"""The most that the record beside a table may have."""
ABOUT_KEYS = frozenset({"name", "root", "synthetic"})
_ABOUT_TYPES: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "root": (str, type(None)),
    "synthetic": bool,
    "access": dict,
    "notes": list,
    TYPES_KEY: dict,
    SEPARATOR_KEY: str,
    GUARDED_KEY: bool,
}


def check_catalog_file(path: Path | str) -> Path:
    """Refuse, before any work, a file that `Catalog.write` cannot write.

    Raises:
        CatalogError: the suffix is not .parquet, .csv or .tsv.
        WriteError: the path, or that of the file beside it, is too long or has a name that this
            system does not take.
    """
    path = Path(path)
    if path.suffix not in {".parquet", ".csv", ".tsv"}:
        raise CatalogError(
            f"cannot write a catalog as {path.suffix or 'a file without suffix'!r}",
            where=str(path),
            fix="name a .csv or .parquet file",
        )
    check_output_path(path)
    if path.suffix != ".parquet":
        check_output_path(about_path(path))
    return path


def about_path(csv: Path) -> Path:
    """The file beside a CSV in which `Catalog.write` keeps its name and root."""
    return csv.with_name(f"{csv.stem}.about.json")


def sealed_images(table: pl.DataFrame, path: Path) -> pl.Series | None:
    """What the mark of a file covers of its rows: of Parquet the names of the images."""
    return table["image"] if is_parquet(path.name) and "image" in table.columns else None


def read_about(path: Path) -> dict[str, Any] | None:
    """What `Catalog.write` kept about a file; None when it did not write it."""
    if is_parquet(path.name):
        return _about(_parquet_metadata(path).get(METADATA_KEY, ""))
    beside = about_path(path)
    try:
        return _about(read_file(beside, most_bytes=ABOUT_BYTES).decode())
    except (OSError, UnicodeDecodeError, LocationError):
        return None


def _about(text: str) -> dict[str, Any] | None:
    """The record, when it is one of ours: a user's file may have its name."""
    try:
        about = parse_json(text)
        # Text that is no Unicode, escaped, is a ValueError here, and nowhere else one of ours.
        json.dumps(about, ensure_ascii=False).encode()
    except ValueError:
        return None
    if not isinstance(about, dict) or not set(about) >= ABOUT_KEYS:
        return None
    is_ours = all(isinstance(about[key], _ABOUT_TYPES[key]) for key in about if key in _ABOUT_TYPES)
    return about if is_ours else None


def _parquet_metadata(path: Path) -> dict[str, str]:
    try:
        return parquet_metadata(path)
    # Whoever reads the rows says what is wrong with the file.
    except (ValueError, OSError):
        return {}


def root_record(root: str, path: Path) -> dict[str, str]:
    """How a file names the root of its images: in full, and as seen from the file."""
    if not root or paths.is_url(root):
        return {"root": root}
    absolute = paths.full(root)
    # The relative path lets a table move together with its images.
    way = paths.relative(absolute, str(path.absolute().parent))
    return {"root": absolute} | ({} if way is None else {"root_from_here": way})


def root_from_record(about: dict[str, Any], path: Path) -> str:
    """The root that `root_record` wrote, also where file and images were moved together."""
    root = str(about["root"])
    way = about.get("root_from_here")
    if not root or way is None or paths.is_url(root) or paths.is_folder(root):
        return root
    # Earlier versions wrote the backslashes of Windows.
    for found in (str(way), str(way).replace("\\", "/")):
        beside = path.absolute().parent / found
        if beside.is_dir():
            return beside.resolve().as_posix()
    return root
