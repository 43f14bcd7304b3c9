"""Disks without room, disks that cannot be written, folders that went or are named otherwise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from shopsight import write_errors
from shopsight.catalog.catalog import Catalog
from shopsight.commands.index import update_index
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import LockedError, ReadOnlyError, SearchError, WriteError
from shopsight.search import generation
from shopsight.search.build import build
from shopsight.search.changes import plan_changes, write_changes
from shopsight.search.disk_room import MARK_BYTES, engine_bytes, log_bytes
from shopsight.search.index import open_index
from shopsight.search.index_folder import IndexFolder, source_root
from shopsight.search.maintain import compact, migrate
from shopsight.vector_engines import edge_engine
from tests.search.vectors import (
    SeededEmbedder,
    assert_holds,
    empty_index,
    random_items,
)

pytest.importorskip("qdrant_edge")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return draw_catalog(tmp_path_factory.mktemp("photos") / "photos", products_per_class=2)


def small_index(folder: Path, count: int = 10) -> IndexFolder:
    place = empty_index(folder)
    with open_index(folder) as index:
        index.generation.write(random_items(range(count)))
    return place


def leave_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(write_errors, "free_bytes", lambda path: free)


def test_a_build_without_room_is_refused_before_it_embeds(
    photos: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_free(monkeypatch, 1 << 20)
    embedder = SeededEmbedder()
    with pytest.raises(WriteError, match=r"MB are needed, 1\.0 MB are free"):
        build(embedder, photos, tmp_path / "index")
    assert embedder.seen == []
    monkeypatch.undo()
    build(embedder, photos, tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        assert len(index) == len(photos)


def test_a_full_disk_is_an_error_and_no_bus_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped file on a full disk ends the process: nothing is written that has no room."""
    folder = tmp_path / "index"
    small_index(folder)
    with open_index(folder) as index:
        settings = index.info.settings()
        needed = log_bytes(1, settings) + engine_bytes(1, settings)
        leave_free(monkeypatch, needed - 1)
        with pytest.raises(WriteError, match="the disk is full"):
            index.generation.write(random_items([50]))
        index.generation.delete(["item-00003"])
        leave_free(monkeypatch, MARK_BYTES - 1)
        with pytest.raises(WriteError, match="the disk is full"):
            index.generation.delete(["item-00004"])
        with pytest.raises(WriteError, match="the disk is full"):
            compact(index)
        leave_free(monkeypatch, needed)
        index.generation.write(random_items([50]))
    monkeypatch.undo()
    assert [one.name for one in (folder / "generations").iterdir()] == ["000001"]
    assert_holds(folder, {n: 0 for n in (*range(10), 50) if n != 3})


