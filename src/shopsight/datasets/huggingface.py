"""Image data sets of the Hugging Face Hub, written once to files with their original bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image, UnidentifiedImageError

from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.errors import (
    CatalogError,
    ExtraMissingError,
    LocationError,
    SourceError,
    first_line,
)
from shopsight.extras import require
from shopsight.files import atomic_folder, sha256_bytes
from shopsight.io.confinement import real_root
from shopsight.io.local_files import read_file
from shopsight.io.opening import IMAGE_BYTES
from shopsight.io.parquet import read_parquet
from shopsight.progress import task
from shopsight.runtime import fail_fast_offline
from shopsight.safe_names import safe_name
from shopsight.tables.column_names import LABEL_NAMES, ranked
from shopsight.tables.split_names import split_of
from shopsight.text import counted, listed

PREFIX = "hf:"
TABLE = "images.parquet"
PER_FOLDER = 10_000
SUFFIX_OF_START = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
)


def open_huggingface(name: str) -> Catalog:
    r"""Read a data set of the Hub, downloaded the first time.

    Labels are the names of a ClassLabel (several per image for a sequence of them), else the values
    of a column named like a label. Splits named train, validation and test are kept.

    Args:
        name: `hf:owner/name`, `hf:owner/name:config`, or `hf:` and a local folder (`hf:C:\sets`).

    Raises:
        SourceError: `datasets` is not installed, or the data set cannot be loaded.
        CatalogError: it holds no images.
    """
    handle = name.removeprefix(PREFIX)
    kept = cache_folder() / "datasets" / cache_name(handle)
    if not (kept / TABLE).is_file():
        parts, roots = _load(handle), _roots(handle)
        with atomic_folder(kept) as folder:
            table = pl.concat(
                [_written(split, part, folder, roots) for split, part in parts.items()],
                how="diagonal",
            )
            table.write_parquet(folder / TABLE)
    table = read_parquet(kept / TABLE)
    notes = [f"{name}: {counted(len(table), 'image')}, kept under {kept}"]
    if "split" in table.columns and table["split"].n_unique() == 1:
        table = table.drop("split")
        notes.append("the data set has one split only: not split yet")
    return Catalog(table, name, str(kept), notes=tuple(notes))


def cache_name(handle: str) -> str:
    """Name the folder of a data set in the cache: "hf--owner--name"."""
    path, config = split_handle(handle)
    if Path(path).exists():
        # Folders of one name, and one seen from several working folders.
        folder = Path(path).absolute().as_posix()
        path = f"{Path(folder).name}--{sha256_bytes(folder.encode())[:16]}"
    colon = ":" if config else ""
    return safe_name(f"hf--{path.strip('/').replace('/', '--')}{colon}{config}")


def split_handle(handle: str) -> tuple[str, str]:
    r"""Split a handle into repository or folder, and configuration; either may be empty.

    >>> split_handle("owner/name:large"), split_handle(r"C:\sets\shoes:large")
    (('owner/name', 'large'), ('C:\\sets\\shoes', 'large'))
    """
    if Path(handle).exists():
        return handle, ""
    drive = handle[:2] if re.match(r"[A-Za-z]:[\\/]", handle) else ""
    path, _, config = handle.removeprefix(drive).partition(":")
    return drive + path, config


def _load(handle: str) -> dict[str, Any]:
    path, config = split_handle(handle)
    try:
        datasets = require("datasets")
    except ExtraMissingError as error:
        raise SourceError(error.what, where=PREFIX + handle, fix=error.fix) from error
    try:
        with nullcontext() if Path(path).exists() else fail_fast_offline():
            loaded = datasets.load_dataset(path, config or None)
    # Hub, network and file errors have no common base.
    except Exception as error:
        raise _not_loaded(handle, error) from error
    parts = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    features = next(iter(parts.values())).features
    column = _image_column(features, datasets, handle)
    undecoded = datasets.Image(decode=False)
    return {split: part.cast_column(column, undecoded) for split, part in parts.items()}


def _not_loaded(handle: str, error: Exception) -> SourceError:
    path, where = split_handle(handle)[0], PREFIX + handle
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # The hub's HTTP client, and with it the class of its errors, has changed more than once.
    if kinds & {"ConnectionError", "ConnectError", "TimeoutError", "TimeoutException"}:
        return SourceError(
            "the Hugging Face Hub cannot be reached, and this machine has no copy",
            where=where,
            fix="1. run the same command once with a network: the images stay on this machine\n"
            f"2. shopsight audit {PREFIX}FOLDER   (a copy of the data set, fetched elsewhere)",
        )
    if "DatasetNotFoundError" in kinds:
        return SourceError(
            "the Hugging Face Hub has no such data set, or you have no access",
            where=where,
            fix=f"1. https://huggingface.co/datasets?search={path.rpartition('/')[2]}\n"
            "2. hf auth login   (for a private or gated data set)",
        )
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SourceError(f"cannot be loaded: {first}", where=where)


def _image_column(features: Mapping[str, Any], datasets: Any, handle: str) -> str:
    found = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    if not found:
        raise CatalogError(
            "the data set has no column of images",
            where=PREFIX + handle,
            details=[f"{name}: {type(kind).__name__}" for name, kind in features.items()],
        )
    return found[0]


def _roots(handle: str) -> tuple[str, ...]:
    """The folders in which the files of a data set lie: its own, or those of the Hub's client.

    Not the one around them, in which the client keeps the user's token.
    """
    path, _ = split_handle(handle)
    if Path(path).exists():
        return (real_root(path),)
    config = require("datasets").config
    names = ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "HF_HUB_CACHE")
    return tuple(real_root(str(place)) for name in names if (place := getattr(config, name, None)))


def _image_bytes(value: Mapping[str, Any], where: str, roots: Sequence[str]) -> bytes:
    """The image of a row; one that is a file of the data set, as folders of images have them.

    Raises:
        SourceError: the row names a file elsewhere, or the image is too large.
    """
    try:
        data = value["bytes"] or read_file(value["path"], most_bytes=IMAGE_BYTES, roots=roots)
    except LocationError as error:
        what = f"a row names a file of this machine: {error.what}"
        raise SourceError(what, where=where) from error
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"a row has no image: {first_line(error)}", where=where) from error
    if len(data) > IMAGE_BYTES:
        raise SourceError(f"an image has more than {IMAGE_BYTES:,} bytes", where=where)
    return bytes(data)


def _written(split: str, part: Any, folder: Path, roots: Sequence[str]) -> pl.DataFrame:
    """Write the images of one split; returns its rows."""
    datasets = require("datasets")
    features = part.features
    image_column = _image_column(features, datasets, split)
    label_column = _label_column(features, datasets)
    images: list[str] = []
    labels: list[Any] = []
    with task(f"Writing {split}", total=len(part)) as advance:
        for index, row in enumerate(part):
            value = row[image_column]
            data = _image_bytes(value, f"{PREFIX}{split}, row {index + 1:,}", roots)
            name = f"{split}/{index // PER_FOLDER:04d}/{index:07d}{_suffix(data)}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            images.append(name)
            labels.append(row[label_column] if label_column else None)
            advance(1)
    columns: dict[str, Any] = {"image": images}
    if label_column:
        columns["label"] = _named(labels, features[label_column], datasets)
    meant = split_of(split)
    if meant:
        columns["split"] = [meant] * len(images)
    else:
        # Images of a split by another name are split later.
        columns["source_split"] = [split] * len(images)
    return pl.DataFrame(columns)


def _label_column(features: Mapping[str, Any], datasets: Any) -> str | None:
    def is_class(kind: Any) -> bool:
        inner = getattr(kind, "feature", kind)
        return isinstance(inner, datasets.ClassLabel)

    classes = [name for name, kind in features.items() if is_class(kind)]
    named = ranked(classes, LABEL_NAMES) or classes or ranked(list(features), LABEL_NAMES)
    if len(classes) > 1 and not ranked(classes, LABEL_NAMES):
        raise CatalogError("several columns hold classes", details=[listed(classes)])
    return named[0] if named else None


def _named(labels: list[Any], kind: Any, datasets: Any) -> pl.Series:
    inner = getattr(kind, "feature", kind)
    names = inner.names if isinstance(inner, datasets.ClassLabel) else None

    def name(code: Any) -> str | None:
        # The Hub's convention for "no label" is -1.
        if code is None or (names and code < 0):
            return None
        return names[code] if names else str(code)

    if inner is not kind:
        several = [None if codes is None else [name(code) for code in codes] for codes in labels]
        return pl.Series("label", several, dtype=pl.List(pl.String))
    return pl.Series("label", [name(code) for code in labels], dtype=pl.String)


def _suffix(data: bytes) -> str:
    for start, suffix in SUFFIX_OF_START:
        if data.startswith(start):
            return suffix
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f".{(image.format or 'bin').lower()}"
    except (UnidentifiedImageError, OSError):
        return ".bin"
