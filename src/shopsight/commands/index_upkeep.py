"""Index: what is in it, whether it is sound, and how it is written anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shopsight.commands.index import IndexChange
from shopsight.inference.embedder import Embedder
from shopsight.inference.open_embedder import open_embedder
from shopsight.preprocess import Resize
from shopsight.search.generation import ENGINE, LOG
from shopsight.search.index import Index, open_index
from shopsight.search.maintain import compact, migrate
from shopsight.search.snapshot import snapshot
from shopsight.search.verify import Check, verify
from shopsight.vector_engines.filters import Schema


@dataclass(frozen=True)
class IndexInfo:
    """What an index is and holds.

    Attributes:
        index: its folder.
        num_items: its items.
        num_products: the products that they show; 0 where it knows none.
        unit: what an answer consists of: "product" or "image".
        not_in_graph: items that are not in the engine's graph yet: they are found, one by one.
        model: that queries are embedded by.
        space: fingerprint of the embedding space.
        precision: in which its vectors were computed; None of an index from before it was written
            down.
        embedding_dim: numbers in a vector.
        texts: how items' texts became vectors: "none", "encoder" or "words".
        engine: its name.
        storage: how it keeps vectors.
        columns: kind of each column that can be filtered by.
        sources: folders and addresses that images come from.
        generation: number of the generation that is searched.
        disk_bytes: what the parts take on the disk.
        items: ids, where they were asked for.
    """

    index: Path
    num_items: int
    num_products: int
    unit: str
    not_in_graph: int
    model: str
    space: str
    precision: str | None
    embedding_dim: int
    texts: str
    engine: str
    storage: str
    columns: Schema
    sources: tuple[str, ...]
    generation: int
    disk_bytes: dict[str, int]
    items: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            **vars(self),
            "index": str(self.index),
            "columns": dict(self.columns),
            "sources": list(self.sources),
            "items": list(self.items),
        }


def index_info(index: str | Path, *, items: bool = False) -> IndexInfo:
    """Say what an index is and holds.

    Args:
        index: its folder.
        items: list all ids too.

    Raises:
        SearchError: there is no index, or it is damaged.
        LockedError: another process has it open.
    """
    with open_index(index) as opened:
        live, info = opened.generation.live, opened.info
        return IndexInfo(
            index=Path(index),
            num_items=live.height,
            num_products=opened.num_products,
            unit=opened.unit,
            not_in_graph=_not_in_graph(opened),
            model=info.model,
            space=info.space.fingerprint,
            precision=info.precision,
            embedding_dim=info.space.embedding_dim,
            texts=info.text,
            engine=opened.generation.engine.name,
            storage=info.storage,
            columns=opened.schema,
            sources=tuple(opened.folder.sources()),
            generation=opened.number,
            disk_bytes=_disk_bytes(opened),
            items=tuple(live["id"].to_list()) if items else (),
        )


def _not_in_graph(index: Index) -> int:
    """Below the number from which there is a graph, none is missing in it."""
    return index.generation.engine.unindexed() if len(index) > index.info.exact_below else 0


def _disk_bytes(index: Index) -> dict[str, int]:
    place = index.generation.folder
    parts = {"items and vectors": place / LOG, "engine": place / ENGINE}
    sizes = {name: _bytes_below(folder) for name, folder in parts.items()}
    return {**sizes, "all": _bytes_below(index.folder.path)}


def _bytes_below(folder: Path) -> int:
    """What files take on the disk: engines write files with holes, which look larger."""
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            total += getattr(state, "st_blocks", -(-state.st_size // 512)) * 512
    return total


def verify_index(index: str | Path, *, device: str = "auto") -> tuple[Check, ...]:
    """Check an index: its counts, its vectors against its images, its graph against exact search.

    Raises:
        SearchError: there is no index, or it is damaged.
        LockedError: another process has it open.
    """
    with open_index(index, device=device) as opened:
        return tuple(verify(opened))


def compact_index(index: str | Path) -> IndexInfo:
    """Write an index anew: what was removed is gone from the disk, and everything in the graph.

    Raises:
        SearchError: there is no index, or the building process ended early.
        LockedError: another process has it open.
        WriteError: the disk is full.
    """
    with open_index(index) as opened:
        compact(opened)
    return index_info(index)


def migrate_index(
    index: str | Path,
    *,
    model: str | Path | Embedder,
    resize: Resize | None = None,
    allow_delete: bool = False,
    device: str = "auto",
) -> IndexChange:
    """Embed all images of an index by another model, and search by it from then on; resumable.

    Args:
        index: its folder.
        model: a run, a bundle, or a backbone by name.
        resize: of a backbone, how an image becomes a square; None is how its library does it.
        allow_delete: leave even more than a tenth of the items behind, whose images cannot be read.
        device: see `shopsight.devices`.

    Raises:
        SearchError: there is no index, it is in this model's space already, or more than a tenth
            of its images cannot be read.
        ConfigError: the items are boxes, and the model was trained on whole images.
        WriteError: the disk has no room for a second generation.
        LockedError: another process has it open.
    """
    with open_index(index, device=device) as opened:
        embedder = open_embedder(model, device=device, resize=resize, boxes=opened.has_boxes)
        done = migrate(opened, embedder, resize=resize, allow_delete=allow_delete)
        return IndexChange.of(index, done, opened.generation)


def snapshot_index(index: str | Path, *, out: str | Path) -> int:
    """Copy an index as it is at one moment, also while another process changes it.

    Args:
        index: its folder.
        out: a new folder, which opens as an index.

    Returns:
        Number of items in the copy.

    Raises:
        SearchError: there is no index, or `out` exists.
        WriteError: the disk is full.
    """
    return snapshot(index, out)
