"""Copies among the photos of each product, by what is known without reading all files."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.audit.file_info import known_path
from shopsight.audit.inspect_file import FILE_SCHEMA
from shopsight.audit.joined_rows import Pairs, connected_components
from shopsight.audit.kept_info import read_known, stamped
from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.catalog.product_photos import ProductPhotos
from shopsight.errors import LocationError
from shopsight.files import sha256_file
from shopsight.images.idx import idx_member
from shopsight.images.thumbnails import is_near_duplicate, unpacked
from shopsight.io.confinement import place_of

MOST_COMPARED = 100
"""Photos of one product that are compared by their thumbnails, at most."""


def known_copies(catalog: Catalog, photos: ProductPhotos) -> Int64[np.ndarray, "n"]:
    """A number per row, equal for copies among the photos of one product.

    Equal files are found always: files of one size are hashed. Near duplicates are found where an
    audit has read both files, and none of them changed since. Of images at URLs only what has one
    address is a copy. Boxes of one image are several photos.

    Args:
        catalog: the photos.
        photos: their products.
    """
    rows = np.flatnonzero(photos.sizes[photos.of_photo] > 1).astype(np.int64)
    if not len(rows):
        return np.arange(len(catalog))
    some = catalog.take(rows)
    files = _known(some).with_columns(
        pl.Series("product", photos.of_photo[rows]), pl.Series("photo", rows)
    )
    files = _hashed(files, some)
    boxes = [name for name in BOX_COLUMNS if name in some.table.columns]
    files = pl.concat([files, some.table.select(boxes)], how="horizontal")
    pairs = np.concatenate([_equal(files, boxes), _near(files, boxes)])
    return connected_components(len(catalog), pairs)


def _known(catalog: Catalog) -> pl.DataFrame:
    """Per row its file, size, and what an audit keeps of it: hash and thumbnail."""
    refs = pl.DataFrame({"ref": catalog.refs()}, schema={"ref": pl.String})
    files = stamped(refs["ref"].unique(maintain_order=True), catalog.access)
    wanted = ["ref", "sha256", "thumb"]
    found = read_known(known_path(catalog), files, pl.DataFrame(schema=FILE_SCHEMA))
    known = pl.concat([piece.select(wanted) for piece in found]).unique("ref", keep="any")
    files = files.join(known, on="ref", how="left")
    return refs.join(files, on="ref", how="left", maintain_order="left")


def _hashed(files: pl.DataFrame, catalog: Catalog) -> pl.DataFrame:
    """With the hashes of files that have the size of another one of their product."""
    alike = pl.struct("product", "stamp_bytes").is_duplicated() & pl.col("sha256").is_null()
    unknown = files.filter(alike & pl.col("stamp_bytes").is_not_null())["ref"].unique()
    hashes = dict[str, str]()
    for ref in unknown:
        # Members of a container have the size of the container.
        if idx_member(ref) is None:
            with suppress(OSError, ValueError, LocationError):
                hashes[ref] = sha256_file(Path(place_of(ref, catalog.access.roots)))
    found = pl.DataFrame(
        {"ref": list(hashes), "hash": list(hashes.values())},
        schema={"ref": pl.String, "hash": pl.String},
    )
    files = files.join(found, on="ref", how="left", maintain_order="left")
    # What has no hash is its own address.
    return files.with_columns(pl.coalesce("sha256", "hash", "ref").alias("file")).drop("hash")


def _equal(files: pl.DataFrame, boxes: list[str]) -> Pairs:
    pairs = files.select(
        pl.col("photo").first().over("product", "file", *boxes).alias("first"), "photo"
    )
    return pairs.to_numpy().astype(np.int64).reshape(-1, 2)


def _near(files: pl.DataFrame, boxes: list[str]) -> Pairs:
    """Pairs of near duplicates within a product; thumbnails are of whole images."""
    whole = pl.all_horizontal(pl.col(name).is_null() for name in boxes) if boxes else pl.lit(True)
    known = files.filter(pl.col("thumb").is_not_null() & whole).select("product", "photo", "thumb")
    several = known.filter(pl.col("product").is_duplicated())
    pairs = list(
        chain.from_iterable(
            _near_pairs(some["photo"].to_numpy(), unpacked(some["thumb"]))
            for some in several.partition_by("product", maintain_order=True)
        )
    )
    return np.array(pairs, np.int64).reshape(-1, 2)


def _near_pairs(photos: np.ndarray, thumbs: np.ndarray) -> list[tuple[int, int]]:
    first, second = np.triu_indices(min(len(photos), MOST_COMPARED), k=1)
    near = is_near_duplicate(thumbs[first], thumbs[second])
    return list(zip(photos[first[near]].tolist(), photos[second[near]].tolist(), strict=True))
