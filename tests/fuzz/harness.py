"""What every command owes to whoever runs it, on whatever input.

- The exit code is 0, 1 or 2; a 2 says `error: what`, its details indented, or how the command is
  used. Neither a traceback nor another library's exception is shown.
- What was handed in is as it was.
- What is written is whole: no parts of files; tables and pages that are there can be read; a run
  that is there can be resumed.
- `--json` prints JSON, or nothing where the command fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import polars as pl
import pytest

from shopsight.io.connections import forget_hosts
from shopsight.safe_names import PART_PREFIX
from shopsight.text import command_line
from tests.helpers import Outcome, run_command

DONE, CHECK_FAILED, MISTAKE = 0, 1, 2
LONGEST_S = 90
# What only a Python programmer can read.
FOREIGN = re.compile(
    r"Traceback|this is a bug of shopsight|with --debug shows where|, line \d+, in |object at 0x"
    r"|\bNoneType\b|<class '|\[Errno|polars\.|pydantic\.dev|\.py:\d+: \w*Warning"
)


class HangError(BaseException):
    """A command did not end."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        inputs: what is handed in, and the working folder of the commands.
        outputs: an empty folder for what they write.
    """

    inputs: Path
    outputs: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: object) -> Outcome:
        """Run a command and check what it owes.

        Raises:
            AssertionError: the command breaks a promise; its note is a command line.
        """
        before, written = snapshot(self.inputs), snapshot(self.outputs)
        try:
            with _ended_in_time():
                outcome = run_command(self.capsys, words)
            _check_outcome(outcome, as_json="--json" in words)
            assert snapshot(self.inputs) == before, "the command changed its input"
            self._check_outputs(outcome, written)
        except BaseException as error:
            command = command_line(["shopsight", *map(str, words)])
            error.add_note(f"reproduce: cd {self.inputs} && {command} --debug")
            raise
        return outcome

    def _check_outputs(self, outcome: Outcome, before: Mapping[str, str]) -> None:
        for path in _files_below(self.inputs.parent):
            # What cannot take its place, say of a folder, is kept, and the error names it.
            left = PART_PREFIX in path.name and path.name not in outcome.err
            assert not left, f"{path} is left behind"
        for path, content in snapshot(self.outputs).items():
            # Copies of images, and what an error says was kept.
            other = "sorted" in Path(path).parts or PART_PREFIX in path
            if before.get(path) != content and not other:
                _check_whole(Path(path))
        for run in self.outputs.iterdir():
            if str(run / "recipe.toml") in before:
                continue
            if (run / "recipe.toml").exists():
                assert (run / "run.json").is_file(), f"{run} is half a run"
                assert outcome.code or (run / "report.html").is_file(), f"{run} has no report"


@dataclass(frozen=True)
class Fuzz:
    """Makes a place for each input; that of an input which fails is kept."""

    base: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @contextmanager
    def input(self) -> Iterator[Case]:
        """A folder for an input and for what is made of it, removed after success."""
        place = self.base / "input"
        _remove(place)
        case = Case(place / "in", place / "out", self.capsys)
        for folder in (case.inputs, case.outputs):
            folder.mkdir(parents=True)
        self.monkeypatch.setenv("SHOPSIGHT_CACHE", str(place / "cache"))
        self.monkeypatch.chdir(case.inputs)
        forget_hosts()
        yield case
        self.monkeypatch.chdir(self.base)
        _remove(place)


def snapshot(folder: Path) -> dict[str, str]:
    """Each name below a folder, with its kind and the hash of its bytes."""
    found = {}
    for path in _paths_below(folder):
        status = os.lstat(path)
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.blake2b(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)  # noqa: PTH115
        found[str(path)] = f"{stat.S_IFMT(status.st_mode):o} {content}"
    return found


def _paths_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent, name)


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in _paths_below(folder) if path.is_file())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    assert not folder.exists(), f"{folder} cannot be removed"


def _check_outcome(outcome: Outcome, *, as_json: bool) -> None:
    shown = f"exit {outcome.code}\n{outcome.err}\n{outcome.out[:2000]}"
    assert outcome.code in {DONE, CHECK_FAILED, MISTAKE}, shown
    found = FOREIGN.search(outcome.err) or FOREIGN.search(outcome.out)
    assert not found, f"{found[0]!r} in what is shown\n{shown}"
    if outcome.code == MISTAKE:
        _check_error(outcome.err)
    if as_json and (outcome.code != MISTAKE or outcome.out):
        json.loads(outcome.out)


def _check_error(err: str) -> None:
    if "Usage: shopsight" in err:
        return
    start = re.search(r"^error: (.*)$", err, re.M)
    assert start, f"no error is named\n{err}"
    assert start[1].strip(), f"an empty error\n{err}"
    details = [line for line in err[start.end() :].split("\n")[1:] if line]
    assert all(line.startswith("  ") for line in details), f"not the form of an error\n{err}"


def _check_whole(path: Path) -> None:
    """Read a file as what its name says."""
    if not path.is_file():
        return
    if path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    elif path.suffix == ".parquet":
        pl.read_parquet(path)
    elif path.suffix == ".csv":
        pl.read_csv(path, infer_schema=False)
    elif path.suffix == ".html":
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), f"{path} is cut off"


@contextmanager
def _ended_in_time() -> Iterator[None]:
    """Raise where a command hangs; only on systems that have alarms."""
    can_wait = hasattr(signal, "setitimer")
    if not can_wait or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"the command did not end within {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
