"""Paths that cannot be written to are refused before any work is done."""

import os
from pathlib import Path

import pytest

from shopsight.errors import ConfigError, WriteError
from shopsight.files import atomic_file
from shopsight.output_paths import PAGE_SUFFIXES, TABLE_SUFFIXES, check_output_path, check_suffix
from shopsight.safe_names import PART_LENGTH


def test_paths_that_windows_cannot_open_are_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopsight.output_paths.longest_path", lambda: 259)
    folder = tmp_path / ("d" * (200 - len(str(tmp_path))))
    check_output_path(folder, reserve=58)
    with pytest.raises(WriteError, match="would have paths of 260 characters"):
        check_output_path(folder, reserve=59)
    entered = False
    long = folder / ("f" * (261 - len(str(folder)) - 1))
    message = "the path has 261 characters; Windows opens 259"
    with pytest.raises(WriteError, match=message), atomic_file(long):
        entered = True
    assert not entered
    assert not folder.exists()


def test_a_short_name_needs_room_for_its_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopsight.output_paths.longest_path", lambda: 259)
    folder = tmp_path / ("d" * (258 - PART_LENGTH - len(str(tmp_path)) - 1))
    check_output_path(folder / "a.csv")
    with pytest.raises(WriteError, match="would have paths of 260 characters"):
        check_output_path(folder.with_name(folder.name + "d") / "a.csv")


@pytest.mark.parametrize("name", ["aux", "o:ut", "nul", "con.csv", "a?.csv", "b/aux/a.csv", "hat."])
def test_names_that_windows_does_not_take_are_refused_before_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopsight.output_paths.limits_names", lambda: True)
    with pytest.raises(WriteError, match="Windows takes no file or folder of the name") as raised:
        check_output_path(tmp_path / name)
    assert str(raised.value.fix).startswith("give another name")
    entered = False
    with pytest.raises(WriteError), atomic_file(tmp_path / name):
        entered = True
    assert not entered
    assert not list(tmp_path.iterdir())
    check_output_path(Path("..") / ".cache" / "out.csv")


def test_an_output_path_must_be_unicode(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="not Unicode") as raised:
        check_output_path(tmp_path / "caf\udce9", reserve=1)
    assert raised.value.where == rf"{tmp_path}{os.sep}caf\udce9"


@pytest.mark.posix("names are counted in bytes")
def test_a_name_that_is_too_long_is_refused_before_work(tmp_path: Path) -> None:
    check_output_path(tmp_path / ("ü" * 127))
    with pytest.raises(WriteError, match="the name has 256 bytes; systems take 255"):
        check_output_path(tmp_path / ("ü" * 128))


def test_what_is_there_as_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    with pytest.raises(WriteError, match="this is a folder"):
        check_output_path(tmp_path)
    for folder in (tmp_path / "a.csv", tmp_path / "a.csv" / "b"):
        with pytest.raises(WriteError, match="this is a file"):
            check_output_path(folder, reserve=10)
    with pytest.raises(WriteError, match="this is a file"):
        check_output_path(tmp_path / "a.csv" / "b" / "c.html")
    check_output_path(tmp_path / "a.csv")
    check_output_path(tmp_path, reserve=10)
    check_output_path(tmp_path / "b" / "c.html")


def test_another_format_is_refused_by_its_suffix() -> None:
    for name in ("out.xlsx", "out"):
        with pytest.raises(
            ConfigError, match=r"answers are not written (?s:.*) \.csv or \.parquet"
        ):
            check_suffix(name, TABLE_SUFFIXES, things="answers")
    assert check_suffix("OUT.HTM", PAGE_SUFFIXES, things="pages") == Path("OUT.HTM")
