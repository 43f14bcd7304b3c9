"""A training process: started by `shopsight.training.workers`, and ended with its parent."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from torch import distributed

from shopsight import progress
from shopsight.cache_place import use_cache_dir
from shopsight.config.recipe import parse_recipe
from shopsight.errors import ShopsightError
from shopsight.io.logins import keep_logins
from shopsight.memory import use_memory_budget
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder
from shopsight.runtime import is_out_of_memory, retain_freed_memory, single_threaded_opencv
from shopsight.training.finetune_stage import finetune_once
from shopsight.training.precision import reproducible, training_arithmetic
from shopsight.training.rank_environment import WorkerRank
from shopsight.training.training_run import TrainingRun
from shopsight.training.workers import Failure, Job

Send = Callable[[dict[str, Any]], None]
STDIN, STDOUT, STDERR = 0, 1, 2


def main() -> None:
    """Do the job on stdin; report on stdout."""
    send = _take_stdout()
    job = Job(**json.loads(_first_line()))
    own = WorkerRank(**job.rank)
    keep_logins(job.logins)
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        listener = Messages(send) if own.rank == 0 else None
        with (
            progress.use_listener(listener),
            use_cache_dir(Path(job.cache)),
            use_run_access(RunAccess.from_json(job.access)),
            use_memory_budget(job.memory_gb),
            retain_freed_memory(),
            single_threaded_opencv(),
        ):
            finetuned = _train(job, own)
    except Exception as error:
        send({"kind": "failure", "failure": asdict(_failure(own.rank, error))})
        sys.exit(1)
    send({"kind": "result", "finetuned": finetuned})


def _train(job: Job, own: WorkerRank) -> bool:
    recipe = parse_recipe(job.recipe, where="recipe")
    training = TrainingRun(RunFolder(Path(job.run)), recipe=recipe, own=own)
    own.connect(training.device)
    with (
        reproducible(recipe.hardware, training.device),
        training_arithmetic(recipe.hardware, training.device),
    ):
        finetuned = finetune_once(training, spent_s=job.spent_s)
    distributed.destroy_process_group()
    return finetuned


def _failure(rank: int, error: Exception) -> Failure:
    if is_out_of_memory(error):
        return Failure(rank, "memory", str(error))
    if isinstance(error, ShopsightError):
        return Failure(rank, "error", str(error))
    trace = "".join(traceback.format_exception(error))
    return Failure(rank, "bug", f"{type(error).__name__}: {error}", trace)


def _first_line() -> bytes:
    # Not by sys.stdin: its lock, held by the thread that waits for its end, would stop the exit.
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(STDIN, 1)
    return line


def _end_with_parent() -> None:
    """End this process when stdin ends: its parent is gone, whatever happened to it."""
    while os.read(STDIN, 1):
        pass
    os._exit(1)


def _take_stdout() -> Send:
    """Keep stdout for messages to the parent; whatever else is printed goes to stderr."""
    pipe = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    lock = Lock()

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with lock:
            while line:
                line = line[os.write(pipe, line) :]

    return send


class Messages:
    """A progress listener whose parent process shows what it hears."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._numbers = count()

    @contextmanager
    def task(self, title: str, total: int | None, unit: str) -> Iterator[progress.Advance]:
        number = next(self._numbers)
        self._send({"kind": "task", "task": number, "title": title, "total": total, "unit": unit})
        try:
            yield lambda done: self._send({"kind": "advance", "task": number, "count": done})
        finally:
            self._send({"kind": "end", "task": number})

    def notify(self, text: str) -> None:
        self._send({"kind": "notify", "text": text})


if __name__ == "__main__":
    main()
