"""How the processes that were started agree: by notes on a board that rank 0 keeps.

The board is torch's `TCPStore`. Whoever waits looks at it again and again, so that a wait of hours
(rank 0 decodes all images first) needs no time limit, and ends at once when another process fails,
is interrupted or dies. Notes are JSON; the tensors of a training go other ways.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from torch import distributed

from shopsight import progress
from shopsight.errors import ShopsightError, TrainingError, first_line
from shopsight.files import make_folder
from shopsight.held_files import remove_empty_folder, remove_file
from shopsight.training.distributed import World

T = TypeVar("T")

POLL_S = 0.1
# From the first process's arrival to the last one's.
JOIN_S = 300.0
# Rank 0 keeps the board until the others have read its last note.
LINGER_S = 10.0
# A network file system may show a new file late.
SHARED_S = 20.0
# A process that shows no sign of life in so many looks of rank 0 at the board is lost.
LIFELESS_LOOKS = 600
STOP = "stop"

# Joins of this process: torchrun's board outlives a training.
_joins = count()


class Peers:
    """The other processes that were started; without any, every method is trivial.

    All of them call the same methods in the same order.

    Args:
        world: The processes.
        store: The board; None for a single process.

    Attributes:
        world: The processes.
    """

    def __init__(self, world: World, store: distributed.Store | None = None) -> None:
        self.world = world
        self._store = store
        self._steps = count()
        self._signs: dict[int, tuple[int, int]] = {}
        self._looks = 0

    @property
    def rank(self) -> int:
        """Number of this process among those that were started."""
        return self.world.rank

    def first(self, action: Callable[[], T]) -> T:
        """Let rank 0 do something; all get its result, which must be plain JSON."""
        if self._store is None:
            return action()
        key = f"first/{next(self._steps)}"
        if self.rank == 0:
            result = action()
            self._store.set(key, json.dumps(result))
            return result
        self._wait_for(key)
        value: T = json.loads(self._store.get(key))
        return value

    def gather(self, value: Any) -> list[Any]:
        """What each of the processes says, in the order of their ranks; plain JSON."""
        if self._store is None:
            return [value]
        key = f"each/{next(self._steps)}"
        self._store.set(f"{key}/{self.rank}", json.dumps(value))
        said = []
        for rank in range(self.world.size):
            self._wait_for(f"{key}/{rank}")
            said.append(json.loads(self._store.get(f"{key}/{rank}")))
        return said

    def post(self, key: str) -> None:
        """Put up a note without content."""
        if self._store is not None:
            self._store.set(key, "")

    def posted(self, key: str) -> bool:
        """Whether a process has put up that note.

        Raises:
            TrainingError: Another process has failed, or is lost.
            KeyboardInterrupt: Another process was interrupted.
        """
        if self._store is None:
            return False
        try:
            self._store.add(f"alive/{self.rank}", 1)
            # The note first: what all find out together, each says by itself.
            if self._store.check([key]):
                return True
            if self._store.check([STOP]):
                self._stop(json.loads(self._store.get(STOP)))
            if self.rank == 0:
                self._look_for_the_lost()
            return False
        except (RuntimeError, distributed.DistError) as error:
            raise TrainingError(
                f"rank {self.rank} lost the connection to rank 0 at {self.world.address}",
                details=[first_line(error)],
            ) from error

    def fail(self, error: BaseException) -> None:
        """End the other processes, because this one failed."""
        interrupted = isinstance(error, KeyboardInterrupt)
        if self._store is None or isinstance(error, _OtherFailedError):
            return
        note = {"rank": self.rank, "interrupted": interrupted, "what": first_line(error)}
        try:
            self._store.set(STOP, json.dumps(note))
            self._linger()
        except (RuntimeError, distributed.DistError):
            # Rank 0 is gone, and the board with it: the others notice that by themselves.
            return

    def leave(self) -> None:
        """Wait for all others: their commands end together, with one exit code."""
        if self._store is None:
            return
        self.gather(None)
        self._linger()

    def _linger(self) -> None:
        assert self._store is not None
        self._store.set(f"left/{self.rank}", "")
        if self.rank > 0:
            return
        until = time.monotonic() + LINGER_S
        others = [f"left/{rank}" for rank in range(1, self.world.size)]
        while time.monotonic() < until and not self._store.check(others):
            time.sleep(POLL_S)

    def _wait_for(self, key: str) -> None:
        while not self.posted(key):
            time.sleep(POLL_S)

    def _stop(self, note: dict[str, Any]) -> None:
        assert self._store is not None
        self._store.set(f"left/{self.rank}", "")
        if note["interrupted"]:
            raise KeyboardInterrupt
        raise _OtherFailedError(
            f"rank {self.rank} stops, because rank {note['rank']} failed: {note['what']}"
        )

    def _look_for_the_lost(self) -> None:
        """Compare the signs of life with those of an earlier look at the board."""
        assert self._store is not None
        self._looks += 1
        for rank in range(1, self.world.size):
            sign = self._store.add(f"alive/{rank}", 0)
            before, since = self._signs.get(rank, (-1, 0))
            if sign != before:
                self._signs[rank] = (sign, self._looks)
            elif self._looks - since > LIFELESS_LOOKS:
                raise TrainingError(f"rank {rank} shows no sign of life: was its process killed?")


class _OtherFailedError(TrainingError):
    """Another process failed, and has said why."""


class InterruptedWithOthers(KeyboardInterrupt):
    """An interruption in another process than the first, which says it to the user."""


ALONE = Peers(World())
_joined: ContextVar[Peers] = ContextVar("shopsight_peers", default=ALONE)


def current_peers() -> Peers:
    """The processes that this one has joined: `ALONE` outside of `joined`."""
    return _joined.get()


@contextmanager
def joined(world: World) -> Iterator[Peers]:
    """Meet the other processes of the world for the block; leave them together.

    Inside, the first process alone reports progress. A block within a block changes nothing.

    Raises:
        TrainingError: They did not all come; or, inside the block, another one failed.
    """
    if current_peers() is not ALONE:
        yield current_peers()
        return
    if world.size == 1:
        # Nobody to meet; its workers hear nothing of Ctrl-C.
        yield Peers(world)
        return
    peers = Peers(world, _meet(world))
    token = _joined.set(peers)
    try:
        with progress.use_listener(None) if world.rank else nullcontext():
            yield peers
            peers.leave()
    except KeyboardInterrupt as error:
        peers.fail(error)
        if world.rank:
            raise InterruptedWithOthers from error
        raise
    except BaseException as error:
        peers.fail(error)
        if world.rank and isinstance(error, ShopsightError):
            _name_rank(error, world.rank)
        raise
    finally:
        _joined.reset(token)


def _name_rank(error: ShopsightError, rank: int) -> None:
    named = f"rank {rank}"
    if not str(error).startswith(named):
        error.args = (f"{named}: {error}",)


def open_store(
    address: str, port: int, *, host: bool, size: int | None = None
) -> distributed.TCPStore:
    """Open the board, or connect to it.

    Args:
        address: Of the machine that keeps it.
        port: Where it listens; 0 takes a free one, see the store's `port`.
        host: Whether this process keeps it.
        size: Number of processes that will connect.
    """
    return distributed.TCPStore(
        address,
        port,
        world_size=size,
        is_master=host,
        timeout=timedelta(seconds=JOIN_S),
        wait_for_workers=False,
        # PyTorch for Windows is built without libuv.
        use_libuv=os.name != "nt",
    )


def _meet(world: World) -> distributed.Store:
    """Connect to the board, and wait until everybody is there."""
    # torchrun keeps a board of its own at that port.
    host = world.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        board = open_store(world.address, world.port, host=host, size=world.size)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = distributed.PrefixStore(f"shopsight/{attempt}/{next(_joins)}", board)
        store.set(f"here/{world.rank}", "")
        missing = list(range(world.size))
        until = time.monotonic() + JOIN_S
        while missing and time.monotonic() < until:
            missing = [rank for rank in missing if not store.check([f"here/{rank}"])]
            time.sleep(POLL_S)
    except (RuntimeError, distributed.DistError) as error:
        taken = host and "address already in use" in str(error).lower()
        who, place = f"rank {world.rank} of {world.size}", f"{world.address}:{world.port}"
        raise TrainingError(
            f"{who} cannot listen at {place}, which another program uses"
            if taken
            else f"{who} cannot reach rank 0 at {place}",
            details=[first_line(error)],
            fix="MASTER_ADDR and MASTER_PORT name the machine of rank 0 and a free port there",
        ) from error
    if missing:
        raise TrainingError(
            f"{len(missing)} of {world.size} processes did not start within {JOIN_S:.0f} s",
            details=[f"rank {rank}" for rank in missing],
            fix="start them all: by torchrun, or with srun before the command",
        )
    return store


def check_shared_folder(folder: Path, peers: Peers) -> None:
    """Check that all processes see the files that rank 0 writes into a folder.

    Args:
        folder: Of the run; it may not exist yet.
        peers: The processes that were started.

    Raises:
        TrainingError: Some do not: it is on a disk of one node, or a relative path.
    """
    if peers.world.size == 1:
        return
    mark = folder / peers.first(lambda: _leave_mark(folder))
    until = time.monotonic() + SHARED_S
    while not mark.is_file() and time.monotonic() < until:
        time.sleep(POLL_S)
    found = peers.gather(mark.is_file())
    if peers.rank == 0:
        remove_file(mark)
        # Empty unless it was there before.
        remove_empty_folder(folder)
    blind = [f"rank {rank}" for rank, sees in enumerate(found) if not sees]
    if blind:
        raise TrainingError(
            "is not on a file system that all processes share",
            where=str(folder),
            details=[f"{name} does not find what rank 0 writes there" for name in blind],
            fix="--out with the full path of a shared folder",
        )


def _leave_mark(folder: Path) -> str:
    make_folder(folder)
    mark = folder / f".seen-{uuid4().hex[:8]}"
    mark.touch()
    return mark.name