def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine refuses files below a folder, as it does on a share that is read-only."""
    opens, makes = edge_engine.open_edge, edge_engine.create_edge

    def refusing(place: Path) -> object:
        if place.is_relative_to(folder):
            raise SearchError("Read-only file system (os error 30)", where=str(place))
        return opens(place)

    def not_made(place: Path, settings: object) -> object:
        if place.is_relative_to(folder):
            raise ReadOnlyError("it cannot be written: Read-only file system", where=str(place))
        return makes(place, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(edge_engine, "open_edge", refusing)
    monkeypatch.setattr(edge_engine, "create_edge", not_made)
    monkeypatch.setattr(generation, "discard_folder", lambda path: None)


def test_an_index_that_cannot_be_written_is_searched_in_a_copy_of_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "index", tmp_path / "cache"
    small_index(folder)
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(cache))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    read_only(folder, monkeypatch)
    assert_holds(folder, dict.fromkeys(range(10), 0))
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before
    assert [path for path in (cache / "engines").iterdir() if path.is_dir()] == []
    # Where the cache cannot be written either, the error says what to do.
    cache_file = tmp_path / "file"
    cache_file.write_text("", encoding="utf-8")
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(cache_file))
    with (
        pytest.raises(ReadOnlyError, match="neither the index nor the cache") as caught,
        open_index(folder) as index,
    ):
        index.query(index.vectors(), limit=1)
    assert "shopsight index snapshot" in str(caught.value)
    assert "SHOPSIGHT_CACHE" in str(caught.value)


@pytest.mark.posix("Windows has no such folders")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    """As any user but the one who may do everything."""
    if os.geteuid() == 0:
        pytest.skip("this user may write everywhere")
    folder = tmp_path / "index"
    small_index(folder)
    places = [folder, *(path for path in folder.rglob("*"))]
    for path in places:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        with open_index(folder) as index:
            assert len(index.query(index.vectors(), limit=1)) == 10
        with (
            pytest.raises(ReadOnlyError, match="index snapshot"),
            open_index(folder) as index,
        ):
            index.generation.delete(["item-00001"])
    finally:
        for path in places:
            path.chmod(0o700 if path.is_dir() else 0o600)


def test_a_change_of_what_cannot_be_written_names_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    small_index(folder)

    def refused(ids: object) -> int:
        raise ReadOnlyError("it cannot be written", where=str(folder / "generations" / "x"))

    with (  # noqa: PT012
        pytest.raises(ReadOnlyError, match=r"snapshot .*then change the copy") as caught,
        open_index(folder) as index,
    ):
        monkeypatch.setattr(index.generation.log, "write_deleted", refused)
        index.generation.delete(["item-00001"])
    assert caught.value.where == str(folder)


def test_who_finds_an_index_open_is_offered_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    small_index(folder)
    with (
        open_index(folder),
        pytest.raises(LockedError, match=r"index snapshot .*then search the copy"),
        open_index(folder),
    ):
        pass


def test_a_migration_without_its_photos_loses_nothing(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    build(SeededEmbedder(), open_catalog(folder), tmp_path / "index")
    (folder / "dress").rename(tmp_path / "away")
    new = SeededEmbedder("b")
    with open_index(tmp_path / "index") as index:
        with pytest.raises(SearchError, match="would be left behind: their images") as caught:
            migrate(index, new)
        assert "--allow-delete" in str(caught.value)
        assert len(index) == len(photos)
        assert index.info.space == SeededEmbedder().space
    (tmp_path / "away").rename(folder / "dress")
    seen = len(new.seen)
    with open_index(tmp_path / "index") as index:
        done = migrate(index, new)
        assert done.same + done.added == len(photos) == len(index)
        assert len(new.seen) - seen == done.added < len(photos)


def test_left_behind_by_the_user_s_word(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    build(SeededEmbedder(), open_catalog(folder), tmp_path / "index")
    shutil.rmtree(folder / "dress")
    with open_index(tmp_path / "index") as index:
        done = migrate(index, SeededEmbedder("b"), allow_delete=True)
        assert len(index) == len(photos) - len(done.failed)
        assert done.failed


def test_a_folder_is_one_source_however_it_is_named(
    photos: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path)
    build(SeededEmbedder(), open_catalog("photos"), tmp_path / "index")
    monkeypatch.chdir(tmp_path / "work")
    (gone, *_) = sorted(folder.rglob("*.jpg"))
    gone.unlink()
    catalog = open_catalog("../photos")
    with open_index("../index") as index:
        plan = plan_changes(catalog, index.generation, source=source_root(catalog))
        assert len(plan.same) == len(photos) - 1
        assert plan.vanished == [gone.relative_to(folder).as_posix()]


def test_a_folder_that_was_moved_is_the_same_source(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    build(SeededEmbedder(), open_catalog(folder), tmp_path / "index")
    # Photos beside them come from a folder that is there, and stay.
    other = tmp_path / "other"
    (other / "more").mkdir(parents=True)
    shutil.copyfile(photos.refs()[0], other / "more" / "one.jpg")
    with open_index(tmp_path / "index") as index:
        added = open_catalog(other)
        plan = plan_changes(added, index.generation, source=index.folder.add_source(added))
        new, written = SeededEmbedder(), index.generation.write
        done = write_changes(plan, added, index.generation, lambda: new, write=written)
        assert done.added == 1
    folder.rename(tmp_path / "moved")
    (gone, *_) = sorted((tmp_path / "moved").rglob("*.jpg"))
    gone.unlink()
    with open_index(tmp_path / "index") as index:
        catalog = open_catalog(tmp_path / "moved")
        plan = plan_changes(catalog, index.generation, source=source_root(catalog))
        assert plan.vanished == [gone.relative_to(tmp_path / "moved").as_posix()]


def test_a_dry_run_writes_nothing(photos: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.root, folder)
    build(SeededEmbedder(), open_catalog(folder), tmp_path / "index")
    shutil.copytree(folder, tmp_path / "copy")
    before = (tmp_path / "index" / "sources.json").read_bytes()
    update_index(tmp_path / "index", tmp_path / "copy", dry_run=True)
    assert (tmp_path / "index" / "sources.json").read_bytes() == before


def test_an_interrupted_build_may_name_another_server(tmp_path: Path) -> None:
    folder = IndexFolder(tmp_path / "index")
    folder.create(url="http://127.0.0.1:9")
    identity = folder.about()["id"]
    folder.set_url(None)
    assert folder.url is None
    assert folder.about()["id"] == identity
