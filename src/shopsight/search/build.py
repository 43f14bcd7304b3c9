"""Build an index: embed a catalog into its first generation, resumable, and build the engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.errors import SearchError
from shopsight.files import discard_folder, make_folder
from shopsight.inference.embedder import Embedder
from shopsight.output_locks import only_writer_of_folder
from shopsight.preprocess import Resize
from shopsight.safe_names import PART_PREFIX
from shopsight.search.builder import build_engine
from shopsight.search.changes import Done, plan_changes, write_changes
from shopsight.search.generation import INFO_FILE, GenerationInfo, read_info, write_info
from shopsight.search.index_folder import IndexFolder
from shopsight.search.index_precision import rounding_of_vectors
from shopsight.search.kept_columns import choose_columns
from shopsight.search.row_items import texts_of
from shopsight.search.text_vectors import text_kind
from shopsight.text import command_line
from shopsight.vector_engines.engine import DEFAULT_EF, EXACT_BELOW, Storage

FIRST = 1


def build(
    embedder: Embedder,
    catalog: Catalog,
    out: Path | str,
    *,
    resize: Resize | None = None,
    keep: Sequence[str] = (),
    storage: Storage = "f16",
    url: str | None = None,
    exact_below: int = EXACT_BELOW,
    ef: int = DEFAULT_EF,
    shards: int | None = None,
    replicas: int | None = None,
) -> Done:
    """Build the index of a catalog in a new folder; an interrupted build goes on.

    Args:
        embedder: the model.
        catalog: what is to be found.
        out: the folder of the index.
        resize: the framing that the embedder was opened with.
        keep: columns to keep beside label, split and text; see `choose_columns`.
        storage: how the engine keeps vectors.
        url: of a Qdrant server that has the engine; None has it in process.
        exact_below: items up to which every search is exact.
        ef: candidates of a search in the graph.
        shards: parts of the collection on a server; None is the server's own.
        replicas: copies of each part on a server; None is the server's own.

    Raises:
        SearchError: there is an index already, or something else; nothing can be embedded.
        CatalogError: two rows have one id.
        LockedError: another process builds it.
        WriteError: the disk is full.
    """
    folder = IndexFolder(out)
    _refuse_others(folder)
    text, text_dim = text_kind(embedder, texts_of(catalog.table))
    info = GenerationInfo(
        model=str(embedder.name),
        resize=resize,
        space=embedder.space,
        precision=embedder.precision,
        rounding=rounding_of_vectors(embedder),
        schema=dict(choose_columns(catalog.table, keep, where=catalog.name)),
        text=text,
        text_dim=text_dim,
        storage=storage,
        exact_below=exact_below,
        ef=ef,
        shards=shards,
        replicas=replicas,
    )
    make_folder(folder.path)
    with only_writer_of_folder(folder.path):
        _refuse_others(folder)
        if not folder.exists():
            folder.create(url=url)
        elif folder.url != url:
            folder.set_url(url)
        place = folder.place(FIRST)
        _begin(place, info)
        return _filled(folder, embedder, catalog)


def _refuse_others(folder: IndexFolder) -> None:
    path = folder.path
    if folder.is_built():
        raise SearchError(
            "there is an index already",
            where=str(path),
            fix=command_line(["shopsight", "index", "update", path, "DATA"])
            + "   (brings it up to DATA)\nname another folder",
        )
    if path.exists() and not folder.exists() and (not path.is_dir() or _holds_files(path)):
        raise SearchError(
            "exists and is no index", where=str(path), fix="name a folder that is not there"
        )


def _holds_files(path: Path) -> bool:
    return any(not one.name.startswith(PART_PREFIX) for one in path.iterdir())


def _begin(place: Path, info: GenerationInfo) -> None:
    """Start the first generation, or go on with one that was interrupted."""
    if (place / INFO_FILE).is_file():
        before = read_info(place)
        if before == info:
            return
        progress.notify(
            "begins anew: the model, its precision or the columns are others than those before"
        )
    discard_folder(place)
    write_info(place, info)


def _filled(folder: IndexFolder, embedder: Embedder, catalog: Catalog) -> Done:
    place = folder.place(FIRST)
    source = folder.add_source(catalog)
    with closing(folder.generation(FIRST)) as generation:
        plan = plan_changes(catalog, generation, source=source)
        if plan.same:
            progress.notify(f"{len(plan.same):,} items are there from a build that was interrupted")
        # The engine is filled at the end, with what an interrupted build left too.
        generation.check_room_for_all(len(plan.new) + len(plan.changed))
        log = generation.log
        done = write_changes(plan, catalog, generation, lambda: embedder, write=log.write)
        if plan.vanished:
            log.write_deleted(plan.vanished)
        if not log.live().height:
            raise SearchError(
                "no image could be embedded",
                where=catalog.name,
                details=[f"{item}: {why}" for item, why in done.failed.items()],
            )
    build_engine(place, collection=folder.collection(FIRST), url=folder.url)
    folder.set_current(FIRST)
    return done
