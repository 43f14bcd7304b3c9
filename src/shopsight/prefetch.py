"""Work done ahead by threads, handed out in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")

# Finished pieces that wait beside those being made: enough to ride out a slow one, little memory.
PIECES_WAITING = 2


def prefetch(make: Callable[[int], Made], count: int, *, threads: int) -> Iterator[Made]:
    """make(0) .. make(count - 1) in order, the next ones being made meanwhile.

    An exception in `make` reaches the caller at its piece. Closing or dropping the iterator waits
    for the pieces being made and starts no further ones.
    """
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="shopsight-ahead")
    waiting: deque[Future[Made]] = deque()
    try:
        for number in range(count):
            waiting.append(pool.submit(make, number))
            if len(waiting) >= threads + PIECES_WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
