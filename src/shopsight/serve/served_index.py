"""The index that a service searches: open for as long as it runs, and its only owner.

Images of queries are embedded by the service's model, in the same queue as everything else, so
model and index must be of one space, or the model must say that it embeds into the index's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float32
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images.decode import decode, read_bytes
from shopsight.inference.image_stream import NamedImage
from shopsight.inference.open_embedder import BundleEmbedder
from shopsight.paths import is_url
from shopsight.search.find import SearchOptions, find
from shopsight.search.grouping import Result
from shopsight.search.index import Index
from shopsight.search.query_terms import Query, Term, build_queries
from shopsight.search.query_vectors import aims_of
from shopsight.search.word_route import WordRoute
from shopsight.serve.index_changes import add_rows, remove_items
from shopsight.serve.prepare_upload import UPLOAD
from shopsight.serve.refusals import RefusedError
from shopsight.serve.served_model import ServedModel
from shopsight.unit_vectors import have_direction, unit_vectors
from shopsight.vector_engines.where import parse_where
from shopsight.words.word_table import has_words

THUMBNAIL_PX, THUMBNAIL_QUALITY = 256, 85
Vector = Float32[np.ndarray, "d"]


class ServedIndex:
    """An open index, its words and the model that embeds for it. Its methods block.

    Args:
        index: open for as long as this lives.
        model: that embeds queries and new items.

    Raises:
        EmbeddingError: The model computes another space than that of the index.
    """

    def __init__(self, index: Index, model: ServedModel) -> None:
        self._index = index
        self.use(model)
        self._words = WordRoute(index)

    def use(self, model: ServedModel) -> None:
        """Have queries embedded by another model.

        Raises:
            EmbeddingError: It computes another space; the one before goes on.
        """
        self._index.use(BundleEmbedder(str(model.folder), model.predictor, model.device))

    def to_json(self) -> dict[str, Any]:
        """What `/v1/models` says of it."""
        index = self._index
        return {
            "size": len(index),
            "by_text": self._by_text,
            "columns": [{"name": name, "kind": kind} for name, kind in index.schema.items()],
        }

    @property
    def _by_text(self) -> bool:
        info = self._index.info
        return info.space.has_text or info.text != "none" or has_words()

    def search(
        self,
        vector: Vector | None,
        text: str | None,
        *,
        top: int,
        where: str | None,
        by: str | None,
    ) -> list[dict[str, Any]]:
        """The nearest items to an image's embedding, to words, or to both.

        Raises:
            SearchError: The filter does not fit, or there is nothing to look for.
            EmbeddingError: Words without a way to understand them.
            RefusedError: There are no products to answer by.
        """
        index = self._index
        if by == "product" and index.unit != "product":
            raise RefusedError(422, "the items of this index have no products", fix="by=image")
        by_product = index.unit == "product" if by is None else by == "product"
        filter_ = None if not where else parse_where(where, index.schema)
        if not len(index):
            return []
        options = SearchOptions(top=top, by_product=by_product, where=filter_)
        images = [] if vector is None else [NamedImage(UPLOAD, b"")]
        queries = build_queries(images, [] if text is None else [text], combine=True)
        in_images, in_texts = self._words.routes("both")
        aims = aims_of(
            queries,
            index,
            words=self._words,
            in_images=in_images,
            in_texts=in_texts,
            embedded=_embedded(queries, vector),
        )
        (found,) = find(aims, index, options, words=self._words)
        return [self._item(result) for result in found.results]

    def add(self, rows: Sequence[dict[str, Any]], images: Sequence[bytes]) -> dict[str, Any]:
        """Put items into the index; those that it has are brought up to date."""
        done = add_rows(self._index, rows, images)
        return done | {"size": len(self._index)}

    def remove(self, ids: Sequence[str]) -> dict[str, Any]:
        """Take items, or all items of products, out of the index."""
        return {"removed": remove_items(self._index, ids), "size": len(self._index)}

    def thumbnail(self, item: str) -> bytes:
        """A JPEG of an item's image.

        Raises:
            RefusedError: There is no such item, or its image is not on this machine.
        """
        if item not in self._index.generation.live["id"]:
            raise RefusedError(404, "no such item")
        one = self._index.named_image(item)
        if is_url(str(one.image)):
            raise RefusedError(404, "the item's image is not on this machine")
        try:
            data = read_bytes(str(one.image), one.access)
            if one.box is None:
                rgb = decode(data, at_least_px=THUMBNAIL_PX)
            else:
                x, y, width, height = (max(0, round(side)) for side in one.box)
                rgb = decode(data)[y : y + height, x : x + width]
        except ImageError:
            raise RefusedError(404, "the item's image cannot be read now") from None
        image = Image.fromarray(np.ascontiguousarray(rgb))
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=THUMBNAIL_QUALITY)
        return file.getvalue()

    def _item(self, result: Result) -> dict[str, Any]:
        row = result.as_row(0)
        image = row["image"]
        has_image = bool(image) and not is_url(str(image))
        return {
            "id": row["id"],
            "product": row["product"],
            "score": row["score"],
            "image": f"/v1/items/{quote(row['id'], safe='')}/thumbnail" if has_image else None,
            "columns": row["columns"],
        }


def unit_vector(embedding: Vector) -> Vector:
    """An embedding as an index holds it.

    Raises:
        RefusedError: It has no direction.
    """
    if not have_direction(embedding[None])[0]:
        raise RefusedError(422, "the image's embedding is not finite, or zero")
    found: Vector = unit_vectors(embedding[None])[0]
    return found


def _embedded(queries: Sequence[Query], vector: Vector | None) -> dict[int, Vector | ImageError]:
    terms: list[Term] = [term for query in queries for term in query.terms]
    return {id(term): vector for term in terms if term.kind == "image" and vector is not None}
