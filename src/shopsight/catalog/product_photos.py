"""Which photos show one product, which of them the shop shows first, and which are copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import products

POSITION = "position"
"""Column of a photo's place among those of its product, from 1."""
NOT_A_PRODUCT = 0.5
"""A larger share of groups whose photos have several labels: the group is no product."""


@dataclass(frozen=True, eq=False)
class ProductPhotos:
    """The photos of products, n rows, p products.

    Attributes:
        of_photo: number of each photo's product, numbered by their first rows.
        names: of each product; None of a photo that is in no group, a product by itself.
        is_first: whether a photo has position 1.
        copy: equal for copies of one photo, which count once.
    """

    of_photo: Int64[np.ndarray, "n"]
    names: tuple[str | None, ...]
    is_first: Bool[np.ndarray, "n"]
    copy: Int64[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_photos(self) -> int:
        """N."""
        return len(self.of_photo)

    @property
    def sizes(self) -> Int64[np.ndarray, "p"]:
        """Photos of each product."""
        return np.bincount(self.of_photo, minlength=len(self)).astype(np.int64)

    def rows_together(self) -> Int64[np.ndarray, "n"]:
        """All rows, those of one product after one another."""
        return np.argsort(self.of_photo, kind="stable").astype(np.int64)

    def take(self, rows: Int64[np.ndarray, "m"]) -> ProductPhotos:
        """The same of these photos alone, in this order; products are numbered anew."""
        of_photo, kept = _numbered(self.of_photo[rows])
        names = tuple(self.names[number] for number in kept.tolist())
        return ProductPhotos(of_photo, names, self.is_first[rows], self.copy[rows])


def product_photos(
    catalog: Catalog, copies: Int64[np.ndarray, "n"] | None = None
) -> ProductPhotos | None:
    """The products of a catalog.

    Args:
        catalog: the photos.
        copies: equal for copies of one photo; None: no photo is one.

    Returns:
        None where the catalog does not say what shows one product.
    """
    named = products(catalog)
    if named is None:
        return None
    own = pl.Series(np.arange(len(catalog)) + len(catalog))
    # A photo without a group is a product by itself.
    codes = (named.rank("dense").cast(pl.Int64) - 1).fill_null(own)
    of_photo, first_rows = _numbered(codes.to_numpy().astype(np.int64), rows=True)
    return ProductPhotos(
        of_photo,
        tuple(named[first_rows].to_list()),
        _has_position_one(catalog.table),
        np.arange(len(catalog)) if copies is None else copies,
    )


def several_labels(catalog: Catalog, photos: ProductPhotos) -> Bool[np.ndarray, "p"]:
    """Which products have photos of different labels; photos without a label do not count.

    Args:
        catalog: the photos; with one label each, or none.
        photos: their products.
    """
    found = np.zeros(len(photos), bool)
    if "label" in catalog.table.columns:
        labels = pl.DataFrame({"product": photos.of_photo, "label": catalog.table["label"]})
        counts = labels.drop_nulls().group_by("product").agg(pl.col("label").n_unique())
        found[counts.filter(pl.col("label") > 1)["product"].to_numpy()] = True
    return found


def are_products(catalog: Catalog, photos: ProductPhotos) -> bool:
    """Whether groups can be products: some have several photos, and most of those one label.

    A group whose photos have several labels is a visit, a shelf, an album.
    """
    several = photos.sizes > 1
    if not several.any():
        return False
    return bool(several_labels(catalog, photos)[several].mean() <= NOT_A_PRODUCT)


def _numbered(
    codes: Int64[np.ndarray, "n"], *, rows: bool = False
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "p"]]:
    """Numbers by first rows, and of each number its code, or its first row."""
    values, first, index = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[index], (first if rows else values)[order].astype(np.int64)


def _has_position_one(table: pl.DataFrame) -> Bool[np.ndarray, "n"]:
    if POSITION not in table.columns:
        return np.zeros(table.height, bool)
    numbers = table[POSITION].cast(pl.Float64, strict=False)
    return (numbers == 1).fill_null(False).to_numpy()
