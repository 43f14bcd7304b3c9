"""Queries and a gallery whose right answers are known: what a search is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids, products
from shopsight.catalog.linked_rows import codes_of, linked_rows
from shopsight.embeddings.contents import content_keys, hash_contents
from shopsight.embeddings.embed_rows import embed_rows
from shopsight.errors import SearchError
from shopsight.inference.image_stream import open_images
from shopsight.metrics.families import Families
from shopsight.search.copied_photos import Placed, join_copies
from shopsight.search.index import Index
from shopsight.search.index_folder import source_root
from shopsight.text import command_line

RelevantBy = Literal["product", "label"]
MOST_QUERIES = 10_000
"""Queries that are asked; of more, a seeded sample."""


@dataclass(frozen=True, eq=False)
class RetrievalSet:
    """Queries and gallery, q and g of them, with what each shows.

    Attributes:
        relevant_by: items of the same product, or of the same label, are relevant.
        query_ids: names of the queries.
        queries: unit vectors.
        query_groups: what each shows, -1 where that is not known.
        gallery: unit vectors of the index's items, sorted by id.
        gallery_groups: what each shows, in the same numbers.
        query_contents: a number for the image of each query; items with the same one are junk.
        gallery_contents: likewise, in the same numbers.
        families: queries that vary together.
        left_out: whether a query is an item of the gallery, which is left out of its own answer.
        failed: why a query has no vector, by its name.
        num_all: queries of which these are a sample.
        encoded_again: pairs of a query and an item that are one image, but not one file.
        unseen: photos near each other that were not compared: of them equal files alone are copies.
    """

    relevant_by: RelevantBy
    query_ids: list[str]
    queries: Float32[np.ndarray, "q d"]
    query_groups: Int64[np.ndarray, "q"]
    gallery: Float32[np.ndarray, "g d"]
    gallery_groups: Int64[np.ndarray, "g"]
    query_contents: Int64[np.ndarray, "q"]
    gallery_contents: Int64[np.ndarray, "g"]
    families: Families
    left_out: bool
    failed: dict[str, str]
    num_all: int
    encoded_again: int = 0
    unseen: int = 0

    def junk(self, query: int) -> Int64[np.ndarray, "_"]:
        """Positions of the items that show the query's own image: itself, and copies of it."""
        content = self.query_contents[query]
        if not self.left_out and content < 0:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.gallery_contents == content)


def own_queries(index: Index, *, seed: int = 0) -> RetrievalSet:
    """Each item of an index that has others to find: of its product, or else of its label.

    Raises:
        SearchError: nothing in the index has another item to find.
    """
    items = index.items()
    relevant_by = relevant_of(index, items)
    groups = codes_of(items[relevant_by])
    contents = codes_of(items["sha256"])
    # Copies of an image are one photo: a product of copies alone has nothing to find.
    photos = pl.DataFrame({"group": groups, "content": contents}).filter(pl.col("group") >= 0)
    several = (
        photos.group_by("group").agg(pl.col("content").n_unique()).filter(pl.col("content") > 1)
    )
    asked = np.flatnonzero(np.isin(groups, several["group"].to_numpy()))
    if not len(asked):
        raise SearchError(
            f"no {relevant_by} has several photos: there is nothing to look for",
            where=str(index.folder.path),
            fix=f"shopsight evaluate {index.folder.path} --queries DATA   (photos of the same "
            f"{relevant_by}s)",
        )
    chosen = _sample(asked, seed)
    gallery = index.vectors()
    copies = join_copies(
        (contents[chosen], contents),
        (gallery[chosen], gallery),
        (
            lambda rows: _placed(index, items[chosen[rows]]),
            lambda rows: _placed(index, items[rows]),
        ),
    )
    return RetrievalSet(
        relevant_by=relevant_by,
        query_ids=items["id"][chosen].to_list(),
        queries=gallery[chosen],
        query_groups=groups[chosen],
        gallery=gallery,
        gallery_groups=groups,
        query_contents=copies.queries,
        gallery_contents=copies.gallery,
        families=_families(items[relevant_by][chosen], copies.queries, relevant_by),
        left_out=True,
        failed={},
        num_all=len(asked),
        encoded_again=copies.encoded_again,
        unseen=copies.unseen,
    )


