"""kill -9 while an index is built, added to, brought up to date or compacted.

The next command goes on, and the index is what an uninterrupted one leaves: every item once, with
its vector, and found by it. `tests/search/test_kill_build.py` and `test_kill_index.py` kill the
functions below the command line many times more.
"""

from __future__ import annotations

import pytest

from tests.kill.commands import INDEX_COMMANDS
from tests.kill.conftest import Kill
from tests.kill.faults import changes, killed, moments

pytest.importorskip("qdrant_edge")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TIMES = 10


@pytest.mark.parametrize("name", INDEX_COMMANDS)
def test_killed_at_many_changes(name: str, kill: Kill) -> None:
    for number in changes(kill, name, TIMES):
        killed(kill, name, kill_at=number)


@pytest.mark.parametrize("name", INDEX_COMMANDS)
def test_killed_at_random_moments(name: str, kill: Kill) -> None:
    for moment in moments(kill, name, TIMES):
        killed(kill, name, kill_after_s=moment)
