"""The one prefetcher: order, window, errors, and no thread left behind."""

from __future__ import annotations

import itertools
import os
import threading
import time

import pytest

from shopsight.prefetch import (
    FINISHED_WAITING,
    MAX_THREADS,
    THREAD_NAME,
    core_count,
    default_threads,
    prefetch,
)


@pytest.mark.parametrize("threads", [1, 4])
def test_results_come_in_order(threads: int) -> None:
    def square(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(prefetch(square, range(20), threads=threads)) == [n * n for n in range(20)]
    assert list(prefetch(square, [], threads=threads)) == []


def test_only_the_window_is_made_before_it_is_requested() -> None:
    started: list[int] = []
    results = prefetch(started.append, range(100), threads=2)
    next(results)
    time.sleep(0.1)
    assert len(started) <= 1 + 2 + FINISHED_WAITING
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("window", [0, 1, 5])
def test_items_are_taken_one_by_one(window: int) -> None:
    taken = itertools.count()
    results = prefetch(lambda number: number, taken, threads=2, window=window)
    for number in range(10):
        assert next(results) == number
    results.close()  # type: ignore[attr-defined]
    assert next(taken) <= 9 + max(1, window)


def test_an_exception_comes_at_its_item() -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise ValueError("item 3")
        return number

    results = prefetch(fail_at_three, range(100), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(results)
    _assert_no_threads_left()


def test_dropping_the_iterator_stops_the_threads() -> None:
    results = prefetch(lambda number: number, itertools.count(), threads=3)
    next(results)
    del results
    _assert_no_threads_left()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_are_those_of_the_process() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert core_count() == default_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert core_count() == len(allowed)
    assert default_threads() == min(MAX_THREADS, len(allowed))


def _assert_no_threads_left() -> None:
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(THREAD_NAME)]
