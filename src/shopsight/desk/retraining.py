"""Training again with what a desk has decided: `shopsight train`, in a process of its own.

The labels as they are now go into a catalog beside the journal; the run lies there too. The command
is one that a person could type, and its output is a log that the page reads. Stopped with the
service, it is resumed by `shopsight train --resume`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Literal, get_args

from shopsight.audit.gate import FIXABLE
from shopsight.desk.desk import Desk
from shopsight.errors import ConfigError
from shopsight.extras import require_installed
from shopsight.io.json_files import read_json_table
from shopsight.io.local_files import read_file
from shopsight.processes import in_own_group
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line
from shopsight.write_errors import write_errors_named

DeskRecipe = Literal["fast", "balanced"]
RECIPES: tuple[DeskRecipe, ...] = get_args(DeskRecipe)
LOG_BYTES = 1 << 24
LINES = 4
"""Of the log, that are shown."""
STOP_S = 10.0


class Retraining:
    """At most one training at a time.

    Args:
        desk: whose labels are learned.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._process: subprocess.Popen[bytes] | None = None
        self._run: Path | None = None
        self._began_s = 0.0

    def start(self, recipe: DeskRecipe) -> None:
        """Train on the labels as they are now.

        Raises:
            ConfigError: a training runs already, or nothing was decided.
            ExtraMissingError: what trains is not installed.
            WriteError: the disk is full.
        """
        require_installed("torch")
        if self._process is not None and self._process.poll() is None:
            raise ConfigError("a training is under way", where="desk", fix="wait for it")
        number = 1
        while (run := self._desk.folder / f"run-{number}").exists():
            number += 1
        catalog = run.with_name(f"{run.name}.parquet")
        self._desk.write_catalog(catalog)
        words = [*_TRAIN, str(catalog), "--out", str(run), "--recipe", recipe]
        words += [word for kind in sorted(FIXABLE) for word in ("--exclude", kind)]
        with write_errors_named(_log(run)), _log(run).open("wb") as log:
            self._process = _started(words, log)
        self._run, self._began_s = run, time.monotonic()

    def state(self) -> dict[str, Any]:
        """How far the last training is, for the page.

        `state` is "none", "running", "done" or "failed"; `lines` are the last ones of the log;
        `run` is the folder's name; `score` the test accuracy with its interval, when it is done.
        """
        if self._process is None or self._run is None:
            return {"state": "none"}
        code = self._process.poll()
        state = "running" if code is None else "failed" if code else "done"
        found: dict[str, Any] = {
            "state": state,
            "run": self._run.name,
            "lines": _last_lines(_log(self._run)),
            "seconds": round(time.monotonic() - self._began_s),
        }
        if state == "done":
            found["score"] = _score(self._run)
            found["serve"] = command_line(["shopsight", "serve", self._run])
        return found

    def close(self) -> None:
        """Stop what runs; it can be resumed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
            return
        self._process.kill()
        self._process.wait()


_TRAIN = (sys.executable, "-m", "shopsight", "train")


def _started(words: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **in_own_group()
    )


def _log(run: Path) -> Path:
    return run.with_name(f"{run.name}.log")


def _last_lines(log: Path) -> list[str]:
    text = read_file(log, most_bytes=LOG_BYTES).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()][-LINES:]


def _score(run: Path) -> dict[str, Any] | None:
    """The headline of the test part, or of the validation part; None where nothing was scored."""
    with contextlib.suppress(OSError, json.JSONDecodeError):
        scores = read_json_table(RunFolder(run).scores_file)
        for part in ("test", "val"):
            if part in scores:
                headline = scores[part]["headline"]
                interval = scores[part]["metrics"][headline]
                return {"part": part, "images": scores[part]["counts"]["images"], **interval}
    return None
