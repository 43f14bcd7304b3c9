from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import draw_catalog
from shopsight.embeddings.embed_rows import embed_rows
from shopsight.errors import EmbeddingError, LockedError, SearchError
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.predictor import Embedding
from shopsight.search import changes, maintain
from shopsight.search.build import build
from shopsight.search.change_log import ChangeLog, located
from shopsight.search.changes import plan_changes, write_changes
from shopsight.search.index import Index, open_index
from shopsight.search.index_folder import source_root
from shopsight.search.maintain import compact, migrate
from shopsight.search.snapshot import snapshot
from shopsight.search.verify import verify
from shopsight.vector_engines.filters import Compare
from tests.search.vectors import (
    SeededEmbedder,
    assert_holds,
    drawn,
    empty_index,
    random_items,
)

pytest.importorskip("qdrant_edge")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return draw_catalog(tmp_path_factory.mktemp("photos") / "photos", products_per_class=2)


class Stopping(SeededEmbedder):
    """Interrupted after some images."""

    def __init__(self, after: int, name: str = "a") -> None:
        super().__init__(name)
        self._after = after

    def embed(self, images: ImageInputs, **options: Any) -> Iterator[Embedding]:
        for one in super().embed(images, **options):
            if len(self.seen) > self._after:
                raise KeyboardInterrupt
            yield one


def built(catalog: Catalog, out: Path) -> SeededEmbedder:
    embedder = SeededEmbedder()
    build(embedder, catalog, out)
    return embedder


