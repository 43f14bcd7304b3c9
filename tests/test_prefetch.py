from __future__ import annotations

import threading
import time

import pytest

from shopsight.prefetch import PIECES_WAITING, core_count, prefetch


@pytest.mark.parametrize("threads", [1, 4])
def test_pieces_come_in_order(threads: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(prefetch(make, 20, threads=threads)) == [number * number for number in range(20)]
    assert list(prefetch(make, 0, threads=threads)) == []


def test_only_a_few_pieces_are_made_ahead() -> None:
    started: list[int] = []
    pieces = prefetch(lambda number: started.append(number) or number, 100, threads=2)
    next(pieces)
    time.sleep(0.1)
    assert len(started) <= 1 + 2 + PIECES_WAITING
    pieces.close()  # type: ignore[attr-defined]


def test_an_exception_comes_at_its_piece() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("piece 3")
        return number

    pieces = prefetch(make, 100, threads=2)
    assert [next(pieces) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="piece 3"):
        next(pieces)
    _assert_no_threads_left()


def test_abandoning_stops_the_threads() -> None:
    pieces = prefetch(lambda number: number, 10**9, threads=3)
    next(pieces)
    del pieces
    _assert_no_threads_left()


def test_core_count() -> None:
    assert core_count() >= 1


def _assert_no_threads_left() -> None:
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("shopsight-ahead")]
