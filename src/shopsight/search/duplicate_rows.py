"""What is known of each row before products are compared: its file, its thumbnail, its vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64, UInt8

from shopsight.audit.check_duplicates import copy_rows, duplicate_group_ids, near_edges
from shopsight.audit.file_info import Inspection, inspect_catalog
from shopsight.audit.joined_rows import Pairs
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids, products
from shopsight.embeddings.contents import content_keys
from shopsight.embeddings.embed_rows import embed_rows
from shopsight.inference.embedder import Embedder

Failed = dict[tuple[int, str], str]
"""Why rows have no vector, by side and id."""


@dataclass(frozen=True, eq=False)
class ComparedRows:
    """All rows of both sides, n of them.

    Attributes:
        table: `id`, `image`, `product`, `label`, `width`, `height`, `side`, `row`, `sha256`.
        thumbs: see `shopsight.images.thumbnails`; zeros where boxes are compared.
        content: equal for equal images, be they encoded again; -1 where one cannot be read.
        near: pairs of near duplicates.
        vectors: zeros where there is none.
        has_vector: where there is one.
    """

    table: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    content: Int64[np.ndarray, "n"]
    near: Pairs
    vectors: Float32[np.ndarray, "n d"]
    has_vector: Bool[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class _Side:
    table: pl.DataFrame
    copies: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    vectors: Float32[np.ndarray, "n d"]
    has_vector: Bool[np.ndarray, "n"]


def gather_rows(
    sides: Sequence[Catalog], embedder: Embedder, batch_size: int | None
) -> tuple[ComparedRows, Failed]:
    """Read and embed the images of all sides, one after the other.

    Raises:
        CatalogError: two rows of a catalog have one id.
    """
    failed: Failed = {}
    read = [_side(side, number, embedder, batch_size, failed) for number, side in enumerate(sides)]
    thumbs = np.concatenate([side.thumbs for side in read])
    copies = pl.concat([side.copies for side in read])
    copies = copies.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    if any(side.boxes() is not None for side in sides):
        # A thumbnail is of the whole image: it says nothing of boxes in it.
        thumbs = np.zeros_like(thumbs)
        copies = copies.with_columns(file=pl.col("crop"))
    near = near_edges(copies, thumbs, copies["file"].is_not_null() & pl.Series(thumbs.any(axis=1)))
    content = duplicate_group_ids(copies, near)
    content[copies["file"].is_null().to_numpy()] = -1
    rows = ComparedRows(
        table=pl.concat([side.table for side in read]),
        thumbs=thumbs,
        content=content,
        near=near,
        vectors=np.concatenate([side.vectors for side in read]),
        has_vector=np.concatenate([side.has_vector for side in read]),
    )
    return rows, failed


def _side(
    catalog: Catalog, number: int, embedder: Embedder, batch_size: int | None, failed: Failed
) -> _Side:
    seen = inspect_catalog(catalog)
    files = seen.files.with_columns(catalog.table["image"])
    copies = copy_rows(catalog, files).select("row", "file", "crop")
    sha256 = copies["file"].alias("sha256")
    table = _facts(catalog, seen, number).with_columns(sha256)
    ids = table["id"].to_list()
    for row in sha256.is_null().arg_true().to_list():
        failed[number, ids[row]] = files["problem"][row]
    vectors = np.zeros((len(catalog), embedder.space.embedding_dim), np.float32)
    has_vector = np.zeros(len(catalog), bool)
    keys = content_keys(catalog, sha256)
    for batch in embed_rows(embedder, catalog, keys, batch_size=batch_size):
        vectors[batch.rows], has_vector[batch.rows] = batch.vectors, True
        failed.update({(number, ids[row]): why for row, why in batch.errors.items()})
    return _Side(table, copies, seen.thumbs, vectors, has_vector)


def _facts(catalog: Catalog, seen: Inspection, side: int) -> pl.DataFrame:
    """What is shown of each row."""
    nothing = pl.Series("", [None] * len(catalog), pl.String)
    known = products(catalog)
    label = nothing
    if "label" in catalog.table.columns:
        column = catalog.table["label"]
        label = column.list.join("|") if catalog.multilabel else column.cast(pl.String)
    return pl.DataFrame(
        [
            item_ids(catalog),
            catalog.table["image"],
            (nothing if known is None else known).alias("product"),
            label.alias("label"),
            seen.files["width"].cast(pl.Int64),
            seen.files["height"].cast(pl.Int64),
        ]
    ).with_columns(side=pl.lit(side, pl.Int64), row=pl.int_range(pl.len(), dtype=pl.Int64))
