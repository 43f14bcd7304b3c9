"""Which of several training processes this one is, and how they wait for the first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from shopsight.errors import TrainingError

# Set by torchrun and Lightning's launcher, by Slurm, and by Lightning's launcher on one node.
RANK_VARIABLES = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
POLL_S = 0.2


def rank() -> int:
    """Number of this process: 0 in the first of several, and when there is only one."""
    for name in RANK_VARIABLES:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def wait_until(done: Callable[[], bool], *, what: str, timeout_s: float = 24 * 3600.0) -> None:
    """Wait until rank 0 has prepared something for all processes.

    Args:
        done: asked every fifth of a second.
        what: what rank 0 does, for the message: "prepare the run".
        timeout_s: preparing decodes every image once, so it may take hours.

    Raises:
        TrainingError: rank 0 was not done in time.
    """
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TrainingError(f"rank {rank()} waited {timeout_s:.0f} s for rank 0 to {what}")
        time.sleep(POLL_S)
