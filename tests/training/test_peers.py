"""Processes that agree over a board, here threads over one in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

from shopsight.errors import ConfigError, TrainingError
from shopsight.training.distributed import World
from shopsight.training.peers import ALONE, Peers, check_shared_folder


def in_all(count: int, work: Callable[[Peers], Any]) -> list[Any]:
    """What each of so many processes returns or raises."""
    store = distributed.HashStore()

    def one(rank: int) -> Any:
        peers = Peers(World(rank=rank, size=count), store)
        try:
            return work(peers)
        except BaseException as error:
            peers.fail(error)
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_all_get_what_the_first_made_and_what_each_says() -> None:
    made: list[int] = []

    def work(peers: Peers) -> Any:
        def make() -> dict[str, int]:
            made.append(peers.rank)
            return {"made by": peers.rank}

        first = peers.first(make)
        said = peers.gather(f"rank {peers.rank}")
        peers.leave()
        return first, said, peers.first(lambda: len(made))

    assert in_all(3, work) == [({"made by": 0}, ["rank 0", "rank 1", "rank 2"], 1)] * 3
    assert made == [0]


def test_a_failure_of_one_ends_the_others_by_name() -> None:
    def work(peers: Peers) -> Any:
        if peers.rank == 1:
            raise ConfigError("no such setting", fix="another")
        return peers.first(lambda: peers.gather(0))

    first, second, third = in_all(3, work)
    assert str(second).startswith("no such setting")
    for rank, error in ((0, first), (2, third)):
        assert isinstance(error, TrainingError)
        assert str(error) == f"rank {rank} stops, because rank 1 failed: no such setting"


def test_an_interruption_of_one_interrupts_the_others() -> None:
    def work(peers: Peers) -> Any:
        if peers.rank == 0:
            raise KeyboardInterrupt
        return peers.gather(0)

    assert [type(error) for error in in_all(2, work)] == [KeyboardInterrupt] * 2


def test_a_process_without_a_sign_of_life_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shopsight.training.peers.LIFELESS_LOOKS", 3)
    alone_of_two = Peers(World(rank=0, size=2), distributed.HashStore())
    with pytest.raises(TrainingError, match="rank 1 shows no sign of life"):
        alone_of_two.gather(0)


def test_one_process_waits_for_nobody() -> None:
    assert ALONE.first(lambda: 5) == 5
    assert ALONE.gather("x") == ["x"]
    assert not ALONE.posted("anything")
    ALONE.leave()


def test_a_shared_folder_is_left_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").touch()
    for folder in (there, tmp_path / "new" / "run"):
        assert in_all(2, lambda peers, folder=folder: check_shared_folder(folder, peers)) == [
            None,
            None,
        ]
    assert [path.name for path in there.iterdir()] == ["file"]
    assert not (tmp_path / "new" / "run").exists()


def test_a_folder_of_one_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopsight.training.peers.SHARED_S", 0.2)
    errors = in_all(2, lambda peers: check_shared_folder(tmp_path / str(peers.rank), peers))
    for error in errors:
        assert isinstance(error, TrainingError)
        assert "rank 1 does not find what rank 0 writes there" in str(error)
