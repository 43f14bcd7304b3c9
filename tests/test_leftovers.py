"""What killed processes leave is swept or brought back; what others write is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shopsight import leftovers, processes
from shopsight.files import atomic_folder, write_json
from shopsight.leftovers import aside_of, bring_back, part_beside, sweep

OTHER_MACHINE = "0123456789ab000000"


def ended_mark() -> str:
    """The mark of a process of this machine that has ended."""
    command = "from shopsight.processes import own_mark; print(own_mark())"
    done = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)
    return done.stdout.decode("ascii").strip()


@pytest.fixture(scope="module")
def dead() -> str:
    return ended_mark()


def as_process(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    monkeypatch.setattr(leftovers, "own_mark", lambda: mark)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_process_that_ended_is_known_and_others_are_not(dead: str) -> None:
    assert processes.has_ended(dead)
    assert not processes.has_ended(processes.own_mark())
    assert not processes.has_ended(OTHER_MACHINE)


def test_an_earlier_process_of_the_same_number_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the first process of a container that was killed and is started anew."""
    with monkeypatch.context() as earlier:
        earlier.setattr(processes, "_START", "0000")
        before = processes.own_mark()
        old = aside_of(tmp_path / "model")
        part = part_beside(tmp_path / "a.json")
    assert processes.has_ended(before)
    old.mkdir(parents=True)
    part.touch()
    bring_back(tmp_path / "model")
    assert names(tmp_path) == ["model"]


@pytest.mark.posix("not everybody may make links on Windows")
def test_what_somebody_else_named_so_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    """Links to others' folders, and files in a folder that was moved aside."""
    documents, out = tmp_path / "documents", tmp_path / "out"
    (documents / "letters").mkdir(parents=True)
    (documents / "letters" / "mine.txt").touch()
    out.mkdir()
    with monkeypatch.context() as killed:
        as_process(killed, dead)
        forged = aside_of(out / "x").parent
        part_beside(out / "x").symlink_to(documents)
        aside_of(out / "x").parent.symlink_to(documents)
        aside_of(out / "x").parent.symlink_to(documents / "letters")
    forged.mkdir()
    (forged / ".profile").touch()
    before = names(tmp_path)
    sweep(out)
    assert names(tmp_path) == before


def test_parts_of_ended_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    with monkeypatch.context() as killed:
        as_process(killed, dead)
        part_beside(tmp_path / "a.json").write_text("half", encoding="utf-8")
        folder = part_beside(tmp_path / "model")
        folder.mkdir()
        (folder / "weights").write_text("half", encoding="utf-8")
    write_json(tmp_path / "b.json", 1)
    assert names(tmp_path) == ["b.json"]


def test_parts_of_living_and_of_unknown_processes_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = part_beside(tmp_path / "a.json")
    own.touch()
    as_process(monkeypatch, OTHER_MACHINE)
    other = part_beside(tmp_path / "a.json")
    other.touch()
    earlier = tmp_path / ".shopsight-0123456789ab.part"
    earlier.touch()
    monkeypatch.undo()
    sweep(tmp_path)
    assert names(tmp_path) == sorted([own.name, other.name, earlier.name])
    days_ago = time.time() - 3 * 24 * 3600
    for path in (other, earlier, own):
        os.utime(path, (days_ago, days_ago))
    sweep(tmp_path)
    assert names(tmp_path) == [own.name]


@pytest.mark.parametrize("reader", ["bring_back", "write", "sweep"])
def test_a_folder_moved_aside_by_a_killed_process_is_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: str, reader: str
) -> None:
    """Killed between the two renames, nothing has the name."""
    model = tmp_path / "model"
    with atomic_folder(model) as part:
        (part / "old").touch()

    class KilledError(BaseException):
        pass

    def rename(source: Path, target: Path) -> None:
        if target == model:
            raise KilledError
        os.replace(source, target)  # noqa: PTH105

    with monkeypatch.context() as killed:
        as_process(killed, dead)
        killed.setattr("shopsight.files.replace", rename)
        killed.setattr("shopsight.files.remove_folder", lambda _path: False)
        with pytest.raises(KilledError), atomic_folder(model) as part:
            (part / "new").touch()
    assert not model.exists()
    if reader == "bring_back":
        bring_back(model)
    elif reader == "sweep":
        sweep(tmp_path)
    else:
        with pytest.raises(ValueError, match="no new one"), atomic_folder(model):
            raise ValueError("no new one")
    assert names(tmp_path) == ["model", "model/old"]


def test_a_folder_that_was_replaced_is_not_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    """Killed after both renames, only the removal is left to do."""
    with monkeypatch.context() as killed:
        as_process(killed, dead)
        old = aside_of(tmp_path / "model")
        old.mkdir(parents=True)
        (old / "old").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "new").touch()
    sweep(tmp_path)
    assert names(tmp_path) == ["model", "model/new"]


def test_a_folder_that_a_living_process_moves_is_left_to_it(tmp_path: Path) -> None:
    aside_of(tmp_path / "model").mkdir(parents=True)
    bring_back(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".shopsight-backup.old",
            ".shopsight-notes.part",
            ".shopsight-lock",
            ".shopsight-0123.old",
        ),
        *(".shopsight-0123456789abcdef01234567.kept", ".shopsight-0123456789AB.part"),
        *("shopsight-0123456789ab.part", ".shopsight-0123456789ab.old.zip"),
    ],
)
def test_what_others_named_alike_stays(tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.mkdir()
    (mine / "a.txt").write_text("mine", encoding="utf-8")
    years_ago = time.time() - 3 * 365 * 24 * 3600
    for path in (mine / "a.txt", mine):
        os.utime(path, (years_ago, years_ago))
    sweep(tmp_path)
    bring_back(tmp_path / "a.txt")
    assert names(tmp_path) == [name, f"{name}/a.txt"]


def test_silence_is_told_by_the_clock_that_stamps_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this machine may be wrong by years, or jump."""
    with monkeypatch.context() as other:
        as_process(other, OTHER_MACHINE)
        part = part_beside(tmp_path / "a.json")
        part.touch()
    monkeypatch.setattr(time, "time", lambda: 1e11)
    sweep(tmp_path)
    assert names(tmp_path) == [part.name]
