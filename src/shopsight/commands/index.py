"""Index: build one, and bring it up to what the shop has now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.used_boxes import FOR_BACKBONE, FOR_INDEX, with_used_boxes
from shopsight.datasets.open import open_catalog
from shopsight.embeddings.runner import LOCAL, Runner, opened_by
from shopsight.errors import ConfigError, SearchError
from shopsight.inference.embedder import Embedder
from shopsight.preprocess import Resize
from shopsight.read_options import ReadOptions
from shopsight.search.build import build
from shopsight.search.changes import MOST_VANISHED, Done, Plan, plan_changes, write_changes
from shopsight.search.engines import checked_url
from shopsight.search.generation import Generation
from shopsight.search.index import Index, open_index
from shopsight.search.index_folder import IndexFolder, source_root
from shopsight.text import command_line, counted, percent_text
from shopsight.vector_engines.engine import DEFAULT_EF, Storage


@dataclass(frozen=True)
class IndexChange:
    """What a change of an index did, or would do.

    Attributes:
        index: its folder.
        done: counts of items.
        num_items: items in the index afterwards.
        num_products: products that they show.
        dry_run: nothing was changed.
    """

    index: Path
    done: Done
    num_items: int
    num_products: int
    dry_run: bool = False

    @classmethod
    def of(
        cls, index: str | Path, done: Done, generation: Generation, *, dry_run: bool = False
    ) -> IndexChange:
        """A change, and what the generation that is searched holds after it."""
        counts = generation.live.height, generation.num_products
        return cls(Path(index), done, *counts, dry_run)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "index": str(self.index),
            "items": self.num_items,
            "products": self.num_products,
            "dry_run": self.dry_run,
            **self.done.to_json(),
        }


def build_index(
    model: str | Path | Embedder,
    data: str | Path | Catalog,
    *,
    out: str | Path,
    read: ReadOptions | None = None,
    keep: Sequence[str] = (),
    storage: Storage = "f16",
    url: str | None = None,
    resize: Resize | None = None,
    boxes: bool = False,
    device: str = "auto",
    runner: Runner = LOCAL,
    ef: int = DEFAULT_EF,
    shards: int | None = None,
    replicas: int | None = None,
) -> IndexChange:
    """Embed the images of DATA and make them an index that `search` answers from.

    Each distinct image is embedded once. An interrupted build goes on when it is called again.

    Args:
        model: a run, a bundle, or a backbone by name; nothing has to be trained.
        data: a folder, a table, the name of a data set, or a catalog; labels are not needed.
        out: a new folder.
        read: how DATA is read; None guesses everything.
        keep: columns of a table to filter by, beside label, split and text; without any, all with
            short cells.
        storage: how the engine keeps vectors: "f16", "f32", "int8" or "turbo8" (`EngineSettings`).
        url: of a Qdrant server that has the engine; None has it in process.
        resize: of a backbone, how an image becomes a square; None is how its library does it.
        boxes: of a backbone, look at the part of each image in its box; what was trained looks as
            it was trained, and boxes that it does not look at are said.
        device: see `shopsight.devices`.
        runner: who embeds: this process, or the workers of a Ray cluster. The vectors are the same.
        ef: candidates of a search in the graph; more find more and take longer.
        shards: parts of the collection on the server, which its nodes share; None is its own.
        replicas: copies of each part on the server; None is its own.

    Raises:
        SearchError: there is an index already, or the server cannot be used.
        ConfigError: an option would change nothing.
        EmbeddingError: there is no Ray cluster, or it cannot embed.
        CatalogError: DATA cannot be read, or two rows have one id.
        LockedError: another process builds it.
        ExtraMissingError: the extra `search` is not installed.
        WriteError: the disk is full.
    """
    address = None if url is None else checked_url(url)
    _refuse_without_server(address, shards=shards, replicas=replicas)
    catalog = open_catalog(data, read)
    with opened_by(runner, model, device=device, resize=resize, boxes=boxes) as embedder:
        catalog = with_used_boxes(catalog, used=embedder.preprocess.boxes, how=FOR_BACKBONE)
        done = build(
            embedder,
            catalog,
            out,
            resize=resize,
            keep=keep,
            storage=storage,
            url=address,
            ef=ef,
            shards=shards,
            replicas=replicas,
        )
    place = IndexFolder(out)
    with closing(place.generation(place.current())) as generation:
        return IndexChange.of(out, done, generation)


def _refuse_without_server(url: str | None, **parts: int | None) -> None:
    for name, count in parts.items():
        if url is None and count is not None:
            raise ConfigError(
                f"--{name} would change nothing here: the engine is in this process",
                fix="--url URL   (of a Qdrant cluster)",
            )


def add_to_index(
    index: str | Path,
    data: str | Path | Catalog,
    *,
    read: ReadOptions | None = None,
    device: str = "auto",
) -> IndexChange:
    """Put the images of DATA into an index; those that it has are brought up to date.

    When this returns, they are on the disk and found.

    Raises:
        SearchError: there is no index.
        CatalogError: DATA cannot be read.
        EmbeddingError: the index's model computes another space now.
        LockedError: another process has the index open.
    """
    return _changed(index, data, read, device, vanish=False, allow_delete=False, dry_run=False)


def update_index(
    index: str | Path,
    data: str | Path | Catalog,
    *,
    read: ReadOptions | None = None,
    allow_delete: bool = False,
    dry_run: bool = False,
    device: str = "auto",
) -> IndexChange:
    """Bring an index up to DATA: add what is new, embed anew what changed, remove what is gone.

    Changes are found by the content of files and the cells of rows. An image that cannot be read
    is not gone: what the index has of it stays.

    Args:
        index: its folder.
        data: all that the index is to hold of this folder or table.
        read: how DATA is read.
        allow_delete: remove also more than a tenth of the index.
        dry_run: say what would happen, and change nothing.
        device: see `shopsight.devices`.

    Raises:
        SearchError: there is no index, or more than a tenth of it is gone from DATA.
        CatalogError: DATA cannot be read; a folder that is not mounted has no images.
        LockedError: another process has the index open.
    """
    return _changed(
        index, data, read, device, vanish=True, allow_delete=allow_delete, dry_run=dry_run
    )


def remove_from_index(index: str | Path, ids: Sequence[str]) -> IndexChange:
    """Take items, or all items of products, out of an index; they are never found again.

    Their bytes are in the index's files until `compact_index`.

    Raises:
        SearchError: there is no index, or an id is unknown or ambiguous; nothing is removed.
        LockedError: another process has the index open.
    """
    with open_index(index) as opened:
        found = dict.fromkeys(item for name in ids for item in opened.resolve(name))
        with opened.writing:
            opened.generation.delete(list(found))
        return IndexChange.of(index, Done(removed=len(found)), opened.generation)


def _changed(
    index: str | Path,
    data: str | Path | Catalog,
    read: ReadOptions | None,
    device: str,
    *,
    vanish: bool,
    allow_delete: bool,
    dry_run: bool,
) -> IndexChange:
    IndexFolder(index).current()
    catalog = open_catalog(data, read)
    with open_index(index, device=device) as opened, opened.writing:
        catalog = with_used_boxes(catalog, used=opened.has_boxes, how=FOR_INDEX)
        plan = plan_changes(catalog, opened.generation, source=source_root(catalog))
        if vanish:
            _refuse_vanished(plan, opened, data, allow_delete=allow_delete or dry_run)
        if dry_run:
            done = _would_do(plan)
        else:
            opened.add_source(catalog)
            done = write_changes(
                plan, catalog, opened.generation, opened.embedder, write=opened.generation.write
            )
            if vanish and plan.vanished:
                opened.generation.delete(plan.vanished)
                done.removed = len(plan.vanished)
        return IndexChange.of(index, done, opened.generation, dry_run=dry_run)


def _refuse_vanished(
    plan: Plan, index: Index, data: str | Path | Catalog, *, allow_delete: bool
) -> None:
    fraction = len(plan.vanished) / max(1, len(index))
    if allow_delete or fraction <= MOST_VANISHED:
        return
    named = data.name if isinstance(data, Catalog) else data
    command = ["shopsight", "index", "update", index.folder.path, named]
    raise SearchError(
        f"{counted(len(plan.vanished), 'item')}, {percent_text(fraction)} of the index, would be "
        "removed: DATA has them no more",
        where=str(named),
        details=plan.vanished,
        fix=f"see that all of DATA is there\n{command_line([*command, '--allow-delete'])}\n"
        f"{command_line(['shopsight', 'index', 'add', *command[3:]])}   (removes nothing)",
    )


def _would_do(plan: Plan) -> Done:
    return Done(
        added=len(plan.new),
        changed=len(plan.changed),
        rewritten=len(plan.rewritten),
        removed=len(plan.vanished),
        same=len(plan.same),
        failed=plan.failed(),
    )
