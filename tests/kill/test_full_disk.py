"""A disk that is full from some write on: a clear error, old results whole, and the next try works.

The fault is injected below the libraries, so that every write of each command is met, also those
of Rust. `tests/fuzz/test_disks.py` fills small disks of their own.
"""

from __future__ import annotations

import random

import pytest

from tests.kill.commands import COMMANDS, check_whole, leftovers, tree
from tests.kill.conftest import Kill

QUICK = {"audit": 3, "split": 3, "parquet": 3}
MOST = 40


def filled(kill: Kill, name: str, number: int) -> None:
    """Fill the disk at a change of a command's files, then free it and run the next one."""
    command = COMMANDS[name]
    _, expected = kill.whole(name)
    folder, places = kill.begin(command)
    before = tree(folder / "out")
    ended = kill.server.run(command.line(places), folder, full_at=number)
    if ended.code == 0:
        # Only the cache was not written, and that was said.
        assert command.result(folder / "out") == expected
        kill.forget(folder)
        return
    assert ended.code == 2, f"change {number}: {ended.code}\n{ended.printed}"
    assert "the disk is full: " in ended.printed, f"change {number}\n{ended.printed}"
    assert " are free" in ended.printed
    assert "bug of shopsight" not in ended.printed
    assert str(folder) in ended.printed, "the error says where"
    check_whole(folder)
    if command.before:
        # Of a run: what was scored before.
        assert before.keys() <= tree(folder / "out").keys()
    kill.succeed(command.next_line(places), folder)
    assert command.result(folder / "out") == expected
    assert leftovers(folder / "out") == []
    kill.forget(folder)


def numbers(kill: Kill, name: str, count: int) -> list[int]:
    """Changes of the command's files: all, or as many random ones."""
    if kill.server.faults is None:
        pytest.skip("needs Linux and a C compiler")
    every = range(1, kill.whole(name)[0].changes + 1)
    return sorted(random.Random(name).sample(every, min(count, len(every))))


@pytest.mark.parametrize("name", QUICK)
def test_full_at_a_write(name: str, kill: Kill) -> None:
    for number in numbers(kill, name, QUICK[name]):
        filled(kill, name, number)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_full_at_many_writes(name: str, kill: Kill) -> None:
    for number in numbers(kill, name, MOST):
        filled(kill, name, number)
