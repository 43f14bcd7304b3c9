"""Builds and migrations that are killed at random moments go on from what was embedded."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import draw_catalog
from shopsight.safe_names import PART_PREFIX
from shopsight.search.build import build
from shopsight.search.change_log import ChangeLog
from shopsight.search.generation import LOG, read_info
from shopsight.search.index import open_index
from shopsight.search.index_folder import MIGRATING, IndexFolder
from shopsight.search.maintain import compact, migrate
from tests.search.vectors import SeededEmbedder, drawn

pytest.importorskip("qdrant_edge")

KILLED = Path(__file__).with_name("killed_build.py")
LONGEST_S = 1.2


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("photos") / "photos"
    draw_catalog(folder, products_per_class=2)
    return open_catalog(folder)


def kill(verb: str, photos: Catalog, index: Path, *, after_s: float) -> bool:
    """Whether it had ended before it was killed, some time after it began."""
    command = [sys.executable, str(KILLED), verb, str(photos.root), str(index)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(after_s)
        process.kill()
        return "done" in process.stdout.read()


def embedded(place: Path) -> int:
    """Items that a killed process had put on the disk."""
    return ChangeLog(place / LOG, read_info(place).schema_).live().height if place.exists() else 0


def check_whole(folder: Path, photos: Catalog, name: str) -> None:
    """The index is what an undisturbed one is, and nothing of the killed process is left."""
    with open_index(folder) as index:
        items = index.items()
        assert items["id"].to_list() == sorted(photos.table["image"])
        files = [Path(photos.root) / one for one in items["image"]]
        expected = np.stack([drawn(name.encode() + file.read_bytes()) for file in files])
        np.testing.assert_allclose(index.vectors(), expected, atol=1e-3)
        found = index.query(expected, limit=1)
        assert [hits[0].id for hits in found] == items["id"].to_list()
        assert index.generation.engine.count() == len(items)
        assert [one.name for one in (folder / "generations").iterdir()] == [f"{index.number:06d}"]
    assert [path for path in folder.rglob(f"{PART_PREFIX}*") if path.suffix != ".lock"] == []


def build_rounds(photos: Catalog, base: Path, rounds: int) -> None:
    moments = random.Random(rounds)
    for number in range(rounds):
        folder = base / str(number)
        ended = kill("build", photos, folder, after_s=moments.uniform(0, LONGEST_S))
        place = IndexFolder(folder)
        if not ended and not place.is_built():
            there = embedded(place.place(1))
            embedder = SeededEmbedder()
            done = build(embedder, photos, folder)
            assert done.same == there
            assert len(embedder.seen) == len(photos) - there
        check_whole(folder, photos, "a")
        shutil.rmtree(folder)


def migrate_rounds(photos: Catalog, base: Path, rounds: int) -> None:
    build(SeededEmbedder(), photos, base / "before")
    moments = random.Random(rounds + 1)
    for number in range(rounds):
        folder = base / str(number)
        shutil.copytree(base / "before", folder)
        kill("migrate", photos, folder, after_s=moments.uniform(0, LONGEST_S))
        place = IndexFolder(folder)
        if place.current() == 1:
            there = embedded(place.place(2, MIGRATING))
            with open_index(folder) as index:
                # Until it is done, the index answers by the old model.
                assert index.info.space == SeededEmbedder().space
                assert len(index) == len(photos)
                embedder = SeededEmbedder("b")
                done = migrate(index, embedder)
                assert done.same == there
                assert len(embedder.seen) == len(photos) - there
        check_whole(folder, photos, "b")
        shutil.rmtree(folder)


def test_a_killed_build_goes_on(photos: Catalog, tmp_path: Path) -> None:
    build_rounds(photos, tmp_path, 2)


def test_a_killed_migration_goes_on(photos: Catalog, tmp_path: Path) -> None:
    migrate_rounds(photos, tmp_path, 2)


def test_a_migration_that_a_compaction_overtook_goes_on(photos: Catalog, tmp_path: Path) -> None:
    build(SeededEmbedder(), photos, tmp_path / "index")
    kill("migrate", photos, tmp_path / "index", after_s=0.2)
    place = IndexFolder(tmp_path / "index")
    there = embedded(place.place(2, MIGRATING))
    with open_index(tmp_path / "index") as index:
        compact(index)
        assert migrate(index, SeededEmbedder("b")).same == there
    check_whole(tmp_path / "index", photos, "b")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_builds_go_on_in_many_rounds(photos: Catalog, tmp_path: Path) -> None:
    build_rounds(photos, tmp_path, 50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_migrations_go_on_in_many_rounds(photos: Catalog, tmp_path: Path) -> None:
    migrate_rounds(photos, tmp_path, 50)
