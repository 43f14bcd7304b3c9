"""Stanford Online Products: photos of offers at eBay, some five of each product."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import HELD_OUT
from shopsight.datasets.published_copy import copy_folder, read_word_table, require_folders

NAME = "stanford-online-products"
PUBLISHER = "https://cvgl.stanford.edu/projects/lifted_struct/"
LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
COLUMNS = ("image_id", "class_id", "super_class_id", "path")


def open_stanford_online_products(root: Path | None) -> Catalog:
    """Read 120,053 photos of 22,634 products, in the official parts, which share no product.

    The label and the group are the product (`class_id`); the test's are held out. `category` is its
    kind, such as bicycle, and `image_id` the number of the photo. In the published evaluation each
    test photo is a query to all others.

    Args:
        root: the folder with Ebay_train.txt, Ebay_test.txt and the twelve folders `*_final/`, or
            the one around it.

    Raises:
        SourceError: a part of it is missing or damaged.
    """
    home = copy_folder(
        root,
        NAME,
        parts=tuple(LISTS.values()),
        inside=("Stanford_Online_Products",),
        publisher=PUBLISHER,
    )
    parts = []
    for split, name in LISTS.items():
        rows = read_word_table(home / name, COLUMNS)
        folders = rows["path"].str.extract("^([^/]+)/", 1).fill_null(".").unique().to_list()
        require_folders(home, folders, named_by=name)
        parts.append(rows.with_columns(split=pl.lit(split)))
    table = (
        pl.concat(parts)
        .select(
            image="path",
            label="class_id",
            group="class_id",
            split="split",
            category=pl.col("path").str.extract("^(.*?)(?:_final)?/", 1).str.replace_all("_", " "),
            image_id="image_id",
        )
        .with_columns((pl.col("split") == "test").alias(HELD_OUT))
    )
    return Catalog(table, NAME, str(home), notes=("label and group are the product (class_id)",))
