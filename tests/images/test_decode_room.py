from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images.decode import decode
from shopsight.images.decode_room import DecodeRoom, decoding, room, take_room
from shopsight.images.model_input import preprocess_image
from shopsight.memory import use_memory_budget
from shopsight.preprocess import Preprocess
from tests.images.samples import jpeg, saved, smooth

LONGEST_S = 10


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_who_asked_first_is_served_first() -> None:
    room, served = DecodeRoom(), list[int]()
    room.take(40, 100)

    def take(size: int) -> None:
        room.take(size, 100)
        served.append(size)

    threads = []
    for number, size in enumerate((90, 5, 6), start=1):
        threads.append(started(lambda size=size: take(size)))
        until(lambda number=number: len(room._waiting) == number)
    # The small ones would fit, and do not pass the large one.
    assert served == []
    room.give_back(40)
    until(lambda: served == [90])
    room.give_back(90)
    for thread in threads:
        thread.join(LONGEST_S)
    assert sorted(served) == [5, 6, 90]
    assert room.taken_bytes == 11


def test_together_they_have_half_of_the_budget_and_one_alone_all_of_it() -> None:
    room = DecodeRoom()
    room.take(100, 100)
    room.give_back(100)
    room.take(25, 100)
    room.take(25, 100)
    assert not room._fits(1, 100)


def test_many_threads_keep_within_the_budget_and_all_end() -> None:
    before, budget = room.taken_bytes, 0.1
    room.most_taken_bytes = 0
    sizes = np.random.default_rng(0).integers(1, 60_000_000, 200).tolist()

    def work(size: int) -> None:
        with decoding():
            take_room(size // 3, size=(1, 1), where=None)
            take_room(size, size=(1, 1), where=None)

    with use_memory_budget(budget), ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sizes, timeout=LONGEST_S))
    assert room.taken_bytes == before
    assert room.most_taken_bytes <= max(*sizes, budget * 1e9 / 2)


def test_an_image_beyond_the_budget_is_refused_with_its_need() -> None:
    data = saved(Image.fromarray(smooth(900, 600)), "PNG")
    with use_memory_budget(0.01), pytest.raises(ImageError) as caught:
        decode(data, where="a.png")
    assert caught.value.reason == "too large"
    assert "900x600" in caught.value.what
    assert "budget is 10.0 MB" in caught.value.what
    assert "--memory-gb" in str(caught.value.fix)
    assert caught.value.where == "a.png"
    assert decode(data).shape == (600, 900, 3)


def test_a_progressive_jpeg_needs_room_for_its_coefficients() -> None:
    plain, progressive = (
        jpeg(smooth(3000, 2000), progressive=several, quality=80) for several in (False, True)
    )
    preprocess = Preprocess(size_px=64)
    with use_memory_budget(0.03):
        assert preprocess_image(plain, preprocess).shape == (64, 64, 3)
        with pytest.raises(ImageError, match="budget"):
            preprocess_image(progressive, preprocess)


def test_no_memory_is_said_of_the_image() -> None:
    def decode_without_memory() -> None:
        with decoding():
            take_room(1, size=(1, 1), where="a.jpg")
            raise MemoryError

    with pytest.raises(ImageError) as caught:
        decode_without_memory()
    assert caught.value.reason == "too large"
    assert caught.value.where == "a.jpg"


def test_what_was_taken_is_given_back_after_an_error() -> None:
    before = room.taken_bytes
    broken = saved(Image.fromarray(smooth()), "PNG")[:300]
    with pytest.raises(ImageError):
        decode(broken)
    assert room.taken_bytes == before
