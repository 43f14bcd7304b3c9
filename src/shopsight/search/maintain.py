"""Compact and migrate: a new generation beside the one that is searched, then one swap.

Both build for minutes or hours. Meanwhile the index answers and takes changes: these go into the
old generation's log, and are replayed into the new one before the pointer is swapped. Only this
last step holds changes up.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from shopsight import progress
from shopsight.errors import SearchError, ShopsightError
from shopsight.files import discard_folder, make_folder
from shopsight.held_files import flush, replace
from shopsight.inference.embedder import Embedder
from shopsight.output_paths import check_output_path
from shopsight.preprocess import Resize
from shopsight.search.builder import build_engine, copy_live
from shopsight.search.change_log import ChangeLog, Items
from shopsight.search.changes import MOST_VANISHED, Done
from shopsight.search.disk_room import check_room_for_engine
from shopsight.search.generation import (
    INFO_FILE,
    LOG,
    ROWS_AT_ONCE,
    Generation,
    GenerationInfo,
    read_info,
    write_info,
)
from shopsight.search.index import Index
from shopsight.search.index_precision import rounding_of_vectors
from shopsight.search.row_items import texts_of
from shopsight.search.text_vectors import embed_item_texts, text_kind
from shopsight.text import command_line, counted, percent_text

Convert = Callable[[Items], Items]


def compact(index: Index) -> None:
    """Write the index anew without what was deleted or replaced, and build its graph.

    Afterwards no byte of a deleted item is left in the folder.

    Raises:
        SearchError: the building process ended early; the index is as it was.
        WriteError: the disk is full; the index is as it was.
    """
    number = index.number + 1
    place = index.folder.new_building(number)
    until = index.generation.log.last()
    try:
        copy_live(
            index.generation.folder,
            place,
            until=until,
            collection=index.folder.collection(number),
            url=index.folder.url,
        )
    except ShopsightError:
        # Whoever frees room for the next try should not have to look for this.
        discard_folder(place)
        raise
    _swap(index, place, number, after=until, convert=lambda items: items)


def migrate(
    index: Index,
    embedder: Embedder,
    *,
    resize: Resize | None = None,
    allow_delete: bool = False,
) -> Done:
    """Embed all items with another model, and search by it; resumable.

    The index answers by the old model until the new generation is whole. Items whose files cannot
    be read now stay behind: they are listed, and not in the new generation. Where those are more
    than a tenth, as when a disk is not mounted, nothing is swapped.

    Args:
        index: that is open.
        embedder: the new model.
        resize: the framing that it was opened with.
        allow_delete: leave even more than a tenth behind.

    Raises:
        SearchError: more than a tenth of the images cannot be read, or none can.
        WriteError: the disk has no room for a second generation.
    """
    same_space = embedder.space.fingerprint == index.info.space.fingerprint
    if same_space and index.info.precision in (None, embedder.precision):
        raise SearchError(
            "the index is in the space of this model already", where=str(index.folder.path)
        )
    number = index.number + 1
    place = index.folder.migrating(number)
    text, text_dim = text_kind(embedder, texts_of(index.items()))
    info = index.info.model_copy(
        update={
            "model": str(embedder.name),
            "resize": resize,
            "space": embedder.space,
            "precision": embedder.precision,
            "rounding": rounding_of_vectors(embedder),
            "text": text,
            "text_dim": text_dim,
        }
    )
    log = _begin(place, info)
    until = index.generation.log.last()
    left = len(index) - log.live().height
    check_room_for_engine(place, info.settings(), len(index), logged=left, url=index.folder.url)
    done = _embed_all(index, index.items(), log, info, embedder)
    if not log.live().height:
        raise SearchError("no image of the index can be read", where=str(index.folder.path))
    log.close()
    if not allow_delete:
        _refuse_left_behind(index, embedder, done)
    build_engine(place, collection=index.folder.collection(number), url=index.folder.url)

    def convert(items: Items) -> Items:
        return _embedded(index, items.table, info, embedder, done)

    _swap(index, place, number, after=until, convert=convert)
    index.use(embedder)
    return done


def _refuse_left_behind(index: Index, embedder: Embedder, done: Done) -> None:
    fraction = len(done.failed) / max(1, len(index))
    if fraction <= MOST_VANISHED:
        return
    command = ["shopsight", "index", "migrate", index.folder.path, "--model", embedder.name]
    raise SearchError(
        f"{counted(len(done.failed), 'item')}, {percent_text(fraction)} of the index, would be "
        "left behind: their images cannot be read",
        where=str(index.folder.path),
        details=[f"{item}: {why}" for item, why in done.failed.items()],
        fix="see that all of DATA is there, and run the same command again: it goes on\n"
        + command_line([*command, "--allow-delete"]),
    )


def _begin(place: Path, info: GenerationInfo) -> ChangeLog:
    if (place / INFO_FILE).is_file() and read_info(place) != info:
        progress.notify("begins anew: a migration to another model was interrupted here")
        discard_folder(place)
    if not (place / INFO_FILE).is_file():
        make_folder(place)
        write_info(place, info)
    return ChangeLog(place / LOG, info.schema_)


def _embed_all(
    index: Index, items: pl.DataFrame, log: ChangeLog, info: GenerationInfo, embedder: Embedder
) -> Done:
    """Embed what an interrupted migration has not embedded yet, or otherwise than it is now."""
    done = Done()
    keys = ["id", "sha256", "row_hash"]
    there = log.live().select(keys)
    left = items.join(there, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    done.same = items.height - left.height
    if done.same:
        progress.notify(f"{done.same:,} items are there from a migration that was interrupted")
    gone = there.join(items.select("id"), on="id", how="anti")["id"].to_list()
    if gone:
        log.write_deleted(gone)
    with progress.task("Embedding", left.height, "items") as advance:
        for start in range(0, left.height, ROWS_AT_ONCE):
            some = left.slice(start, ROWS_AT_ONCE)
            embedded = _embedded(index, some, info, embedder, done)
            if len(embedded):
                log.write(embedded)
            done.added += len(embedded)
            advance(some.height)
    return done


def _embedded(
    index: Index, table: pl.DataFrame, info: GenerationInfo, embedder: Embedder, done: Done
) -> Items:
    """Items with vectors of a new model, without those whose files cannot be read now."""
    found = list(embedder.embed(index.named_images(table)))
    ids = table["id"].to_list()
    done.failed |= {
        item: one.error or "not readable"
        for item, one in zip(ids, found, strict=True)
        if one.vector is None
    }
    kept = [row for row, one in enumerate(found) if one.vector is not None]
    vectors = [one.vector for one in found if one.vector is not None]
    table = table[kept]
    text = embed_item_texts(texts_of(table), info.text, info.text_dim, embedder)
    return Items(table, np.array(vectors, np.float32).reshape(-1, info.space.embedding_dim), text)


def _swap(index: Index, place: Path, number: int, *, after: int, convert: Convert) -> None:
    """Replay what changed meanwhile, then search the new generation."""
    with index.writing:
        new = Generation(place, collection=index.folder.collection(number), url=index.folder.url)
        try:
            for _, change in index.generation.log.changes(after, rows=ROWS_AT_ONCE):
                if isinstance(change, list):
                    new.delete(change)
                elif len(converted := convert(change)):
                    new.write(converted)
        finally:
            new.close()
        final = index.folder.place(number)
        check_output_path(final)
        discard_folder(final)
        replace(place, final)
        flush(final.parent)
        index.swap(number)