def test_what_is_built_is_found_and_knows_its_products(photos: Catalog, tmp_path: Path) -> None:
    built(photos, tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        assert len(index) == len(photos)
        assert index.unit == "product"
        first = index.items().row(0, named=True)
        (hits,) = index.query(index.vectors([first["id"]]), limit=3)
        assert hits[0].id == first["id"]
        assert hits[0].columns["label"] == first["label"]
        assert index.resolve(first["product"]) == tuple(
            index.items().filter(product=first["product"])["id"]
        )
        (only,) = index.query(
            index.vectors([first["id"]]), limit=99, where=Compare("label", "==", "dress")
        )
        assert {hit.columns["label"] for hit in only} == {"dress"}
        assert Path(str(index.named_image(first["id"]).image)).is_file()
        assert index.thumbnail(first["id"]).startswith("data:image/webp")


def test_unknown_and_ambiguous_names_are_errors(tmp_path: Path) -> None:
    empty_index(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        index.generation.write(random_items(range(6)))
        with pytest.raises(SearchError, match="did you mean item-00001"):
            index.resolve("item-0001")
        both = random_items([7, 8])
        both.table[0, "id"] = "P-1"
        index.generation.write(both)
        with pytest.raises(SearchError, match="an item and a product"):
            index.resolve("P-1")


def test_equal_images_are_embedded_once(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    (first, *_) = sorted(folder.rglob("*.jpg"))
    shutil.copyfile(first, first.with_name("copy.jpg"))
    embedder = built(open_catalog(folder), tmp_path / "index")
    assert len(embedder.seen) == len(photos)
    with open_index(tmp_path / "index") as index:
        assert len(index) == len(photos) + 1


def changed(index: Index, folder: Path, embedder: SeededEmbedder) -> tuple[object, list[str]]:
    catalog = open_catalog(folder)
    index.add_source(catalog)
    plan = plan_changes(catalog, index.generation, source=source_root(catalog))
    done = write_changes(
        plan, catalog, index.generation, lambda: embedder, write=index.generation.write
    )
    return done, plan.vanished


def test_only_what_changed_is_embedded(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    built(open_catalog(folder), tmp_path / "index")
    files = sorted(folder.rglob("*.jpg"))
    files[0].write_bytes(files[1].read_bytes())  # Another image under the same name.
    files[2].unlink()
    shutil.copyfile(photos.refs()[3], folder / "bag" / "new.jpg")
    data = bytearray(files[5].read_bytes())
    data[-2:] = b"\xff\xd9"
    embedder = SeededEmbedder()
    with open_index(tmp_path / "index") as index:
        done, vanished = changed(index, folder, embedder)
        assert sorted(Path(one).name for one in embedder.seen) == sorted([files[0].name, "new.jpg"])
        assert (done.added, done.changed, done.same) == (1, 1, len(photos) - 2)  # type: ignore[attr-defined]
        assert vanished == [files[2].relative_to(folder).as_posix()]
        (name,) = (files[0].relative_to(folder).as_posix(),)
        np.testing.assert_allclose(
            index.vectors([name])[0], drawn(b"a" + files[1].read_bytes()), atol=1e-3
        )


def test_images_of_a_folder_that_was_added_are_shown_at_once(
    photos: Catalog, tmp_path: Path
) -> None:
    built(photos, tmp_path / "index")
    (tmp_path / "more").mkdir()
    shutil.copyfile(photos.refs()[0], tmp_path / "more" / "new.jpg")
    with open_index(tmp_path / "index") as index:
        assert index.thumbnail(index.items()["id"][0])
        changed(index, tmp_path / "more", SeededEmbedder())
        assert index.thumbnail("new.jpg")


def test_what_cannot_be_read_is_not_gone(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    built(open_catalog(folder), tmp_path / "index")
    (first, *_) = sorted(folder.rglob("*.jpg"))
    first.write_bytes(b"")
    with open_index(tmp_path / "index") as index:
        done, vanished = changed(index, folder, SeededEmbedder())
        name = first.relative_to(folder).as_posix()
        assert list(done.failed) == [name]  # type: ignore[attr-defined]
        assert vanished == []
        assert index.query(index.vectors([name]), limit=1)[0][0].id == name


@pytest.mark.posix("Windows flushes no folders")
def test_changes_are_on_the_disk_before_they_are_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of a change, its folder and the log's folder are flushed, then the engine is."""
    empty_index(tmp_path / "index")
    flushed: list[str] = []
    plain = os.fsync

    def counting(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        plain(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("names open files by /proc")
    with open_index(tmp_path / "index") as index:
        index.generation.write(random_items(range(3)))
        monkeypatch.setattr(os, "fsync", counting)
        engine = index.generation.engine
        order: list[str] = []
        flush = engine.flush
        monkeypatch.setattr(engine, "flush", lambda: (order.append("engine"), flush()))
        index.generation.write(random_items([5]))
        log = tmp_path / "index" / "generations" / "000001" / "log"
        names = {Path(one).name for one in flushed}
        assert {"items.parquet", "image.npy"} <= names
        assert str(log) in flushed
        assert order == ["engine"]
        flushed.clear()
        index.generation.delete(["item-00001"])
        assert "deleted.parquet" in {Path(one).name for one in flushed}
        assert order == ["engine", "engine"]


def test_an_engine_that_is_gone_or_damaged_is_built_from_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(20)))
        index.generation.delete(["item-00003"])
    expected = {number: 0 for number in range(20) if number != 3}
    engine = folder / "generations" / "000001" / "engine"
    shutil.rmtree(engine)
    assert_holds(folder, expected)
    for file in (engine / "shard").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    assert_holds(folder, expected)


def test_changes_that_an_engine_missed_are_applied(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(10)))
        # Killed between log and engine.
        index.generation.log.write(random_items([2, 30], version=1))
        index.generation.log.write_deleted(["item-00004"])
    expected = {number: 0 for number in range(10) if number != 4} | {2: 1, 30: 1}
    assert_holds(folder, expected)


def test_deleted_items_leave_the_disk_when_it_is_compacted(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(50), secret="sunflower-"))
        index.generation.write(random_items(range(3), secret="rosemary-"))
        assert index.query(index.vectors(["item-00001"]), limit=1)[0][0].id == "item-00001"
        index.generation.delete([f"item-{number:05d}" for number in range(3)])
        hits = index.query(np.stack([drawn(b"1 0")]), limit=50)[0]
        assert "item-00001" not in {hit.id for hit in hits}
        compact(index)
        assert index.number == 2
    held = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"sunflower-40" in held
    assert b"rosemary-1" not in held
    assert b"sunflower-1\x00" not in held
    assert b"item-00001" not in held
    assert_holds(folder, dict.fromkeys(range(3, 50), 0))


def test_changes_while_it_is_compacted_are_in_the_new_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    plain = maintain.copy_live
    with open_index(folder) as index:
        index.generation.write(random_items(range(30)))

        def meanwhile(*args: object, **kwargs: object) -> None:
            plain(*args, **kwargs)  # type: ignore[arg-type]
            index.generation.write(random_items([1, 99], version=7))
            index.generation.delete(["item-00002"])

        monkeypatch.setattr(maintain, "copy_live", meanwhile)
        compact(index)
    expected = {number: 0 for number in range(30) if number != 2} | {1: 7, 99: 7}
    assert_holds(folder, expected)


def test_searches_go_on_while_it_is_compacted(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(200)))
        done, wrong = threading.Event(), []

        def search() -> None:
            queries = np.stack([drawn(b"7 0"), drawn(b"8 0")])
            while not done.is_set():
                found = [hits[0].id for hits in index.query(queries, limit=1)]
                if found != ["item-00007", "item-00008"]:
                    wrong.append(found)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        compact(index)
        compact(index)
        done.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert index.number == 3


def test_a_migration_goes_on_where_it_stopped(
    photos: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(photos, tmp_path / "index")
    new = SeededEmbedder("b")
    with open_index(tmp_path / "index") as index:
        before = index.items()

        monkeypatch.setattr(maintain, "ROWS_AT_ONCE", 3)
        with pytest.raises(KeyboardInterrupt):
            migrate(index, Stopping(5, "b"))
        assert index.info.space == SeededEmbedder().space
    with open_index(tmp_path / "index") as index:
        done = migrate(index, new)
        assert done.same == 3
        assert len(new.seen) == len(photos) - done.same
        assert index.info.space == new.space
        assert index.items().equals(before)
        item = before["id"][0]
        file = Path(photos.root) / item
        np.testing.assert_allclose(
            index.vectors([item])[0], drawn(b"b" + file.read_bytes()), atol=1e-3
        )
        with pytest.raises(SearchError, match="already"):
            migrate(index, new)


def test_a_model_of_another_space_is_refused(photos: Catalog, tmp_path: Path) -> None:
    built(photos, tmp_path / "index")
    with (
        open_index(tmp_path / "index") as index,
        pytest.raises(EmbeddingError, match="another space") as caught,
    ):
        index.use(SeededEmbedder("b"))
    assert "backbone: timm:a and timm:b" in str(caught.value)
    assert "index migrate" in str(caught.value)


def test_one_process_owns_an_index(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    code = (
        "import sys; from shopsight.search.index import open_index\n"
        f"with open_index({str(folder)!r}): print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(LockedError, match=str(other.pid)), open_index(folder):
            pass
        # A copy needs no lock.
        assert snapshot(folder, tmp_path / "copy") == 0
    finally:
        other.stdin.close()
        other.wait()
        other.stdout.close()
    with open_index(folder):
        pass


def test_a_snapshot_opens_as_an_index(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(10)))
        index.generation.delete(["item-00000"])
        assert snapshot(folder, tmp_path / "copy") == 9
        index.generation.write(random_items([50]))
    assert_holds(tmp_path / "copy", dict.fromkeys(range(1, 10), 0))
    with pytest.raises(SearchError, match="exists"):
        snapshot(folder, tmp_path / "copy")


def test_an_interrupted_build_goes_on(
    photos: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "embed_rows", partial(embed_rows, at_once=4))
    with pytest.raises(KeyboardInterrupt):
        build(Stopping(10), photos, tmp_path / "index")
    with pytest.raises(SearchError, match="not finished"), open_index(tmp_path / "index"):
        pass
    embedder = SeededEmbedder()
    done = build(embedder, photos, tmp_path / "index")
    assert done.same == 8
    assert len(embedder.seen) == len(photos) - 8
    with open_index(tmp_path / "index") as index:
        assert len(index) == len(photos)
    with pytest.raises(SearchError, match="an index already"):
        build(embedder, photos, tmp_path / "index")


def test_verification_finds_what_is_wrong(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    built(open_catalog(folder), tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        index.use(SeededEmbedder())
        assert all(check.ok for check in verify(index))
        index.generation.engine.delete([index.items()["id"][0]])
        files = sorted(folder.rglob("*.jpg"))
        files[1].write_bytes(files[2].read_bytes())
        failed = {check.name for check in verify(index) if check.ok is False}
        assert failed == {"counts", "own vectors", "images"}


def test_damage_and_newer_formats_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(SearchError, match="no such index"), open_index(folder):
        pass
    empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(3)))
    (change,) = (folder / "generations" / "000001" / "log").iterdir()
    whole = (change / "image.npy").read_bytes()
    (change / "image.npy").write_bytes(whole[:-40])
    shutil.rmtree(folder / "generations" / "000001" / "engine")
    with pytest.raises(SearchError, match="damaged"), open_index(folder) as index:
        len(index)
    about = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    (folder / "index.json").write_text(json.dumps(about | {"format_version": 9}), encoding="utf-8")
    with pytest.raises(SearchError, match="format 9"), open_index(folder):
        pass


def test_vectors_of_the_log_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    log = ChangeLog(tmp_path / "log", {"version": "integer", "note": "text"})
    first = log.write(random_items(range(5)))
    log.write(random_items([2], version=1))
    log.write_deleted(["item-00004"])
    live = log.live()
    assert live["id"].to_list() == [f"item-{n:05d}" for n in range(4)]
    vectors = log.vectors(live)
    versions = [0, 0, 1, 0]
    expected = np.stack([drawn(f"{n} {v}".encode()) for n, v in enumerate(versions)])
    np.testing.assert_allclose(vectors, expected, atol=1e-3)
    assert log.live(until=first).height == 5
    table = log.read(first)
    assert not isinstance(table, list)
    np.testing.assert_allclose(log.vectors(located(table, first))[2], drawn(b"2 0"), atol=1e-3)
    log.close()
