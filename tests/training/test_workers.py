"""The command of a training process, and what its end means."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import asdict

import pytest

from shopsight.errors import TrainingError
from shopsight.io.logins import forget_logins, kept_logins, without_login
from shopsight.training.memory import OutOfMemoryElsewhereError
from shopsight.training.rank_environment import WorkerRank
from shopsight.training.workers import (
    Failure,
    Job,
    WorkerBugError,
    Workers,
    describe_death,
    raise_first,
    worker_command,
)

MEMORY = Failure(2, "memory", "CUDA out of memory")
KILLED = Failure(0, "killed", "its process was ended by SIGKILL")
ERROR = Failure(1, "error", "a.jpg: cannot be decoded")
BUG = Failure(3, "bug", "RuntimeError: Connection closed by peer", "Traceback ...")


def test_a_worker_is_a_module_of_this_python_whatever_was_started() -> None:
    """Not the script that was started: on Windows that is a program without its suffix."""
    assert worker_command() == [sys.executable, "-m", "shopsight.training.worker"]


def test_of_several_failures_the_cause_is_reported() -> None:
    raise_first([])
    with pytest.raises(OutOfMemoryElsewhereError, match="rank 2: CUDA out of memory"):
        raise_first([BUG, ERROR, KILLED, MEMORY])
    with pytest.raises(TrainingError, match="rank 0: its process was ended"):
        raise_first([BUG, ERROR, KILLED])
    with pytest.raises(TrainingError, match=r"rank 1: a\.jpg"):
        raise_first([BUG, ERROR])
    with pytest.raises(WorkerBugError, match="rank 3: RuntimeError") as caught:
        raise_first([BUG])
    assert caught.value.__notes__ == ["Traceback ..."]


def test_how_a_process_ended() -> None:
    assert "SIGKILL: the machine was probably short of memory" in describe_death(-9)
    assert describe_death(-signal.SIGTERM).endswith("ended by SIGTERM")
    assert describe_death(-200).endswith("ended by signal 200")
    assert describe_death(3) == "its process ended with exit code 3"


SEES = """
import json, os, sys
from shopsight.io.logins import keep_logins, kept_logins
job = json.loads(sys.stdin.readline())
keep_logins(job["logins"])
kept = kept_logins() == [("shop.example", 443, "me:hunter2")]
open_to_others = "hunter2" in str(os.environ) + str(sys.argv)
print(json.dumps({"kind": "result", "finetuned": kept and not open_to_others}), flush=True)
"""


def test_a_login_goes_to_workers_by_their_pipe_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_logins()
    without_login("https://me:hunter2@shop.example/photos")
    monkeypatch.setattr(
        "shopsight.training.workers.worker_command", lambda: [sys.executable, "-c", SEES]
    )
    ranks = [WorkerRank(rank, 2, rank, 0, "127.0.0.1", 1, "x") for rank in range(2)]
    jobs = [
        Job("run", "", "cache", 1.0, 0.0, asdict(rank), {}, logins=kept_logins()) for rank in ranks
    ]
    forget_logins()
    assert "hunter2" not in repr(jobs)
    with Workers(jobs) as workers:
        while not workers.ended():
            time.sleep(0.01)
        workers.show_progress()
        assert workers.result is True
