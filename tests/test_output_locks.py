"""The second process on a run, a folder or a table is told who has it; a killed one has nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from shopsight import output_locks
from shopsight.errors import LockedError, WriteError
from shopsight.files import write_json
from shopsight.output_locks import only_writer_of_file, only_writer_of_folder
from tests.helpers import Shopsight, read_only, run_command

HOLDER = """
import sys
from shopsight import output_locks
with getattr(output_locks, sys.argv[1])(sys.argv[2]):
    print("has it", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(kind: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the lock, until its stdin is closed or it is killed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"has it"
        yield holder


@pytest.fixture
def shopsight(capsys: pytest.CaptureFixture[str]) -> Shopsight:
    return lambda *words: run_command(capsys, words)


def test_the_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held_elsewhere("only_writer_of_folder", run) as holder:
        with pytest.raises(LockedError) as told, only_writer_of_folder(run):
            pass
        assert re.fullmatch(
            rf"another process is writing it: {holder.pid} on \S+, since 20\d\d-\d\d-\d\dT.*",
            told.value.what,
        )
        assert told.value.where == str(run)
        assert told.value.details[0].startswith(f"shopsight only_writer_of_folder {run}"[:30])
        assert told.value.fix == "wait until it has ended, or stop it"
        assert run.is_dir()
        holder.communicate()
    # Neither the lock nor the folder that it made stays.
    assert list(tmp_path.iterdir()) == []
    with only_writer_of_folder(run):
        (run / "a").touch()
    assert [path.name for path in run.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", ["only_writer_of_folder", "only_writer_of_file"])
def test_a_killed_process_has_nothing(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "results"
    lock = getattr(output_locks, kind)
    with held_elsewhere(kind, target) as holder:
        holder.kill()
        holder.wait()
    assert list(tmp_path.rglob(".shopsight-*.json"))
    with lock(target):
        pass
    assert list(tmp_path.rglob(".shopsight-*")) == []


def test_files_beside_each_other_are_written_by_different_processes(tmp_path: Path) -> None:
    with (
        held_elsewhere("only_writer_of_file", tmp_path / "a.csv") as holder,
        only_writer_of_file(tmp_path / "b.csv"),
    ):
        with pytest.raises(LockedError), only_writer_of_file(tmp_path / "a.csv"):
            pass
        holder.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_was_lost_is_named_with_what_frees_its_lock(tmp_path: Path) -> None:
    """On a network file system; the server frees the locks of a lost machine after a while."""
    entry = {"pid": 7, "host": "node3", "since": "2026-11-27T10:00:00+00:00", "command": "train"}
    write_json(tmp_path / ".shopsight-lock.json", entry)
    with (
        FileLock(tmp_path / ".shopsight-lock"),
        pytest.raises(LockedError) as told,
        only_writer_of_folder(tmp_path),
    ):
        pass
    assert told.value.what.startswith("another process is writing it: 7 on node3, since 2026")
    assert told.value.fix is not None
    assert f"delete .shopsight-lock in {tmp_path}" in told.value.fix


def test_where_there_are_no_locks_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: FileLock, timeout: float) -> None:
        raise NotImplementedError(f"no locks here {timeout}")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with only_writer_of_folder(tmp_path), only_writer_of_file(tmp_path / "a"):
        pass


@pytest.mark.posix("mounts a folder that is read-only")
def test_where_nothing_may_be_written_the_work_goes_on(tmp_path: Path) -> None:
    with read_only(tmp_path), only_writer_of_folder(tmp_path), only_writer_of_file(tmp_path / "a"):
        pass


@pytest.mark.posix("Windows moves no folder with an open file in it")
@pytest.mark.parametrize("error", [AssertionError("no key"), FileNotFoundError(2, "a"), None])
@pytest.mark.parametrize("kind", ["only_writer_of_folder", "only_writer_of_file"])
def test_a_folder_that_is_taken_away_is_said(
    kind: str, error: Exception | None, tmp_path: Path
) -> None:
    """Whatever fails for that reason, or nothing: what is made anew then is not all there was."""
    target = tmp_path / "folder" / "run"
    moved = tmp_path / "moved"

    def work() -> None:
        with getattr(output_locks, kind)(target):
            os.replace(tmp_path / "folder", moved)  # noqa: PTH105
            if error is not None:
                raise error
            target.mkdir(parents=True)

    with pytest.raises(WriteError, match="moved or removed while it was written") as told:
        work()
    assert told.value.where == str(target)
    assert told.value.__cause__ is error


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no key"), only_writer_of_folder(tmp_path):
        raise AssertionError("no key")


def test_of_many_that_ask_at_once_one_has_it(tmp_path: Path) -> None:
    """Also while the one before removes its lock."""
    inside, most, refused = [0], [0], [0]
    guard = threading.Lock()

    def work() -> None:
        for _ in range(50):
            try:
                with only_writer_of_file(tmp_path / "a"):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with guard:
                        inside[0] -= 1
            except LockedError:
                refused[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert refused[0] < 200


def commands(run: Path, photos: Path, folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        "train": ("train", photos, "--out", folder),
        "resume": ("train", "--resume", run),
        "evaluate": ("evaluate", run),
        "audit": ("audit", photos, "--out", folder),
        "compare": ("compare", run, run, "--out", folder),
        "sort": ("predict", run, photos, "--sort-into", folder),
        "predict": ("predict", run, photos, "--out", folder / "p.csv"),
        "split": ("split", photos, "--out", folder / "split.csv"),
        "report": ("evaluate", run, "--out", folder / "report.html"),
        "data-report": ("evaluate", run, photos, "--out", folder / "report.html"),
    }


FILES = {"predict": "p.csv", "split": "split.csv", "report": "report.html"}
FILES["data-report"] = FILES["report"]


@pytest.mark.parametrize(
    "verb", ["train", "resume", "evaluate", "audit", "compare", "sort", *FILES]
)
def test_each_command_refuses_what_another_writes(
    verb: str, own_run: Path, product_photos: object, tmp_path: Path, shopsight: Shopsight
) -> None:
    photos, folder = product_photos.folder, tmp_path / "out"  # type: ignore[attr-defined]
    if verb == "resume":
        (own_run / "report.html").unlink()
    target = own_run if verb in ("resume", "evaluate") else folder / FILES.get(verb, "")
    kind = only_writer_of_file if verb in FILES else only_writer_of_folder
    folder.mkdir()
    with kind(target):
        outcome = shopsight(*commands(own_run, photos, folder)[verb])
    assert outcome.code == 2
    assert f"{target}: another process is writing it: {os.getpid()} on" in outcome.err


@pytest.mark.posix("not everybody may make links on Windows")
def test_a_link_in_place_of_the_lock(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    folder.mkdir()
    with only_writer_of_folder(folder):
        (lock,) = folder.glob("*lock")
    lock.symlink_to(elsewhere)
    with only_writer_of_folder(folder):
        assert not elsewhere.exists()
        assert not lock.is_symlink()
