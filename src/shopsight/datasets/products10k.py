"""Products-10K, and Product-650: some of its photos under new labels."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.kaggle import fetch_from_kaggle
from shopsight.errors import SourceError
from shopsight.files import atomic_folder
from shopsight.io.archives import unpack_zip
from shopsight.progress import notify
from shopsight.tables.table_files import read_table
from shopsight.text import counted, listed

COMPETITION = "products-10k"
TRAIN_CSV, TEST_CSV = "train.csv", "test_kaggletest.csv"
REDUCED_TRAIN_CSV, REDUCED_TEST_CSV = "reduced_train.csv", "reduced_test.csv"
# The competition scored on the public half of the test set while it ran, so that half may guide
# training; the private half decided it and must not.
SPLIT_OF_USAGE = {"Public": "val", "Private": "test"}


def open_products_10k(root: Path | None) -> Catalog:
    """Read 141,931 train images of 9,691 products, and the labeled test images if present.

    The published column `group` is the kind of product, the same for all images of a class. It is
    kept as `category`: taken as a group, it would keep each class in one part. The usage "Public"
    becomes "val", "Private" becomes "test".

    Args:
        root: the folder with train.csv; None fetches the competition from Kaggle.

    Raises:
        SourceError: the files are not in `root`, or Kaggle does not give them.
    """
    home = root or fetch_from_kaggle("competitions", COMPETITION)
    _require_file(
        home, TRAIN_CSV, "products-10k has train.csv, test_kaggletest.csv, train/ and test/"
    )
    parts = [_rows(home / TRAIN_CSV, _images(home, "train", flag="--root"))]
    notes = []
    if (home / TEST_CSV).is_file():
        parts.append(_rows(home / TEST_CSV, _images(home, "test", flag="--root")))
        notes.append("test images: Usage Public is val, Private is test")
    else:
        notes.append(f"{TEST_CSV} is missing: train images only, not split yet")
        parts = [part.drop("split") for part in parts]
    table = pl.concat(parts, how="diagonal").rename({"class": "label", "group": "category"})
    return Catalog(table, "products-10k", str(home), notes=tuple(notes))


def open_product_650(root: Path | None, images_root: str | None = None) -> Catalog:
    """Read 649 classes of Products-10K photos by the mapping tables in `root`.

    The label is the human name; its number is kept as `label_id`. Blanks around numbers and names
    are removed, with a note. The usage "Public" becomes "val", "Private" becomes "test".

    Args:
        root: the folder with reduced_train.csv and reduced_test.csv.
        images_root: Products-10K with train/ and test/; None looks for these in `root`, then
            fetches them from Kaggle.

    Raises:
        SourceError: the tables or the images are missing, or names and numbers do not agree.
    """
    if root is None:
        raise SourceError(
            "product-650 needs its two mapping tables",
            where="product-650",
            details=[f"{REDUCED_TRAIN_CSV} and {REDUCED_TEST_CSV}, which no public host offers"],
            fix="--root FOLDER_OF_THE_TABLES [--images-root PRODUCTS_10K]",
        )
    for name in (REDUCED_TRAIN_CSV, REDUCED_TEST_CSV):
        _require_file(root, name, "product-650 has reduced_train.csv and reduced_test.csv")
    home = Path(images_root) if images_root else _home_of_images(root)
    parts = [
        _rows(root / REDUCED_TRAIN_CSV, _images(home, "train", flag="--images-root")),
        _rows(root / REDUCED_TEST_CSV, _images(home, "test", flag="--images-root")),
    ]
    notes = []
    for column in ("newid", "label"):
        for index, part in enumerate(parts):
            parts[index], line = _stripped(part, column)
            notes += [line] if line else []
    table = pl.concat(parts, how="diagonal").rename(
        {"newid": "label_id", "class": "class_id", "group": "category"}
    )
    _agree(table, root)
    notes.append("test images: Usage Public is val, Private is test")
    return Catalog(table, "product-650", str(home), notes=tuple(notes))


def _require_file(home: Path, name: str, layout: str) -> None:
    if not (home / name).is_file():
        raise SourceError(f"{name} is missing", where=str(home), details=[layout])


def _home_of_images(root: Path) -> Path:
    if any((root / part).exists() for part in ("train", "train.zip")):
        return root
    return fetch_from_kaggle(
        "competitions", COMPETITION, wanted_by="product-650", flag="--images-root"
    )


def _rows(csv: Path, images: Path) -> pl.DataFrame:
    table, _ = read_table(str(csv))
    table = table.with_columns(image=pl.format("{}/{}", pl.lit(images.as_posix()), pl.col("name")))
    if "Usage" in table.columns:
        split = pl.col("Usage").replace_strict(SPLIT_OF_USAGE, default="test")
        return table.with_columns(split=split).drop("name", "Usage")
    return table.drop("name").with_columns(split=pl.lit("train"))


def _images(home: Path, part: str, *, flag: str) -> Path:
    """The folder with the images of train or test, unpacked when there is only the archive."""
    for folder in (home / part / part, home / part):
        if folder.is_dir():
            return folder.absolute()
    archive = home / f"{part}.zip"
    if not archive.is_file():
        raise SourceError(
            f"neither {part}/ nor {part}.zip is in this folder",
            where=str(home),
            fix=f"name the folder of Products-10K's train/ and test/ with {flag}",
        )
    kept = cache_folder() / "datasets" / COMPETITION / part
    if not kept.is_dir():
        notify(f"unpacking {archive.name} into {kept}")
        with atomic_folder(kept) as folder:
            unpack_zip(archive, folder, rename=lambda member: Path(member).name)
    return kept.absolute()


def _stripped(table: pl.DataFrame, column: str) -> tuple[pl.DataFrame, str]:
    """The table with the blanks around the cells of a column removed, and a note about it."""
    clean = table[column].str.strip_chars()
    odd = table.filter(table[column] != clean)
    if not len(odd):
        return table, ""
    values = [f"{value!r} as {value.strip()!r}" for value in odd[column].unique().sort()]
    first = Path(odd["image"][0]).name
    note = f"{column} with blanks around it in {counted(len(odd), 'row')} (e.g. {first}): "
    return table.with_columns(clean), f"{note}read {listed(values)}"


def _agree(table: pl.DataFrame, root: Path) -> None:
    """Raise unless label names and numbers correspond one to one."""
    pairs = table.select("label", "label_id").unique()
    for column in pairs.columns:
        twice = pairs.filter(pl.col(column).is_duplicated())
        if len(twice):
            details = [f"{label!r} is number {number}" for label, number in twice.iter_rows()]
            raise SourceError("label names and numbers disagree", where=str(root), details=details)
