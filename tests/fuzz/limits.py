"""Inputs in a process of their own, with little memory and little time for each.

A bomb is then a failure and no harm: the process may have 2 GB of addresses, and an input that
takes too long ends it, also within a library of C, where Python hears no signal.

    answers = within_limits("tests.fuzz.decoding:decoded", inputs, folder)

The function gets the path of one input and returns what it made of it in a word; what it raises is
a failure. Only POSIX has these limits.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from shopsight.errors import ShopsightError

ADDRESS_BYTES = 2 << 30
LONGEST_S = 10
WAITING = 12
"""An input may take so many times its processor time on the clock: other tests run beside it."""

Check = Callable[[Path], str]


@dataclass(frozen=True)
class Answer:
    """What became of an input.

    Attributes:
        word: what the function returned; empty where it failed.
        failure: why, with a traceback where there is one.
        seconds: that it took.
    """

    word: str
    failure: str
    seconds: float


def within_limits(
    check: str,
    inputs: Mapping[str, bytes],
    folder: Path,
    *,
    longest_s: int = LONGEST_S,
    libraries: Sequence[str] = (),
) -> dict[str, Answer]:
    """Hand each input to a function in a process that has `ADDRESS_BYTES` of memory.

    Where one ends the process, the others go on in a new one.

    Args:
        check: the function, as "module:name".
        inputs: bytes by the name of the file that they become.
        folder: where the files are written; it is made.
        longest_s: seconds of processor time for each input.
        libraries: modules that are imported first; `ADDRESS_BYTES` come on top of theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in inputs.items():
        (folder / name).write_bytes(data)
    answers: dict[str, Answer] = {}
    while len(answers) < len(inputs):
        left = [name for name in inputs if name not in answers]
        answers |= _by_one_process(check, folder, left, [str(longest_s), *libraries])
    return answers


def _by_one_process(
    check: str, folder: Path, names: list[str], limits: list[str]
) -> dict[str, Answer]:
    # One thread of a library takes as many addresses as the largest image.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", __name__, check, str(folder), *limits],
        input="\n".join(names),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=environment,
    )
    answers = {}
    for line in done.stdout.splitlines():
        name, *values = json.loads(line)
        answers[name] = Answer(*values)
    stopped = names[len(answers) :]
    if stopped:
        why = f"the process ended by {done.returncode}\n{done.stderr[-2000:]}"
        answers[stopped[0]] = Answer("", why, 0.0)
    return answers


def named(error: ShopsightError) -> str:
    """The word for an input that is refused as it should be: in words."""
    assert error.what
    return type(error).__name__


def main() -> None:
    """Answer each line of stdin, a file's name, by a line of JSON."""
    import resource
    import signal

    module, _, name = sys.argv[1].partition(":")
    check: Check = getattr(importlib.import_module(module), name)
    for library in sys.argv[4:]:
        importlib.import_module(library)
    most = ADDRESS_BYTES + (psutil.Process().memory_info().vms if sys.argv[4:] else 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        path = Path(sys.argv[2], line.rstrip("\n"))
        start, word, failure = time.monotonic(), "", ""
        # Nobody handles the signals: they end the process wherever that is.
        signal.setitimer(signal.ITIMER_PROF, int(sys.argv[3]))
        signal.alarm(int(sys.argv[3]) * WAITING)
        try:
            word = check(path)
        except BaseException:
            failure = traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        answer = [path.name, word, failure, time.monotonic() - start]
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
