"""A write that fails says what, where and what to do next."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shopsight import held_files
from shopsight.errors import HeldFileError, ReadOnlyError, WriteError
from shopsight.files import atomic_file, atomic_folder, write_json
from tests.helpers import read_only, windows_refuses


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(WriteError, match="the disk is full"), atomic_file(target) as part:  # noqa: PT012
        part.write_text("half", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]


def test_a_file_that_is_marked_read_only_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.0)
    target = tmp_path / "a.json"
    target.write_text("old", encoding="utf-8")
    target.chmod(0o444)
    windows_refuses(monkeypatch, "replace", times=1000, winerror=5)
    with pytest.raises(WriteError, match="it could not be replaced: it is read-only") as raised:
        write_json(target, 1)
    assert not isinstance(raised.value, HeldFileError)


@pytest.mark.posix("/dev/full")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_full_disk_is_named_whichever_library_meets_it(suffix: str, tmp_path: Path) -> None:
    table = pl.DataFrame({"number": range(10_000)})
    with pytest.raises(WriteError, match="the disk is full"), atomic_file(tmp_path / "a"):
        getattr(table, f"write_{suffix}")("/dev/full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("winerror", [123, 206, 267])
def test_what_windows_answers_to_a_name_leads_to_another_name(
    winerror: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows_refuses(monkeypatch, "replace", times=1000, winerror=winerror)
    with pytest.raises(WriteError, match="this system takes no such name") as raised:
        write_json(tmp_path / "a.json", 1)
    (kept,) = tmp_path.iterdir()
    assert raised.value.fix == f"rename {kept.name}, but not to a.json"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(WriteError, match="the folder cannot be made") as raised:
        write_json(tmp_path / "file" / "below" / "a.json", 1)
    assert raised.value.where == str(tmp_path / "file" / "below")


def test_a_folder_that_somebody_takes_away_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is there and the folder that is made in it."""
    shop, real = tmp_path / "shop", Path.mkdir
    shop.mkdir()

    def late(folder: Path, **how: Any) -> None:
        shop.rmdir()
        real(folder, **how)

    monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(WriteError, match="moved or removed while it was written") as raised:
        write_json(shop / "run" / "a.json", 1)
    assert raised.value.where == str(shop / "run")


@pytest.mark.posix("limits of a process")
@pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
def test_a_file_that_outgrows_its_limit_is_named(suffix: str, tmp_path: Path) -> None:
    """The limit of a process ends a write as a full disk does, whichever library writes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = pl.DataFrame({"a": np.random.default_rng(0).random(100_000)})
    target = tmp_path / f"a.{suffix}"

    def write_rows(path: Path) -> None:
        with atomic_file(path) as part:
            if suffix == "txt":
                part.write_text("a" * 100_000, encoding="utf-8")
            else:
                getattr(rows, f"write_{suffix}")(part)

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(WriteError, match="it cannot be written: File too large"):
            write_rows(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"the disk is full: 12\.0 MB are needed, .* are free"):  # noqa: SIM117
        with atomic_folder(tmp_path / "a", needed_bytes=12_000_000):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


@pytest.mark.posix("folders that nobody may write in")
def test_a_place_that_is_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    with read_only(folder):
        with pytest.raises(ReadOnlyError, match="it cannot be written"):
            write_json(folder / "a.json", {})
        with (
            pytest.raises(ReadOnlyError, match="it cannot be written"),
            atomic_folder(folder / "a"),
        ):
            pass
        with pytest.raises(ReadOnlyError, match="the folder cannot be made"):
            write_json(folder / "b" / "a.json", {})
    # What the block reads is not meant.
    with pytest.raises(PermissionError), atomic_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no", str(tmp_path / "input"))


def test_a_folder_of_somebody_else_as_libraries_in_rust_say_it(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    denied = "Permission denied (os error 13): {}"
    with (
        pytest.raises(ReadOnlyError, match="it cannot be written") as caught,
        atomic_file(target) as part,
    ):
        raise PermissionError(denied.format(part))
    assert caught.value.where == str(target)
    # What the block reads is another matter.
    with pytest.raises(PermissionError), atomic_file(target):
        raise PermissionError(denied.format("/somewhere/else.csv"))
