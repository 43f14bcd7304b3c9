"""kill -9 twice for each kind of work, and a full disk: the short form of the slow tests beside it.

All in one file, for one process that forks and one run that all share.
"""

from __future__ import annotations

import pytest

from tests.kill.conftest import Kill
from tests.kill.faults import changes, filled, killed

pytestmark = pytest.mark.posix("forks; on Windows among the slow tests")

TIMES = 2


@pytest.mark.parametrize("name", ["train", "audit", "evaluate", "csv", "sort", "zip", "deb"])
def test_killed_at_a_change(name: str, kill: Kill) -> None:
    """The cache of decoded images is built by `train`, and again by `evaluate`."""
    for number in changes(kill, name, TIMES):
        killed(kill, name, kill_at=number)


@pytest.mark.parametrize("name", ["audit", "zip"])
def test_full_at_a_write(name: str, kill: Kill) -> None:
    (last,) = changes(kill, name, 1)
    filled(kill, name, last * 2 // 3)
