"""The cache only saves work: where it cannot be written, everything is done without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shopsight import api
from shopsight.cache_place import NO_HOME, cache_folder, can_keep, unless_unwritable, use_cache_dir
from shopsight.errors import WriteError
from tests.helpers import ProductPhotos, read_only, train_small


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    """A cache that cannot be made: a file is in its place."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    return tmp_path / "file" / "cache"


def about_cache(said: list[str]) -> list[str]:
    return [line for line in said if line.startswith("Cache: nothing is kept")]


def test_audit_and_training_go_on_without(
    no_folder: Path, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    with use_cache_dir(no_folder):
        assert api.audit(product_photos.folder).statistics.num_ok == product_photos.count
        run = train_small(product_photos.folder, tmp_path / "run")
    assert (run / "report.html").is_file()
    assert len(about_cache(said)) == 1
    assert str(no_folder) in about_cache(said)[0]
    assert "--cache-dir FOLDER" in about_cache(said)[0]


def test_the_probe_keeps_its_features_in_the_run_instead(
    no_folder: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    with use_cache_dir(no_folder):
        api.train(
            product_photos.folder, out=tmp_path / "run", recipe="fast",
            settings=["preprocess.size_px=64"],
        )  # fmt: skip
    assert (tmp_path / "run" / "features").is_dir()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.posix("folders that nobody may write in")
def test_a_full_cache_that_is_read_only_is_still_read(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    cache = tmp_path / "cache"
    with use_cache_dir(cache):
        train_small(product_photos.folder, tmp_path / "first")
        said.clear()
        with read_only(cache):
            train_small(product_photos.folder, tmp_path / "second")
    assert not about_cache(said)
    assert any("60 images" in line and "0 to decode" in line for line in said)


@pytest.mark.posix("folders that nobody may write in")
def test_a_cache_of_somebody_else(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with use_cache_dir(cache), read_only(cache):
        api.audit(product_photos.folder)
        api.audit(product_photos.folder)
    assert len(about_cache(said)) == 1


def test_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    def homeless(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SHOPSIGHT_CACHE")
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    assert cache_folder() == NO_HOME
    assert not can_keep(cache_folder() / "features", 1)
    assert "there is no home folder" in about_cache(said)[0]


def test_a_cache_without_room(tmp_path: Path, said: list[str]) -> None:
    with use_cache_dir(tmp_path):
        assert can_keep(tmp_path / "features", 1000)
        assert not can_keep(tmp_path / "features", 1 << 60)
    assert "the disk is full: 1152921.5 TB are needed" in about_cache(said)[0]
    assert not list((tmp_path / "features").iterdir())


def test_what_is_no_failed_write_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other"), unless_unwritable(tmp_path):
        raise ValueError("other")
    with unless_unwritable(tmp_path):
        raise WriteError("full", where=os.fspath(tmp_path))
