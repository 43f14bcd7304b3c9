"""Shopee, Price Match Guarantee: photos and titles of offers, matched by product."""

from __future__ import annotations

from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.kaggle import fetch_from_kaggle
from shopsight.datasets.published_copy import copy_folder
from shopsight.errors import SourceError
from shopsight.tables.table_files import read_table

NAME = "shopee"
COMPETITION = "shopee-product-matching"
TABLE, IMAGES = "train.csv", "train_images/"
COLUMNS = ("posting_id", "image", "image_phash", "title", "label_group")


def open_shopee(root: Path | None) -> Catalog:
    """Read 34,250 offers of 11,014 products; the competition's test set has no labels.

    The label and the group are the product (`label_group`), the text is the title, and `id` the
    offer (`posting_id`): several offers may have one photo.

    Args:
        root: the folder with train.csv and train_images/; None fetches the competition from Kaggle.

    Raises:
        SourceError: a part of it is missing, or Kaggle does not give it.
        CatalogError: the table cannot be read.
    """
    home = copy_folder(
        root or fetch_from_kaggle("competitions", COMPETITION),
        NAME,
        parts=(TABLE, IMAGES),
        publisher=f"https://www.kaggle.com/competitions/{COMPETITION}",
    )
    table, notes = read_table(str(home / TABLE))
    lacking = [name for name in COLUMNS if name not in table.columns]
    if lacking:
        raise SourceError(
            f"is not the published table: no column {', '.join(lacking)}",
            where=str(home / TABLE),
            details=[f"its columns: {', '.join(table.columns)}"],
        )
    table = table.select(
        "image",
        label="label_group",
        group="label_group",
        text="title",
        id="posting_id",
        image_phash="image_phash",
    )
    about = "label and group are the product (label_group); test.csv has no labels and is not read"
    return Catalog(table, NAME, str(home / IMAGES), notes=(*notes, about))
