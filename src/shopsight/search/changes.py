"""Bring a catalog into a generation: what is new is embedded, what changed anew, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from shopsight import paths
from shopsight.catalog.catalog import Catalog
from shopsight.embeddings.contents import content_keys, hash_contents
from shopsight.embeddings.embed_rows import embed_rows
from shopsight.inference.embedder import Embedder
from shopsight.search.change_log import Items
from shopsight.search.generation import ROWS_AT_ONCE, Generation
from shopsight.search.row_items import item_table, texts_of
from shopsight.search.text_vectors import embed_item_texts

MOST_VANISHED = 0.1
"""Fraction of an index that may be gone without a word from the user."""
_BOX = ("box_x", "box_y", "box_w", "box_h")


@dataclass(frozen=True, eq=False)
class Plan:
    """What has to happen so that an index holds a catalog.

    Attributes:
        items: of the catalog, in its order.
        new: rows whose ids the index does not have.
        changed: rows whose image or box changed, which are embedded anew.
        rewritten: rows of which only other cells changed.
        same: rows that are as they were.
        unreadable: why the file of a row cannot be read, by row; what the index has of it stays.
        vanished: ids that the index has of this source and the catalog has not.
    """

    items: pl.DataFrame
    new: list[int]
    changed: list[int]
    rewritten: list[int]
    same: list[int]
    unreadable: dict[int, str]
    vanished: list[str]

    def failed(self) -> dict[str, str]:
        """Why an image cannot be read, by its id."""
        ids = self.items["id"].to_list()
        return {ids[row]: why for row, why in self.unreadable.items()}


@dataclass
class Done:
    """What a change did.

    Attributes:
        added: items that are new.
        changed: items that were embedded anew.
        rewritten: items of which only cells were written anew.
        removed: items that are gone.
        same: items that were left as they are.
        failed: why an image has no embedding, by the item's id.
    """

    added: int = 0
    changed: int = 0
    rewritten: int = 0
    removed: int = 0
    same: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return dict(vars(self))


def plan_changes(catalog: Catalog, generation: Generation, *, source: str) -> Plan:
    """Compare a catalog with a generation, by the content of files and the cells of rows.

    Args:
        catalog: every file of it is read once.
        generation: what the index has.
        source: the catalog's root, as the index names it.

    Raises:
        CatalogError: two rows have one id, or a cell is not of its column's kind.
    """
    contents = hash_contents(catalog)
    items = item_table(catalog, generation.info.schema_, source=source)
    items = items.with_columns(contents.sha256)
    live = generation.live
    before = items.select("id").join(
        live.select("id", "sha256", "row_hash", *_BOX),
        on="id",
        how="left",
        maintain_order="left",
        suffix="_before",
    )
    known = items["id"].is_in(live["id"].implode()).to_numpy()
    readable = contents.readable
    equal = (before["sha256"] == items["sha256"]).fill_null(False).to_numpy()
    for name in _BOX:
        equal &= before[name].eq_missing(items[name]).to_numpy()
    same_cells = (before["row_hash"] == items["row_hash"]).fill_null(False).to_numpy()
    return Plan(
        items=items,
        new=np.flatnonzero(~known & readable).tolist(),
        changed=np.flatnonzero(known & readable & ~equal).tolist(),
        rewritten=np.flatnonzero(known & equal & ~same_cells).tolist(),
        same=np.flatnonzero(known & equal & same_cells).tolist(),
        unreadable={row: str(error) for row, error in contents.errors.items()},
        vanished=_vanished(live, items, source),
    )


def _vanished(live: pl.DataFrame, items: pl.DataFrame, source: str) -> list[str]:
    """Ids of the index that a catalog should have and has not.

    A source that is not there any more, and most of whose items the catalog has by their ids, is
    this one before somebody moved or renamed its folder.
    """
    there = pl.col("id").is_in(items["id"].implode())
    sources = live.group_by("source").agg(there.mean().alias("share")).rows()
    mine = [
        one
        for one, share in sources
        if one == source or len(sources) == 1 or (share > 0.5 and is_gone(one))
    ]
    return live.filter(pl.col("source").is_in(mine) & ~there)["id"].to_list()


def is_gone(source: str) -> bool:
    """Whether a folder that images came from is not there now."""
    return bool(source) and not paths.is_url(source) and not paths.exists(source)


def write_changes(
    plan: Plan,
    catalog: Catalog,
    generation: Generation,
    embedder: Callable[[], Embedder],
    *,
    write: Callable[[Items], object],
) -> Done:
    """Embed and write what a plan says; each piece is on the disk before the next begins.

    Args:
        plan: from `plan_changes`; what vanished is not deleted here.
        catalog: the same.
        generation: whose settings and vectors count.
        embedder: opens the model; not called where nothing is to be embedded.
        write: puts items in.

    Raises:
        WriteError: the disk has no room for them; nothing was embedded.
    """
    done = Done(rewritten=len(plan.rewritten), same=len(plan.same), failed=plan.failed())
    rows = sorted([*plan.new, *plan.changed])
    written = len(rows) + len(plan.rewritten)
    if written:
        generation.check_room(written)
    if rows:
        keys = content_keys(catalog, plan.items["sha256"])[rows]
        _embed(plan, catalog, rows, keys, generation, embedder(), write, done)
    for start in range(0, len(plan.rewritten), ROWS_AT_ONCE):
        some = plan.items[plan.rewritten[start : start + ROWS_AT_ONCE]]
        write(_with_old_vectors(some, generation, embedder))
    return done


def _embed(
    plan: Plan,
    catalog: Catalog,
    rows: Sequence[int],
    keys: pl.Series,
    generation: Generation,
    embedder: Embedder,
    write: Callable[[Items], object],
    done: Done,
) -> None:
    ids, new = plan.items["id"].to_list(), set(plan.new)
    info = generation.info
    for batch in embed_rows(embedder, catalog.take(rows), keys):
        chosen = [rows[number] for number in batch.rows]
        if chosen:
            table = plan.items[chosen]
            text = embed_item_texts(texts_of(table), info.text, info.text_dim, embedder)
            write(Items(table, batch.vectors, text))
        done.added += sum(row in new for row in chosen)
        done.changed += sum(row not in new for row in chosen)
        done.failed |= {ids[rows[number]]: why for number, why in batch.errors.items()}


def _with_old_vectors(
    table: pl.DataFrame, generation: Generation, embedder: Callable[[], Embedder]
) -> Items:
    """Items with new cells and the image vectors that they had."""
    info = generation.info
    places = table.select("id").join(generation.live, on="id", how="left", maintain_order="left")
    image = generation.log.vectors(places)
    needs_encoder = info.text == "encoder"
    text = embed_item_texts(
        texts_of(table), info.text, info.text_dim, embedder() if needs_encoder else None
    )
    return Items(table, image, text)
