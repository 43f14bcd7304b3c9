"""What shopsight keeps is this user's; a cache that others could change is not read."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopsight import api, cache_place, progress
from shopsight.cache_place import UNTRUSTED, cache_folder, use_cache_dir
from shopsight.files import atomic_file, atomic_folder, make_folder, write_json
from tests.helpers import ProductPhotos, Recorder, set_home, train_small

ROOT = Path(__file__).parents[1] / "src" / "shopsight"

pytestmark = pytest.mark.posix("permissions")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_place, "_said", set())


def test_folders_are_private_and_those_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    write_json(tmp_path / "shared" / "a" / "b" / "c.json", 1)
    modes = [mode(tmp_path / "shared" / name) for name in (".", "a", "a/b")]
    assert modes == [0o755, 0o700, 0o700]
    with atomic_folder(tmp_path / "model") as part:
        assert mode(part) == 0o700
    assert mode(tmp_path / "model") == 0o700
    os.umask(0o277)
    make_folder(tmp_path / "narrow")
    assert mode(tmp_path / "narrow") == 0o500


def test_who_was_given_permission_keeps_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model"):
        pass
    (tmp_path / "model").chmod(0o750)
    write_json(tmp_path / "metrics.json", 1)
    (tmp_path / "metrics.json").chmod(0o640)
    with atomic_folder(tmp_path / "model") as part:
        (part / "a").write_text("new", encoding="utf-8")
    write_json(tmp_path / "metrics.json", 2)
    assert (tmp_path / "model" / "a").is_file()
    assert mode(tmp_path / "model") == 0o750
    assert mode(tmp_path / "metrics.json") == 0o640
    with atomic_file(tmp_path / "new.json") as part:
        part.write_text("", encoding="utf-8")
    assert mode(tmp_path / "new.json") == 0o644


def test_runs_audits_caches_and_outputs_are_private(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    with use_cache_dir(tmp_path / "cache"):
        api.audit(product_photos.folder, out=tmp_path / "audit")
        run = train_small(product_photos.folder, tmp_path / "runs" / "first")
        list(
            api.predict(
                run,
                [str(product_photos.folder)],
                out=tmp_path / "answers" / "a.csv",
                sort_into=tmp_path / "sorted",
            )
        )
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {path.name for path in folders} >= {"cache", "audit", "runs", "first", "answers"}
    assert len(folders) > 12
    assert [path for path in folders if mode(path) & 0o077] == []


@pytest.mark.parametrize(
    ("permissions", "named", "reason"),
    [
        (0o700, False, None),
        (0o755, False, None),
        (0o775, False, "others may write in it"),
        (0o2770, True, None),
        (0o777, True, "everybody may write in it"),
        (0o1777, True, "everybody may write in it"),
    ],
)
def test_a_cache_that_others_may_change(
    permissions: int,
    named: bool,
    reason: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_home(monkeypatch, tmp_path)
    monkeypatch.delenv("SHOPSIGHT_CACHE")
    folder = tmp_path / ".cache" / "shopsight"
    folder.mkdir(parents=True)
    folder.chmod(permissions)
    notes = Recorder()
    with progress.use_listener(notes), use_cache_dir(folder if named else None):
        places = {cache_folder(), cache_folder()}
    assert places == {folder if reason is None else UNTRUSTED}
    assert len(notes.lines) == (reason is not None)
    assert reason is None or f"{folder} is not used: {reason}" in notes.lines[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away")
def test_a_cache_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_home(monkeypatch, tmp_path)
    monkeypatch.delenv("SHOPSIGHT_CACHE")
    folder = tmp_path / ".cache" / "shopsight"
    folder.mkdir(parents=True, mode=0o700)
    os.chown(folder, 12345, 12345)
    notes = Recorder()
    with progress.use_listener(notes):
        assert cache_folder() == UNTRUSTED
    assert "it belongs to another user" in notes.lines[0]
    # A group's cache is named by its members.
    with use_cache_dir(folder):
        assert cache_folder() == folder


def test_work_goes_on_without_an_untrusted_cache(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    notes = Recorder()
    with progress.use_listener(notes), use_cache_dir(folder):
        report = api.audit(product_photos.folder)
        train_small(product_photos.folder, tmp_path / "run")
    assert report.statistics.num_ok == product_photos.count
    assert [line for line in notes.lines if "is not used" in line][1:] == []
    assert [line for line in notes.lines if "untrusted" in line] == []
    assert list(folder.iterdir()) == []


def test_folders_are_made_in_one_place() -> None:
    """`Path.mkdir` gives the folders above the umask's permissions, whatever mode it is given."""
    # They are given a part folder, which is private.
    within = {"archives.py", "embedded_images.py", "huggingface.py", "fashion_mnist.py"}
    within |= {"synthetic.py", "files.py"}
    found = {
        path.name
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"mkdir", "makedirs"}
    }
    assert found <= within
