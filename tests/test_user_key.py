"""The user's key: one for all processes, his alone, and apart from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shopsight import user_key
from shopsight.cache_place import use_cache_dir
from shopsight.user_key import STATE_VARIABLE, is_marked, mark_of, state_folder
from tests.helpers import read_only, set_home


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the key, which is not made yet."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    return tmp_path / "shopsight"


def test_a_mark_is_of_this_value_and_this_user(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = mark_of(["a", "b"])
    assert is_marked(["a", "b"], mark)
    with use_cache_dir(tmp_path / "another-cache"):
        assert is_marked(["a", "b"], mark)
    for value, other in ((["a"], mark), (["a", "b"], "\u00e9"), (["a", "b"], None)):
        assert not is_marked(value, other)
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "of-another-user"))
    assert not is_marked(["a", "b"], mark)


@pytest.mark.posix("files have no such permissions on Windows")
def test_nobody_else_reads_the_key(state: Path) -> None:
    mark_of("value")
    (key,) = state.glob("*.key")
    assert (key.stat().st_mode & 0o777, state.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(key.read_bytes()) == 32


@pytest.mark.posix("files have no such permissions on Windows")
def test_a_key_that_others_know_is_replaced(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = mark_of("value")
    (key,) = state.glob("*.key")
    key.chmod(0o640)
    assert not is_marked("value", mark)
    mark = mark_of("value")
    assert key.stat().st_mode & 0o777 == 0o600
    assert is_marked("value", mark)
    # Somebody else put it there.
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)
    assert not is_marked("value", mark)


def test_processes_that_start_together_have_one_key(state: Path) -> None:
    code = "from shopsight.user_key import mark_of; print(mark_of('value'))"
    words = [sys.executable, "-c", code]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, encoding="ascii") for _ in range(4)]
    assert len({each.communicate()[0] for each in started}) == 1


def test_a_key_that_is_cut_short_is_made_anew(state: Path) -> None:
    mark_of("value")
    (key,) = state.glob("*.key")
    key.write_bytes(b"short")
    assert is_marked("value", mark_of("value"))
    assert len(key.read_bytes()) == 32


@pytest.mark.posix("folders that nobody may write in")
def test_where_no_key_can_be_kept_that_is_said_once(
    state: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state.mkdir()
    with read_only(state):
        assert (mark_of("a"), mark_of("b")) == (None, None)
    (line,) = said
    assert line.startswith(f"No key can be kept in {state}")
    assert "--images-root FOLDER" in line
    monkeypatch.delenv(STATE_VARIABLE)
    monkeypatch.setattr(user_key.Path, "home", _no_home)
    assert state_folder() is None
    assert mark_of("a") is None
    assert "there is no home folder" in said[1]


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.posix("another variable names it on Windows")
@pytest.mark.parametrize("named", ["", "relative/folder"])
def test_the_usual_place(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_home(monkeypatch, tmp_path)
    monkeypatch.setenv(STATE_VARIABLE, named)
    usual = "Library/Application Support" if sys.platform == "darwin" else ".local/state"
    assert state_folder() == tmp_path / usual / "shopsight"
    assert not any(tmp_path.iterdir())
