"""Products that are in a catalog twice, or in two catalogs, by their images.

Kinds, from the surest: the same file; the same image encoded again (the audit's near duplicates);
the same product in other photos (`duplicate_pairs`). What is connected by these is a cluster, of
which one image is kept. Two kinds are apart, since nothing in them is a copy to leave out: one cut
in several colors, and an image that many products share, such as "no photo yet".

Photos that the catalog itself says are of one product are no finding: only equal ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.audit.joined_rows import JoinedRows, Pairs, connected_components
from shopsight.audit.row_decisions import DROP, KEEP
from shopsight.catalog.catalog import Catalog
from shopsight.inference.embedder import Embedder
from shopsight.search.duplicate_pairs import (
    DEFAULT_THRESHOLD,
    Threshold,
    are_color_variants,
    mutual_pairs,
    threshold_of_copies,
    threshold_of_products,
)
from shopsight.search.duplicate_rows import ComparedRows, gather_rows

Kind = Literal["same file", "same image", "same product", "color variant", "shared image"]
KINDS: tuple[Kind, ...] = (
    "same file",
    "same image",
    "same product",
    "color variant",
    "shared image",
)
MOST_IN_CLUSTER = 10
"""Distinct images of a cluster, and copies of one image: more are no product listed twice."""
MANY_PRODUCTS = 5
"""Products from which on an image that they share says nothing of any of them."""

_COLUMNS = {
    "cluster": pl.Int64,
    "kind": pl.String,
    "score": pl.Float64,
    "decision": pl.String,
    "id": pl.String,
    "image": pl.String,
    "product": pl.String,
    "label": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "side": pl.Int64,
    "row": pl.Int64,
}


@dataclass(frozen=True, eq=False)
class DuplicateProducts:
    """What was found.

    Attributes:
        sides: the catalog, and the other one where two were compared.
        table: a line for each row in a cluster, clusters of one kind together: `cluster` (from 1),
            `kind` (how the row is related to the kept one; the kept one has the cluster's kind),
            `score` (cosine with the kept image; of the kept one the lowest of the others),
            `decision` ("keep", "drop", or empty where nothing is decided), `id`, `image`,
            `product`, `label`, `width`, `height`, `side` (0 or 1), `row` (in its catalog).
        threshold: from which score on two images show one product.
        failed: why images were not compared, by side and id.
    """

    sides: tuple[Catalog, ...]
    table: pl.DataFrame
    threshold: Threshold
    failed: dict[tuple[int, str], str]

    def counts(self) -> dict[Kind, int]:
        """Clusters of each kind."""
        firsts = self.table.unique("cluster", keep="first", maintain_order=True)["kind"]
        return {kind: int((firsts == kind).sum()) for kind in KINDS}

    @property
    def dropped(self) -> int:
        """Rows to leave out."""
        return int((self.table["decision"] == DROP).sum())


def find_duplicates(
    catalog: Catalog,
    embedder: Embedder,
    *,
    other: Catalog | None = None,
    threshold: float | None = None,
    batch_size: int | None = None,
) -> DuplicateProducts:
    """Find the products that are listed twice.

    Args:
        catalog: whose images are compared.
        embedder: what gives them vectors.
        other: only what is in both catalogs is found; the rows of `catalog` are kept.
        threshold: cosine from which on two images show one product; None takes it from pairs that
            are known, see `duplicate_pairs`.
        batch_size: images that the model sees at once; None is its own choice.

    Raises:
        CatalogError: two rows of a catalog have one id.
    """
    sides = (catalog,) if other is None else (catalog, other)
    rows, failed = gather_rows(sides, embedder, batch_size)
    shared = _shared_groups(rows)
    # One row stands for all equal images; what many products share stands for none.
    firsts = np.unique(rows.content, return_index=True)[1]
    firsts = np.sort(firsts[(rows.content[firsts] >= 0) & rows.has_vector[firsts]])
    chosen = firsts[~np.isin(rows.content[firsts], shared)]
    found = _threshold(rows, chosen) if threshold is None else Threshold(threshold, "given")
    pairs, scores = mutual_pairs(rows.vectors[chosen], _apart(rows, chosen, len(sides)))
    pairs = chosen[pairs]
    variants = are_color_variants(rows.thumbs[pairs[:, 0]], rows.thumbs[pairs[:, 1]])
    links = pairs[~variants & (scores >= found.score)]
    clusters = [
        *_clusters(rows, links, shared),
        *_groups("color variant", _with_copies(rows, pairs[variants])),
        *(("shared image", np.flatnonzero(rows.content == one)) for one in shared.tolist()),
    ]
    if other is not None:
        side = rows.table["side"].to_numpy()
        clusters = [(kind, some) for kind, some in clusters if len(np.unique(side[some])) > 1]
    return DuplicateProducts(sides, _as_table(rows, clusters, found), found, failed)


def _shared_groups(rows: ComparedRows) -> Int64[np.ndarray, "g"]:
    """Contents that too many rows or products share to be copies of one product's image."""
    groups = (
        rows.table.with_columns(content=pl.Series(rows.content))
        .filter(pl.col("content") >= 0)
        .group_by("content")
        .agg(pl.len().alias("rows"), pl.struct("side", "product").n_unique().alias("products"))
        .filter((pl.col("rows") > MOST_IN_CLUSTER) | (pl.col("products") >= MANY_PRODUCTS))
    )
    return np.asarray(groups["content"].sort().to_numpy(), np.int64)


def _products(rows: ComparedRows, some: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
    """A number for the product of each row, its own where none is known."""
    table = rows.table[some]
    names = table.select(
        pl.when(pl.col("product").is_not_null()).then(
            pl.format("{}:{}", pl.col("side"), pl.col("product"))
        )
    ).to_series()
    codes = names.rank("dense").cast(pl.Int64).fill_null(-1).to_numpy()
    return np.where(codes < 0, len(some) + 1 + np.arange(len(some)), codes)


def _apart(
    rows: ComparedRows, some: Int64[np.ndarray, "m"], num_sides: int
) -> Int64[np.ndarray, "m"]:
    """Rows that are not compared with each other: of one known product, or of one of two sides."""
    if num_sides > 1:
        return np.asarray(rows.table["side"].to_numpy()[some], np.int64)
    return _products(rows, some)


def _threshold(rows: ComparedRows, some: Int64[np.ndarray, "m"]) -> Threshold:
    """From which score on two images show one product, from what is known of the catalog."""
    known = rows.table.with_columns(index=pl.int_range(pl.len()))[some].filter(
        pl.col("product").is_not_null()
        & (pl.len().over("side", "product") > 1)
        & (pl.col("side") == 0)
    )
    index = known["index"].to_numpy()
    if len(index) > 1:
        code = _products(rows, index)
        pairs, scores = mutual_pairs(
            rows.vectors[index], np.arange(len(index)), neighbors=1, name="Taking a threshold"
        )
        found = threshold_of_products(scores, code[pairs[:, 0]] == code[pairs[:, 1]])
        if found is not None:
            return found
    near = rows.near[rows.has_vector[rows.near].all(axis=1)]
    scores = (rows.vectors[near[:, 0]] * rows.vectors[near[:, 1]]).sum(axis=1)
    return threshold_of_copies(scores) or Threshold(DEFAULT_THRESHOLD, "default")


def _clusters(
    rows: ComparedRows, links: Pairs, shared: Int64[np.ndarray, "g"]
) -> list[tuple[Kind, Int64[np.ndarray, "m"]]]:
    """Rows of one product: copies, and what links of falling score join, none too large."""
    joined = JoinedRows(len(rows.content))
    for link in links:
        one, two = joined.group(link)
        if one != two and joined.size(np.array([one, two])).sum() <= MOST_IN_CLUSTER:
            joined.join(link[None])
    copies = _copies(rows, shared)
    joined.join(copies)
    connected = joined.group(np.arange(len(rows.content)))
    hashes = rows.table["sha256"].to_numpy()
    found: list[tuple[Kind, Int64[np.ndarray, "m"]]] = []
    for some in _members(connected):
        kind: Kind = "same product"
        if len(np.unique(rows.content[some])) == 1:
            kind = "same file" if len(set(hashes[some])) == 1 else "same image"
        found.append((kind, some))
    return found


def _copies(rows: ComparedRows, shared: Int64[np.ndarray, "g"]) -> Pairs:
    """Each row with the first one of the same content."""
    usable = (rows.content >= 0) & ~np.isin(rows.content, shared)
    inside = np.flatnonzero(usable)
    _, first, group = np.unique(rows.content[inside], return_index=True, return_inverse=True)
    return np.stack([inside[first][group], inside], axis=1)


def _with_copies(rows: ComparedRows, pairs: Pairs) -> Int64[np.ndarray, "n"]:
    """Components of pairs, of which the copies of a row are part."""
    nothing = np.zeros(0, np.int64)
    return connected_components(
        len(rows.content), np.concatenate([pairs, _of_touched(_copies(rows, nothing), rows, pairs)])
    )


def _of_touched(copies: Pairs, rows: ComparedRows, pairs: Pairs) -> Pairs:
    return copies[np.isin(rows.content[copies[:, 0]], rows.content[pairs.ravel()])]


def _groups(kind: Kind, group: Int64[np.ndarray, "n"]) -> list[tuple[Kind, Int64[np.ndarray, "m"]]]:
    return [(kind, some) for some in _members(group)]


def _members(group: Int64[np.ndarray, "n"]) -> list[Int64[np.ndarray, "m"]]:
    """The rows of each group of at least two, in order of their first."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order])) + 1
    parts = [part for part in np.split(order, starts) if len(part) > 1]
    return sorted(parts, key=lambda part: int(part[0]))


def _as_table(
    rows: ComparedRows,
    clusters: Sequence[tuple[Kind, Int64[np.ndarray, "m"]]],
    threshold: Threshold,
) -> pl.DataFrame:
    """The lines of all clusters, the surest kinds first, and within a kind the highest scores."""
    drop_others = threshold.source == "given"
    found = [_lines(rows, kind, some, drop_others=drop_others) for kind, some in clusters]
    found.sort(key=lambda lines: (KINDS.index(lines[0]["kind"]), -lines[0]["score"]))
    numbered = [
        {"cluster": number, **line} for number, lines in enumerate(found, start=1) for line in lines
    ]
    return pl.DataFrame(numbered, schema=_COLUMNS)


def _lines(
    rows: ComparedRows, kind: Kind, some: Int64[np.ndarray, "m"], *, drop_others: bool
) -> list[dict[str, Any]]:
    """The lines of a cluster, the kept row first.

    Other photos are dropped only above a threshold that the user gave: of groceries, four in ten
    were another product above the one that known pairs gave (docs/benchmarks.md).
    """
    table = rows.table[some]
    area = (table["width"] * table["height"]).fill_null(0)
    # Of two catalogs, the first one is there to stay.
    order = np.lexsort((some, -area.to_numpy(), table["side"].to_numpy()))
    some, facts = some[order], table[order].to_dicts()
    kept, seen = facts[0], set[int]()
    last_side = rows.table["side"].max()
    lines = []
    for row, fact in zip(some.tolist(), facts, strict=True):
        is_equal = fact.pop("sha256") == rows.table["sha256"][int(some[0])]
        related: Kind = kind
        if kind == "same product" and rows.content[row] == rows.content[some[0]]:
            related = "same file" if is_equal else "same image"
        elif kind == "same image" and is_equal:
            related = "same file"
        # A damaged file may have a content and no vector.
        score = 1.0 if is_equal else round(float(rows.vectors[row] @ rows.vectors[some[0]]), 4)
        # Nothing is decided of kinds that are apart: their rows may be in a cluster of copies too.
        decision = KEEP if KINDS.index(kind) < KINDS.index("color variant") else ""
        if decision and fact is not kept and fact["side"] == last_side:
            is_copy = rows.content[row] in seen
            decision = DROP if is_copy or drop_others else ""
        seen.add(rows.content[row])
        lines.append({"kind": related, "score": score, "decision": decision, **fact})
    lines[0] |= {"kind": kind, "score": min((line["score"] for line in lines[1:]), default=1.0)}
    return lines
