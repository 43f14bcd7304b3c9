"""Training processes, one for each device: started, watched, and started again.

A process that ran out of memory, or that waits in a collective for one which did, cannot be
brought to a clean state from within: collectives of NCCL do not return when a member is gone. So
each training process is a child (a worker) of the process that was started, which ends and
replaces it. When one fails, all are ended; when it was for memory, all start again from the last
checkpoint, with half the batch.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any

from shopsight import progress
from shopsight.cache_place import cache_folder
from shopsight.config.recipe import Recipe
from shopsight.errors import TrainingError
from shopsight.io.logins import kept_logins
from shopsight.memory import memory_budget_bytes
from shopsight.processes import in_own_group
from shopsight.runs.run_access import run_access
from shopsight.training.memory import OutOfMemoryElsewhereError
from shopsight.training.peers import POLL_S, Peers, open_store
from shopsight.training.rank_environment import WorkerRank, worker_variables

# When one worker fails, others often do so for that reason: the first reason is wanted.
GRACE_S = 1.0
# The reasons, from the one that causes others to the one that is caused.
KINDS = ("memory", "killed", "error", "bug")

_trainings = count()


@dataclass(frozen=True)
class Job:
    """What a worker does, on the first line of its stdin as JSON.

    Attributes:
        run: The run folder.
        recipe: TOML of the recipe, with the batch size of this attempt.
        cache: The folder of decoded images.
        memory_gb: Its part of the node's memory, 10^9 bytes.
        spent_s: Seconds of the time limit that are over.
        rank: Fields of `WorkerRank`.
        access: `RunAccess.to_json` of the process that starts it.
    """

    run: str
    recipe: str
    cache: str
    memory_gb: float
    spent_s: float
    rank: dict[str, Any]
    access: dict[str, Any]
    logins: list[tuple[str, int, str]] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Failure:
    """Why a worker failed.

    Attributes:
        rank: Its number.
        kind: "memory", "killed" (by the system), "error" (the user's) or "bug".
        what: The message.
        trace: The traceback of a bug.
    """

    rank: int
    kind: str
    what: str
    trace: str = ""


def worker_command() -> list[str]:
    """The command of a worker: the same on every system, whatever script trains."""
    return [sys.executable, "-m", "shopsight.training.worker"]


def train_in_workers(run: Path, recipe: Recipe, peers: Peers, *, spent_s: float) -> bool:
    """Fine-tune once in one process for each device, of all nodes.

    Args:
        run: The run folder, which all nodes see.
        recipe: With the batch size to try.
        peers: The processes that were started; each starts its workers.
        spent_s: Seconds of the time limit that are over.

    Returns:
        Whether the network was fine-tuned; not when the time limit has no room for an epoch.

    Raises:
        OutOfMemoryElsewhereError: A worker ran out of memory.
        TrainingError: A worker failed by an error.
        WorkerBugError: A worker failed by an error of shopsight.
    """
    world, prefix = peers.world, f"training/{next(_trainings)}"
    address, port = world.address, world.port
    board = None
    if world.size == 1:
        # Kept until the workers have ended.
        board = open_store(address, 0, host=True)
        port = board.port
    jobs = [
        Job(
            run=str(run.absolute()),
            recipe=recipe.to_toml(),
            cache=str(cache_folder().absolute()),
            memory_gb=memory_budget_bytes() / 1e9 / len(world.workers),
            spent_s=spent_s,
            access=run_access().to_json(),
            logins=kept_logins(),
            rank=asdict(
                WorkerRank(
                    rank=rank,
                    size=world.num_workers,
                    local_rank=world.local_rank + offset,
                    node=world.node,
                    address=address,
                    port=port,
                    prefix=prefix,
                )
            ),
        )
        for offset, rank in enumerate(world.workers)
    ]
    with Workers(jobs) as workers:
        failures = _watch(workers, peers, stop=f"{prefix}/stop")
        finetuned = workers.result is not False
    del board
    said = peers.gather({"failures": [asdict(failure) for failure in failures], "done": finetuned})
    raise_first([Failure(**failure) for note in said for failure in note["failures"]])
    return all(note["done"] for note in said)


def _watch(workers: Workers, peers: Peers, *, stop: str) -> list[Failure]:
    """Wait until all workers have ended, or until one has failed anywhere."""
    while True:
        workers.show_progress()
        failures, ended = workers.failures(), workers.ended()
        if failures or peers.posted(stop):
            break
        if ended:
            return []
        time.sleep(POLL_S)
    peers.post(stop)
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until and not workers.ended():
        time.sleep(POLL_S)
    return workers.failures()


def raise_first(failures: list[Failure]) -> None:
    """Raise the failure that is most likely the cause of the others, if there is any.

    Raises:
        OutOfMemoryElsewhereError, TrainingError, WorkerBugError: see `train_in_workers`.
    """
    if not failures:
        return
    first = min(failures, key=lambda failure: KINDS.index(failure.kind))
    what = f"rank {first.rank}: {first.what}"
    if first.kind == "memory":
        raise OutOfMemoryElsewhereError(what)
    if first.kind == "bug":
        error = WorkerBugError(what)
        error.add_note(first.trace)
        raise error
    raise TrainingError(what)


class WorkerBugError(RuntimeError):
    """A worker failed by an error of shopsight."""


class Workers(AbstractContextManager["Workers"]):
    """The workers of this process. They end with the block, and with this process.

    Args:
        jobs: One for each.

    Attributes:
        result: What the workers say at their end; None until then.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.result: bool | None = None
        self._ranks = [int(job.rank["rank"]) for job in jobs]
        self._messages: SimpleQueue[tuple[int, dict[str, Any]]] = SimpleQueue()
        self._failures: list[Failure] = []
        self._tasks: dict[int, tuple[ExitStack, progress.Advance]] = {}
        self._readers: list[Thread] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for job in jobs:
            self._start(job)

    def _start(self, job: Job) -> None:
        own = WorkerRank(**job.rank)
        process = subprocess.Popen(
            worker_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=worker_variables(own),
            **in_own_group(),
        )
        self._processes.append(process)
        assert process.stdin is not None
        # It stays open: a worker ends when it is closed, so that none outlives this process.
        process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        process.stdin.flush()
        reader = Thread(target=self._read, args=(own.rank, process), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _read(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._messages.put((rank, json.loads(line)))

    def show_progress(self) -> None:
        """Take up what the workers have reported; call it in the thread that shows progress."""
        while True:
            try:
                rank, message = self._messages.get_nowait()
            except Empty:
                return
            self._take(rank, message)

    def _take(self, rank: int, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "notify":
                progress.notify(message["text"])
            case "task":
                bars = ExitStack()
                shown = progress.task(message["title"], message["total"], message["unit"])
                self._tasks[message["task"]] = (bars, bars.enter_context(shown))
            case "advance":
                self._tasks[message["task"]][1](message["count"])
            case "end":
                self._tasks.pop(message["task"])[0].close()
            case "result":
                self.result = message["finetuned"]
            case "failure":
                self._failures.append(Failure(**message["failure"]))

    def ended(self) -> bool:
        """Whether all have ended, for whatever reason."""
        return all(process.poll() is not None for process in self._processes)

    def failures(self) -> list[Failure]:
        """The failures so far; a worker that died without a word has failed too."""
        codes = {
            rank: process.poll() for rank, process in zip(self._ranks, self._processes, strict=True)
        }
        for rank, code in codes.items():
            if code is not None:
                # Its last words may still be in the pipe.
                self._readers[self._ranks.index(rank)].join()
        self.show_progress()
        known = {failure.rank for failure in self._failures}
        for rank, code in codes.items():
            if code and rank not in known:
                self._failures.append(Failure(rank, "killed", describe_death(code)))
        return self._failures

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End those that still run, and wait until they are gone."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe.close)
        for bars, _ in reversed(self._tasks.values()):
            bars.close()


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except BrokenPipeError:
        # Its last bytes were for a worker that is gone.
        return


def describe_death(code: int) -> str:
    """How a process without last words ended, by its exit code."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = ": the machine was probably short of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    return f"its process ended with exit code {code}"
