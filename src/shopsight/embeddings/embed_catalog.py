"""Embed a catalog into a folder: what is there already is not embedded again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from shopsight import progress
from shopsight.bundle.embedding_space import check_same_space
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids, products
from shopsight.embeddings.contents import content_keys, hash_contents
from shopsight.embeddings.embed_rows import embed_rows
from shopsight.embeddings.store import EmbeddingFolder
from shopsight.inference.embedder import Embedder
from shopsight.write_errors import check_room

BYTES_PER_ITEM = 300
"""Of a shard, beside the vector."""


@dataclass(frozen=True)
class EmbedCounts:
    """What embedding a catalog did.

    Attributes:
        embedded: items that got a vector now.
        kept: items that had one from before.
        failed: why an image has none, by its id.
    """

    embedded: int
    kept: int
    failed: dict[str, str]


def embed_catalog(
    embedder: Embedder, catalog: Catalog, out: EmbeddingFolder, *, batch_size: int | None = None
) -> EmbedCounts:
    """Embed what the folder has not, each distinct image once; resumable at any moment.

    Which items are done is what the shards hold: the same id with the same content. What failed
    before is not among them, so the next call takes it up, and it alone.

    Args:
        embedder: the model.
        catalog: whose images.
        out: the folder; new, or of the same space.
        batch_size: images that the model sees at once; None is its own choice.

    Raises:
        EmbeddingError: the folder holds embeddings of another space.
        CatalogError: two rows have one id.
        WriteError: there is too little room on the disk; said before the first image.
    """
    if out.exists():
        declared = check_same_space(
            embedder.space,
            out.space(),
            where=str(out.path),
            embeds_into=embedder.embeds_into,
            fix="name another folder",
        )
        if declared is not None:
            progress.notify(declared.line(embedder.name))
    else:
        out.create(embedder.space, model=str(embedder.name), data=catalog.name)
    table = _items(catalog)
    contents = hash_contents(catalog)
    keys = content_keys(catalog, contents.sha256)
    table = table.with_columns(keys)
    _note_vanished(table, out)
    left = _left(table, out)
    ids = table["id"].to_list()
    failed = {ids[row]: str(error) for row, error in contents.errors.items()}
    kept = int(contents.readable.sum()) - len(left)
    if kept:
        progress.notify(f"{kept:,} of {len(catalog):,} images have their embeddings already")
    check_room(out.path, len(left) * (4 * embedder.space.embedding_dim + BYTES_PER_ITEM))
    done = 0
    for batch in embed_rows(embedder, catalog.take(left), keys[left], batch_size=batch_size):
        rows = left[batch.rows]
        if len(rows):
            out.write(table[rows], batch.vectors)
        done += len(rows)
        failed |= {ids[left[row]]: why for row, why in batch.errors.items()}
    out.write_failed(failed)
    return EmbedCounts(done, kept, failed)


def _items(catalog: Catalog) -> pl.DataFrame:
    known = products(catalog)
    none = pl.Series("product", [None] * len(catalog), pl.String)
    label = none.alias("label")
    if "label" in catalog.table.columns:
        column = catalog.table["label"]
        label = column.list.join("|") if catalog.multilabel else column
    return pl.DataFrame([item_ids(catalog), none if known is None else known, label.alias("label")])


def _note_vanished(table: pl.DataFrame, out: EmbeddingFolder) -> None:
    """Say what is embedded and not in the catalog: it stays, as nobody asked to remove it."""
    gone = out.done().join(table.select("id"), on="id", how="anti")
    if gone.height:
        progress.notify(
            f"{gone.height:,} items have embeddings in {out.path} and are not in {table.height:,} "
            "rows of this data: they stay there"
        )


def _left(table: pl.DataFrame, out: EmbeddingFolder) -> np.ndarray:
    """Rows that can be read and have no embedding of their present content."""
    done = out.done().with_columns(pl.lit(value=True).alias("done"))
    found = table.with_row_index("row").join(
        done, on=["id", "content"], how="left", maintain_order="left"
    )
    missing = found.filter(pl.col("done").is_null() & pl.col("content").is_not_null())
    return missing["row"].to_numpy().astype(np.int64)
