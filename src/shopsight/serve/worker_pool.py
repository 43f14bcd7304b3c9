"""A few threads for work that blocks, with a bound on what waits for them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shopsight.serve.refusals import come_again

Result = TypeVar("Result")
BUSY_SECONDS = 2.0


class WorkerPool:
    """Runs calls; made and asked in the event loop.

    Args:
        name: of its threads.
        threads: how many calls run at a time.
        most_waiting: calls that run or wait; further ones are asked to come again.
    """

    def __init__(self, name: str, *, threads: int, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"shopsight-{name}")
        self._most_waiting = most_waiting
        self._waiting = 0

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of a call.

        Raises:
            RefusedError: Too many wait.
        """
        if self._waiting >= self._most_waiting:
            raise come_again(429, "too many requests wait", BUSY_SECONDS)
        context = contextvars.copy_context()
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, context.run, call)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Begin no further call; one that runs is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)
