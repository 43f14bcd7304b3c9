"""The key of this user's own tables: one that others may know or have put there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shopsight.cache_place import CACHE_VARIABLE, use_cache_dir
from shopsight.catalog.seal import SEAL_KEY, is_sealed, sealed

ABOUT = {"root": "/photos", "root_from_here": "..", "access": None}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


def key_of(folder: Path) -> Path:
    return next(folder.glob("*.key"))


def test_what_is_sealed_is_known_and_changes_are(cache: Path) -> None:
    mine = sealed(ABOUT)
    assert is_sealed(mine)
    for change in ({"root": "/etc"}, {"access": {"private": True}}, {SEAL_KEY: "0" * 64}):
        assert not is_sealed(mine | change)
    key_of(cache).write_bytes(os.urandom(32))
    assert not is_sealed(mine)


def test_a_later_command_names_no_cache(cache: Path, tmp_path: Path) -> None:
    with use_cache_dir(tmp_path / "elsewhere"):
        mine = sealed(ABOUT)
        assert is_sealed(mine)
    assert is_sealed(mine)
    assert not (tmp_path / "elsewhere").exists()


def test_where_the_usual_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with use_cache_dir(tmp_path / "elsewhere"):
        assert is_sealed(sealed(ABOUT))
    assert SEAL_KEY not in sealed(ABOUT)


@pytest.fixture
def group_cache(cache: Path) -> Path:
    """A cache that a group shares, with a key in it that all of them can read."""
    sealed(ABOUT)
    key_of(cache).chmod(0o640)
    return cache


@pytest.mark.posix("Windows has no permissions of groups")
def test_a_key_that_others_can_read_is_replaced(group_cache: Path) -> None:
    known = key_of(group_cache).read_bytes()
    mine = sealed(ABOUT)
    assert key_of(group_cache).read_bytes() != known
    assert key_of(group_cache).stat().st_mode & 0o077 == 0
    assert is_sealed(mine)


@pytest.mark.posix("Windows has no numbers of users")
def test_each_user_of_a_shared_cache_has_a_key(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that somebody else put under this user's name is no key either."""
    mine = sealed(ABOUT)
    name, user = key_of(cache).name, os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    theirs = cache / name.replace(str(user), str(user + 1))
    theirs.write_bytes(key_of(cache).read_bytes())
    theirs.chmod(0o600)
    assert not is_sealed(mine)
