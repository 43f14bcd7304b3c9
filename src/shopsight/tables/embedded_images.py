"""Images inside a Parquet file, as the Hugging Face Hub stores them: written to files once.

Every other step reads files: the images get names in shopsight's cache, with their original bytes,
and a column of these names takes the place of the column of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.cache_place import cache_folder
from shopsight.errors import TableError, WriteError
from shopsight.files import atomic_folder
from shopsight.images.kinds import SUFFIXES_OF_FORMAT, is_image_kind, kind_of_bytes, suffix_of
from shopsight.progress import task
from shopsight.safe_names import safe_name
from shopsight.text import counted, listed

BYTES, PATH = "bytes", "path"
PER_FOLDER = 10_000
_CONTROLS = r"[\x00-\x08\x0e-\x1f]"


def with_image_files(
    table: pl.DataFrame, path: str, image: Sequence[str]
) -> tuple[pl.DataFrame, str | None, list[str]]:
    """Replace a column of images by one of file names, if the table has one.

    Args:
        table: the table.
        path: its file.
        image: the image columns that the user named.

    Returns:
        The table, of which columns of other bytes are left out; the folder of the files, or None
        when the table holds no images; and notes.

    Raises:
        TableError: several columns hold images, and the user named none of them.
        WriteError: the cache cannot be written.
    """
    table = table.with_columns(
        table[name].struct.field(PATH).alias(name)
        for name in table.columns
        if _holds_only_paths(table[name])
    )
    texts = _texts_among(table)
    table = table.with_columns(texts)
    chosen = _column_of_images(table, path, image)
    others = [
        name
        for name in table.columns
        if _holds_bytes(table[name]) and name not in {*chosen, *image}
    ]
    notes = [f"left out, columns of bytes: {', '.join(others)}"] if others else []
    if texts:
        notes.append(f"columns of bytes read as text: {listed([text.name for text in texts])}")
    table = table.drop(others)
    if not chosen:
        return table, None, notes
    column = table[chosen[0]]
    folder = _folder_of(column, path)
    names = _names(column)
    _keep(column, names, folder, path)
    count = sum(name is not None for name in names)
    notes.append(f"{counted(count, 'image')} from column {column.name!r}, kept under {folder}")
    files = pl.Series(column.name, names, dtype=pl.String)
    return table.with_columns(files), folder.as_posix(), notes


def _column_of_images(table: pl.DataFrame, path: str, image: Sequence[str]) -> list[str]:
    """The one column that holds images, or none."""
    inside = [name for name in table.columns if _holds_images(table[name])]
    chosen = [name for name in inside if name in image] or ([] if image else inside)
    if len(chosen) > 1:
        raise TableError(
            "several columns hold images",
            where=path,
            details=chosen,
            fix="--image COLUMN",
        )
    return chosen


def _keep(column: pl.Series, names: Sequence[str | None], folder: Path, path: str) -> None:
    """Write the images into the cache, unless they are there."""
    if folder.is_dir():
        return
    try:
        _write(column, names, folder)
    except WriteError as error:
        raise WriteError(
            f"its images cannot be kept in the cache, {error.where}: {error.what}",
            where=path,
            fix="--cache-dir FOLDER names another place",
        ) from error


def _fields(column: pl.Series) -> dict[str, Any]:
    if not isinstance(column.dtype, pl.Struct):
        return {}
    return {field.name: field.dtype for field in column.dtype.fields}


def _holds_bytes(column: pl.Series) -> bool:
    return column.dtype == pl.Binary or pl.Binary in _fields(column).values()


def _holds_images(column: pl.Series) -> bool:
    if _fields(column).get(BYTES) == pl.Binary:
        return column.struct.field(BYTES).null_count() < len(column)
    if column.dtype != pl.Binary:
        return False
    first = column.drop_nulls().head(1).to_list()
    return bool(first) and is_image_kind(kind_of_bytes(first[0]))


def _texts_among(table: pl.DataFrame) -> list[pl.Series]:
    """Columns of bytes that are text, as programs write them that do not mark text as such."""
    texts = []
    for column in table:
        if column.dtype != pl.Binary or column.null_count() == len(column):
            continue
        try:
            text = column.cast(pl.String)
        except pl.exceptions.PolarsError:
            continue
        if not text.str.contains(_CONTROLS).any():
            texts.append(text)
    return texts


def _holds_only_paths(column: pl.Series) -> bool:
    fields = _fields(column)
    return (
        set(fields) == {BYTES, PATH}
        and fields[PATH] == pl.String
        and column.struct.field(BYTES).null_count() == len(column)
    )


def _bytes_of(column: pl.Series) -> pl.Series:
    return column.struct.field(BYTES) if isinstance(column.dtype, pl.Struct) else column


def _names(column: pl.Series) -> list[str | None]:
    """A name for each image, with the suffix of what it is; None where there is none."""
    blobs = _bytes_of(column)
    paths = (
        column.struct.field(PATH).cast(pl.String, strict=False).to_list()
        if _fields(column).get(PATH) == pl.String
        else [None] * len(column)
    )
    return [
        None if data is None else f"{row // PER_FOLDER:04d}/{row:07d}{_suffix(data, path or '')}"
        for row, (data, path) in enumerate(zip(blobs, paths, strict=True))
    ]


def _suffix(data: bytes, path: str) -> str:
    kind = kind_of_bytes(data)
    if kind == "jpeg":
        return ".jpg"
    if kind is not None and f".{kind}" in SUFFIXES_OF_FORMAT.get(kind, ()):
        return f".{kind}"
    return suffix_of(path) if len(suffix_of(path)) <= 5 else ".bin"


def _folder_of(column: pl.Series, path: str) -> Path:
    """The folder of these images in the cache, by their bytes."""
    digest = hashlib.sha256()
    for data in _bytes_of(column):
        digest.update(b"-" if data is None else len(data).to_bytes(8, "little") + data)
    name = safe_name(f"parquet--{Path(path).stem}--{digest.hexdigest()[:16]}")
    return cache_folder() / "datasets" / name


def _write(column: pl.Series, names: Sequence[str | None], kept: Path) -> None:
    with (
        atomic_folder(kept) as folder,
        task("Writing images", total=len(column), unit="images") as advance,
    ):
        for name, data in zip(names, _bytes_of(column), strict=True):
            if name is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
            advance(1)
