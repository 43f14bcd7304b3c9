"""Catalogs from IDX files: a file of images and the file of labels beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError, ImageError, LocationError
from shopsight.images.idx import idx_length, read_idx
from shopsight.io.own_folder import file_within
from shopsight.text import counted

IMAGES = re.compile(r"images?[-._]?idx[34][-._]?(ubyte)?(\.gz)?$|\.idx[34](\.gz)?$")
SPLIT_OF_PREFIX = {"train": "train", "val": "val", "valid": "val", "test": "test", "t10k": "test"}


def container_catalog(
    files: Sequence[str],
    *,
    name: str,
    root: str,
    class_names: Sequence[str] = (),
    follow_outside: bool = False,
) -> Catalog:
    """Read IDX images with their labels; names such as `train-...`, `t10k-...` give the splits.

    Args:
        files: names under `root`; files without images are skipped.
        name: name of the catalog.
        root: folder of the files.
        class_names: names of the label numbers 0, 1, ...; without them the numbers are the labels.
        follow_outside: labels may be a link to a file outside the folder.

    Raises:
        CatalogError: there is no file of images, images and labels differ in number, or the labels
            lie outside.
        ImageError: a file is truncated or not IDX.
    """
    images = sorted(file for file in files if IMAGES.search(file))
    if not images:
        raise CatalogError(
            "no IDX file of images (such as train-images-idx3-ubyte.gz)",
            where=root,
            details=list(files),
        )
    tables = []
    for file in images:
        labels = _labels_of(Path(root), file)
        if labels is not None and not follow_outside:
            _refuse_outside(Path(root), labels)
        tables.append(_pair(Path(root), file, labels, class_names))
    table = pl.concat(tables, how="diagonal")
    splits = [split for file in images if (split := _split_of(file))]
    if len(set(splits)) < len(images) or len(images) == 1:
        table = table.drop("split", strict=False)
    note = f"IDX: {', '.join(images)}: {counted(len(table), 'image')}"
    return Catalog(table, name, root, notes=(note,))


def _refuse_outside(root: Path, labels: str) -> None:
    try:
        file_within(root, labels)
    except LocationError as error:
        raise CatalogError(error.what, where=error.where, fix="--allow-outside") from error


def _pair(root: Path, images: str, labels: str | None, class_names: Sequence[str]) -> pl.DataFrame:
    try:
        count = idx_length(root / images)
    except ImageError as error:
        raise CatalogError(error.what, where=error.where) from error
    columns: dict[str, object] = {"image": [f"{images}#{index}" for index in range(count)]}
    if labels is not None:
        codes = read_idx(root / labels)
        if codes.shape != (count,):
            raise CatalogError(
                f"{images} holds {count} images, {labels} labels of shape {codes.shape}",
                where=str(root),
            )
        top = int(codes.max(initial=0))
        if class_names and top >= len(class_names):
            raise CatalogError(
                f"label {top} of {len(class_names)} classes", where=str(root / labels)
            )
        names = list(class_names) or [str(number) for number in range(top + 1)]
        columns["label"] = pl.Series(names)[codes.astype("int64")]
    table = pl.DataFrame(columns)
    split = _split_of(images)
    return table.with_columns(split=pl.lit(split)) if split else table


def _labels_of(root: Path, images: str) -> str | None:
    guess = images.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    plain = guess.removesuffix(".gz")
    return next((name for name in (guess, plain, f"{plain}.gz") if (root / name).is_file()), None)


def _split_of(file: str) -> str | None:
    return SPLIT_OF_PREFIX.get(re.split(r"[-._]", file.lower())[0])
