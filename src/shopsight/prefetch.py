"""Work done by threads before its results are requested, and how many threads that takes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

FINISHED_WAITING = 2
"""Finished results kept beside those in work: enough to ride out a slow one, little memory."""

MAX_THREADS = 8
"""Threads that decode and augment, unless the caller says otherwise.

Eight threads already decode faster than a GPU trains; more would only hold more batches in memory.
"""

THREAD_NAME = "shopsight-prefetch"


def prefetch(
    function: Callable[[Item], Made],
    items: Iterable[Item],
    *,
    threads: int,
    window: int | None = None,
) -> Iterator[Made]:
    """Apply a function to items by threads, and yield the results in the items' order.

    An exception in `function` reaches the caller in place of that item's result. Closing or
    dropping the iterator waits for the calls that have begun, and begins no more.

    Args:
        function: called from several threads at once.
        items: taken one by one as the window moves on, so that an endless iterable will do.
        threads: how many calls run at a time.
        window: how many items may have been taken whose results were not; None is `threads` and
            `FINISHED_WAITING` together.
    """
    window = threads + FINISHED_WAITING if window is None else max(1, window)
    remaining = iter(items)
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=THREAD_NAME)
    try:
        while True:
            for item in islice(remaining, window - len(waiting)):
                waiting.append(pool.submit(function, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def core_count() -> int:
    """Cores that this process may use, which a container or `taskset` may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """One thread per core that this process may use, at most `MAX_THREADS`."""
    return min(MAX_THREADS, core_count())
