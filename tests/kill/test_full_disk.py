"""A disk that is full from some write on: a clear error, old results whole, and the next try works.

So with a disk that turns read-only, and with a folder that somebody moves away meanwhile. The
faults are injected below the libraries, so that every write of each command is met, also those of
Rust. `tests/fuzz/test_disks.py` fills small disks of their own.
"""

from __future__ import annotations

import pytest

from tests.kill.commands import COMMANDS
from tests.kill.conftest import Kill
from tests.kill.faults import changes, filled

# Forty trainings and their continuations, on machines that are busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MOST, FEW = 40, 12


@pytest.mark.parametrize("name", COMMANDS)
def test_full_at_many_writes(name: str, kill: Kill) -> None:
    for number in changes(kill, name, MOST):
        filled(kill, name, number)


@pytest.mark.parametrize("fault", ["read_only_at", "moved_at"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_or_a_folder_that_goes(name: str, fault: str, kill: Kill) -> None:
    for number in changes(kill, name, FEW):
        filled(kill, name, number, fault=fault)
