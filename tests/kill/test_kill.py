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
from tests.kill.faults import changes, killed, moments

# Twenty trainings and their continuations, on machines that are busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TIMES = 20


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_many_changes(name: str, kill: Kill) -> None:
    for number in changes(kill, name, TIMES):
        killed(kill, name, kill_at=number)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name: str, kill: Kill) -> None:
    for moment in moments(kill, name, TIMES):
        killed(kill, name, kill_after_s=moment)


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