def foreign_queries(index: Index, catalog: Catalog, *, seed: int = 0) -> RetrievalSet:
    """The images of a catalog, as queries to an index that shows the same products or labels.

    Raises:
        SearchError: the catalog and the index have no product and no label in common.
    """
    items = index.items()
    known = products(catalog)
    relevant_by: RelevantBy = "product"
    names = known
    if known is None or items["product"].null_count() == items.height:
        relevant_by = "label"
        names = catalog.table["label"] if catalog.has("label") else None
    if names is None or relevant_by not in items.columns or catalog.multilabel:
        raise SearchError(
            "the queries say neither which product they show nor which label they have, as the "
            "index does",
            where=catalog.name,
            fix="--group COLUMN or --label COLUMN",
        )
    chosen = _sample(np.arange(len(catalog)), seed)
    catalog, names = catalog.take(chosen), names[chosen]
    shown = names.is_in(items[relevant_by].drop_nulls().unique().implode())
    if not shown.any():
        raise SearchError(
            f"none of the {relevant_by}s of the queries is in the index",
            where=catalog.name,
            details=names.drop_nulls().unique().head(5).to_list(),
            fix="name the column that the index was built by, with --group or --label",
        )
    return _embedded(index, catalog, names, items, relevant_by, num_all=len(chosen))


def _embedded(
    index: Index,
    catalog: Catalog,
    names: pl.Series,
    items: pl.DataFrame,
    relevant_by: RelevantBy,
    *,
    num_all: int,
) -> RetrievalSet:
    hashed = hash_contents(catalog)
    ids = item_ids(catalog).to_list()
    failed = {ids[row]: str(error) for row, error in hashed.errors.items()}
    vectors = np.zeros((len(catalog), index.info.space.embedding_dim), np.float32)
    found: list[int] = []
    keys = content_keys(catalog, hashed.sha256)
    for batch in embed_rows(index.embedder(), catalog, keys, asked=True):
        vectors[batch.rows] = batch.vectors
        found += batch.rows
        failed |= {ids[row]: why for row, why in batch.errors.items()}
    rows = np.sort(np.array(found, np.int64))
    both = pl.concat([names.cast(pl.String).alias("n"), items[relevant_by].alias("n")])
    groups = codes_of(both)
    contents = codes_of(pl.concat([hashed.sha256.alias("n"), items["sha256"].alias("n")]))
    gallery = index.vectors()
    asked = catalog.take(rows)
    copies = join_copies(
        (contents[: len(catalog)][rows], contents[len(catalog) :]),
        (vectors[rows], gallery),
        (
            lambda some: [(source_root(asked), one) for one in open_images(asked.take(some))],
            lambda some: _placed(index, items[some]),
        ),
    )
    return RetrievalSet(
        relevant_by=relevant_by,
        query_ids=[ids[row] for row in rows.tolist()],
        queries=vectors[rows],
        query_groups=groups[: len(catalog)][rows],
        gallery=gallery,
        gallery_groups=groups[len(catalog) :],
        query_contents=copies.queries,
        gallery_contents=copies.gallery,
        families=_families(names[rows], copies.queries, relevant_by),
        left_out=False,
        failed=failed,
        num_all=num_all,
        encoded_again=copies.encoded_again,
        unseen=copies.unseen,
    )


def _placed(index: Index, items: pl.DataFrame) -> list[Placed]:
    return list(zip(items["source"].to_list(), index.named_images(items), strict=True))


def relevant_of(index: Index, items: pl.DataFrame) -> RelevantBy:
    """By what items of an index are relevant to each other.

    Raises:
        SearchError: it knows neither products nor labels, or one of them in all.
    """
    by: RelevantBy = "product" if index.unit == "product" else "label"
    if by not in items.columns or isinstance(items.schema[by], pl.List):
        raise SearchError(
            "the items have neither a product nor one label each: nothing says what is right",
            where=str(index.folder.path),
            fix="build the index with --group COLUMN (the product) or --label COLUMN",
        )
    if not items.height:
        raise SearchError(
            "the index is empty",
            where=str(index.folder.path),
            fix=command_line(["shopsight", "index", "add", index.folder.path, "DATA"]),
        )
    if items[by].drop_nulls().n_unique() < 2:
        raise SearchError(
            f"the index has one {by} in all: every answer would be right",
            where=str(index.folder.path),
        )
    return by


def _families(
    names: pl.Series, contents: Int64[np.ndarray, "q"], relevant_by: RelevantBy
) -> Families:
    """Which queries vary together: photos of one product, and copies of one photo.

    Labels are what is looked for, not a sample of labels: their images are the sample.
    """
    content = pl.Series(contents).replace(-1, None)
    links = [content] if relevant_by == "label" else [names, content]
    return linked_rows(len(names), links)


def _sample(rows: Int64[np.ndarray, "n"], seed: int) -> Int64[np.ndarray, "m"]:
    if len(rows) <= MOST_QUERIES:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_QUERIES, replace=False))
