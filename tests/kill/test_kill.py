"""kill -9 at random moments and at chosen changes of files: what was promised is there.

After each kill all files with final names are whole; the next command goes on and ends with what
an uninterrupted one leaves (of a training: the same weights, history, predictions and scores, bit
for bit); and nothing of the killed process is left.
"""

from __future__ import annotations

import random

import pytest

from tests.kill.commands import COMMANDS, check_whole, leftovers
from tests.kill.conftest import Kill

TIMES, QUICK_TIMES = 20, 2
QUICK = ("audit", "train", "csv", "sort")


def killed(kill: Kill, name: str, **fault: float) -> None:
    """Kill a command, look at what it left, and run the next one."""
    command = COMMANDS[name]
    _, expected = kill.whole(name)
    folder, places = kill.begin(command)
    ended = kill.server.run(command.line(places), folder, **fault)
    assert ended.code in (0, 1, -9), ended.printed
    check_whole(folder)
    kill.succeed(command.next_line(places), folder)
    check_whole(folder)
    assert command.result(folder / "out") == expected
    assert leftovers(folder / "out") == []
    kill.forget(folder)


def moments(kill: Kill, name: str, count: int) -> list[float]:
    """Random moments of the command's time, in seconds."""
    generator, seconds = random.Random(name), kill.whole(name)[0].seconds
    return [seconds * generator.uniform(0.02, 0.98) for _ in range(count)]


def changes(kill: Kill, name: str, count: int) -> list[int]:
    """Random ones of the command's changes to files, counted from 1; the last one is among them."""
    if kill.server.faults is None:
        pytest.skip("needs Linux and a C compiler")
    generator, most = random.Random(name), kill.whole(name)[0].changes
    others = range(1, most)
    return sorted([*generator.sample(others, min(count - 1, len(others))), most])


@pytest.mark.posix("forks; on Windows among the slow tests")
@pytest.mark.parametrize("name", QUICK)
def test_killed_at_a_change(name: str, kill: Kill) -> None:
    for number in changes(kill, name, QUICK_TIMES):
        killed(kill, name, kill_at=number)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_many_changes(name: str, kill: Kill) -> None:
    for number in changes(kill, name, TIMES):
        killed(kill, name, kill_at=number)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name: str, kill: Kill) -> None:
    for moment in moments(kill, name, TIMES):
        killed(kill, name, kill_after_s=moment)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "csv", "sort"])
def test_killed_again_and_again(name: str, kill: Kill) -> None:
    """Each next command is killed too, until one has the time to end."""
    command = COMMANDS[name]
    whole, expected = kill.whole(name)
    folder, places = kill.begin(command)
    generator = random.Random(name)
    for _ in range(TIMES):
        moment = whole.seconds * generator.uniform(0.2, 0.9)
        kill.server.run(command.next_line(places), folder, kill_after_s=moment)
        check_whole(folder)
    kill.succeed(command.next_line(places), folder)
    assert command.result(folder / "out") == expected
    assert leftovers(folder / "out") == []
    kill.forget(folder)
