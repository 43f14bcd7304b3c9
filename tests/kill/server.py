"""Runs commands in forked processes, so that the libraries are loaded once.

Reads a job a line from stdin, as JSON: the words of the command, the folder below which changes
count, the cache, the folder for temporary files, the stand-ins for hosts, the file for what is
printed, and a fault: `kill_after_s`, or the change at which one of faults.c comes. Answers with the
exit code (negative: the signal), the seconds and the number of changes that were seen.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LOADED = (
    *("torch", "lightning", "polars", "cv2", "torchvision", "shopsight.cli.app"),
    *(f"shopsight.commands.{verb}" for verb in ("audit", "compare", "evaluate", "predict")),
    *("shopsight.commands.split", "shopsight.commands.train", "shopsight.training.worker"),
)
COUNT = 1
# As in faults.c.
MODES = {"kill_at": 2, "full_at": 3, "read_only_at": 4, "moved_at": 5}


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    # What the forks do not touch, they do not copy.
    gc.collect()
    gc.freeze()
    faults = ctypes.CDLL(os.environ["LD_PRELOAD"]) if "LD_PRELOAD" in os.environ else None
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_done(json.loads(line), faults)) + "\n")
        sys.stdout.flush()


def _done(job: dict[str, Any], faults: ctypes.CDLL | None) -> dict[str, Any]:
    reader, writer = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os._exit(_work(job, faults, writer))
    os.close(writer)
    ended = 0
    while not ended:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            late = time.monotonic() - started
            if late > job.get("kill_after_s", job["limit_s"]):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
    with os.fdopen(reader, encoding="ascii") as told:
        changes = int(told.read() or 0)
    seconds = time.monotonic() - started
    return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "changes": changes}


def _work(job: dict[str, Any], faults: ctypes.CDLL | None, writer: int) -> int:
    """The command, in its own process; the exit code."""
    from shopsight.cli.app import main as run

    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin.close()
    os.environ["SHOPSIGHT_CACHE"] = job["cache"]
    os.environ["PATH"] = job["programs"] + os.pathsep + os.environ["PATH"]
    _replace(job["constants"])
    Path(job["temp"]).mkdir(exist_ok=True)
    tempfile.tempdir = job["temp"]
    if faults is not None:
        name = next((name for name in MODES if name in job), None)
        mode, at = (COUNT, 0) if name is None else (MODES[name], job[name])
        faults.faults_arm(mode, ctypes.c_long(at), os.fsencode(Path(job["root"])))
    try:
        run(job["words"])
    except SystemExit as end:
        code = int(end.code or 0)
    if faults is not None:
        os.write(writer, str(faults.faults_seen()).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _replace(constants: dict[str, dict[str, Any]]) -> None:
    for name, values in constants.items():
        module = importlib.import_module(name)
        for key, value in values.items():
            setattr(module, key, type(getattr(module, key))(value))


if __name__ == "__main__":
    main()
    # Libraries take seconds to put down what the forks had no use for.
    os._exit(0)
