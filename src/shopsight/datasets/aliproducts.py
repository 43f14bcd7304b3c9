"""AliProducts: photos of products of everyday life, labeled with noise."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.published_copy import LIST_BYTES, copy_folder, require_folders
from shopsight.errors import DamagedFileError, SourceError
from shopsight.io.json_files import read_json

NAME = "aliproducts"
PUBLISHER = "https://retailvisionworkshop.github.io/recognition_challenge_2020/"
PARTS = ("train", "val")
_FOLDER_DIGITS = 5


def open_aliproducts(root: Path | None) -> Catalog:
    """Read the 50,030 products of the challenge of 2020, in its parts train and val.

    The label is the product (`class_id`, five digits, as its folder is named). It is no group: each
    product is in both parts. The challenge's test images have no labels and are not read.

    Args:
        root: the folder with train.json, val.json, train/ and val/.

    Raises:
        SourceError: a part of it is missing or damaged.
    """
    home = copy_folder(
        root,
        NAME,
        parts=[name for part in PARTS for name in (f"{part}.json", f"{part}/")],
        inside=("AliProducts",),
        publisher=PUBLISHER,
    )
    parts = [_rows(home, part) for part in PARTS]
    notes = ("test.json has no labels and is not read",) if (home / "test.json").is_file() else ()
    return Catalog(pl.concat(parts), NAME, str(home), notes=notes)


def _rows(home: Path, part: str) -> pl.DataFrame:
    path = home / f"{part}.json"
    try:
        images = read_json(path, most_bytes=LIST_BYTES)["images"]
        found = {name: [str(one[name]) for one in images] for name in ("class_id", "image_id")}
    except (DamagedFileError, KeyError, TypeError) as error:
        raise SourceError(
            'is damaged: it is no {"images": [{"class_id": ..., "image_id": ...}, ...]}',
            where=str(path),
            fix=f"copy it again; {PUBLISHER}",
        ) from error
    table = pl.DataFrame(found, schema={"class_id": pl.String, "image_id": pl.String})
    table = table.with_columns(pl.col("class_id").str.zfill(_FOLDER_DIGITS)).select(
        image=pl.format("{}/{}/{}", pl.lit(part), "class_id", "image_id"),
        label="class_id",
        split=pl.lit(part),
    )
    folders = [f"{part}/{label}" for label in table["label"].unique().to_list()]
    require_folders(home, folders, named_by=path.name)
    return table
