"""RP2K: single products, cut out of photos of shelves in shops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.published_copy import copy_folder
from shopsight.errors import SourceError
from shopsight.image_files.scan import scan_folder

NAME = "rp2k"
PUBLISHER = "https://www.pinlandata.com/rp2k_dataset"
PARTS = ("train", "test")


def open_rp2k(root: Path | None) -> Catalog:
    """Read 384,311 images of 2,388 products, in the official parts, which share the products.

    The label is the product, named in Chinese by its folder. It is no group: each product is in
    both parts.

    Args:
        root: the folder with all/train/ and all/test/, or with train/ and test/.

    Raises:
        SourceError: a part of it is missing, or has no folder of a product.
    """
    home = copy_folder(
        root, NAME, parts=[f"{part}/" for part in PARTS], inside=("all",), publisher=PUBLISHER
    )
    scan = scan_folder(str(home))
    table = pl.DataFrame({"image": scan.rows}, schema={"image": pl.String}).with_columns(
        split=pl.col("image").str.extract(r"^(train|test)/", 1),
        label=pl.col("image").str.extract(r"^[^/]+/([^/]+)/[^/]+$", 1),
    )
    usable = pl.col("split").is_not_null() & pl.col("label").is_not_null()
    others = table.filter(~usable)["image"].to_list()
    table = table.filter(usable).select("image", "label", "split")
    for part in PARTS:
        if part not in table["split"]:
            raise SourceError(
                f"{part}/ has no folder of a product with images in it",
                where=str(home),
                details=[f"{NAME} has {part}/PRODUCT/IMAGE.jpg"],
                fix=f"copy or unpack it again; {PUBLISHER}",
            )
    catalog = Catalog(table, NAME, str(home), notes=tuple(scan.notes()))
    return replace(catalog, unlisted=tuple(others))
