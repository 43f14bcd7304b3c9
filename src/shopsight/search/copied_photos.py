"""Which photos of a search that is judged are one image encoded again.

Equal files are known by their hashes. A photo that was saved again, resized or brightened is found
by its thumbnail, as the audit finds it (`audit.near_duplicates`). Reading a million images for ten
thousand queries would be waste: a copy is among the items whose vectors are nearest, so that the
images of those alone are read, and what an audit or an earlier evaluation read is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from shopsight import paths
from shopsight.audit.file_info import file_info_path, inspect_all
from shopsight.audit.joined_rows import Pairs, connected_components
from shopsight.audit.thumb_rows import empty_thumbs
from shopsight.cache_place import cache_folder
from shopsight.images.thumbnails import is_near_duplicate
from shopsight.inference.image_stream import NamedImage
from shopsight.io.access import Access
from shopsight.metrics.retrieval import exact_scores

Placed = tuple[str, NamedImage]
"""A photo, and the root of its catalog."""

Photos = Callable[[Int64[np.ndarray, "m"]], Sequence[Placed]]

LEAST_COSINE = 0.7
"""Below it no copy is looked for. Measured on photos of clothes and groceries (docs/log.md): copies
at quality 40, of half the size or at 160 px lie above .78, among the five nearest of 1,500."""
MOST_COMPARED = 24
"""Items that a query is compared with, the nearest first."""


@dataclass(frozen=True, eq=False)
class CopiedPhotos:
    """Contents, by which copies are known, and what was learned on the way.

    Attributes:
        queries: equal for queries and items that show one image.
        gallery: likewise.
        encoded_again: pairs of a query and an item that are one image, but not one file.
        unseen: photos that were looked for and could not be compared: of them equal files alone
            are copies.
    """

    queries: Int64[np.ndarray, "q"]
    gallery: Int64[np.ndarray, "g"]
    encoded_again: int
    unseen: int


def join_copies(
    contents: tuple[Int64[np.ndarray, "q"], Int64[np.ndarray, "g"]],
    vectors: tuple[Float32[np.ndarray, "q d"], Float32[np.ndarray, "g d"]],
    photos: tuple[Photos, Photos],
) -> CopiedPhotos:
    """Give one content to photos that are one image.

    Args:
        contents: of queries and gallery: equal for equal files, -1 where it is not known.
        vectors: unit vectors.
        photos: where some of them lie, by their positions.
    """
    pairs = _near_items(contents, vectors)
    if not len(pairs):
        return CopiedPhotos(*contents, encoded_again=0, unseen=0)
    asked, items = np.unique(pairs[:, 0]), np.unique(pairs[:, 1])
    thumbs, has_thumb = _thumbs([*photos[0](asked), *photos[1](items)])
    first = np.searchsorted(asked, pairs[:, 0])
    second = len(asked) + np.searchsorted(items, pairs[:, 1])
    both = has_thumb[first] & has_thumb[second]
    alike = np.zeros(len(pairs), bool)
    alike[both] = is_near_duplicate(thumbs[first[both]], thumbs[second[both]])
    found = pairs[alike]
    links = np.stack([contents[0][found[:, 0]], contents[1][found[:, 1]]], axis=1)
    count = 1 + max(int(one.max(initial=-1)) for one in contents)
    joined = connected_components(count, links)
    queries, gallery = (np.where(one < 0, -1, joined[one]) for one in contents)
    return CopiedPhotos(queries, gallery, len(found), int((~has_thumb).sum()))


def _near_items(
    contents: tuple[Int64[np.ndarray, "q"], Int64[np.ndarray, "g"]],
    vectors: tuple[Float32[np.ndarray, "q d"], Float32[np.ndarray, "g d"]],
) -> Pairs:
    """Pairs of a query and an item near it that is another file."""
    found = [np.zeros((0, 2), np.int64)]
    for query, scores in exact_scores(*vectors):
        content = contents[0][query]
        if content < 0:
            continue
        near = np.flatnonzero(scores >= LEAST_COSINE)
        near = near[(contents[1][near] != content) & (contents[1][near] >= 0)]
        near = near[np.argsort(-scores[near], kind="stable")[:MOST_COMPARED]]
        found.append(np.stack([np.full(len(near), query), near], axis=1))
    return np.concatenate(found)


def _thumbs(
    photos: Sequence[Placed],
) -> tuple[UInt8[np.ndarray, "n t"], Bool[np.ndarray, "n"]]:
    """Thumbnails; none of a box, of which the whole image says nothing, nor of what is not here."""
    thumbs, has_thumb = empty_thumbs(len(photos)), np.zeros(len(photos), bool)
    rows: dict[tuple[str, Access], list[int]] = {}
    for row, (root, image) in enumerate(photos):
        if image.box is None and not paths.is_url(image.source):
            rows.setdefault((root, image.access), []).append(row)
    for (root, access), some in rows.items():
        seen = inspect_all(
            [photos[row][1].source for row in some],
            access=access,
            kept=file_info_path(cache_folder(), root),
        )
        thumbs[some], has_thumb[some] = seen.thumbs, seen.has_thumb
    return thumbs, has_thumb
