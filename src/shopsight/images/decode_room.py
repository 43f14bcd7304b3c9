"""Room for images while they are decoded: all threads of the process share one measure of bytes.

A photo takes a few megabytes while it is decoded, a scan of 100 megapixels a thousand times as
much, and each core decodes one. So a decode first takes as many bytes of the room as it will need
(`decode_cost` estimates them) and waits until they are free.

- Together, decodes have half of the memory budget. The other half is for what is made of them. One
  image alone may take the whole budget: it waits until no other is decoded.
- What needs more than the budget is refused, by its name, before anything is decoded.
- Who asked first is served first, so that a large image is not passed by small ones for ever.
- Nobody waits with bytes in hand: a thread that needs more gives back what it has before it asks,
  so none can wait for each other. Files are fetched before, outside the room.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType

from shopsight.errors import ImageError
from shopsight.memory import memory_budget_bytes
from shopsight.text import human_bytes

TOGETHER_SHARE = 0.5
"""Of the budget, for all images that are decoded at a time."""

_FIX = "make the image smaller, or allow more: --memory-gb, in a recipe hardware.memory_gb"


class DecodeRoom:
    """Bytes that threads take and give back, in the order in which they asked.

    Attributes:
        taken_bytes: in use now.
        most_taken_bytes: the most that were in use at a time.
    """

    def __init__(self) -> None:
        self.taken_bytes = 0
        self.most_taken_bytes = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition(threading.Lock())

    def take(self, needed_bytes: int, budget_bytes: int) -> None:
        """Wait until so many bytes are free, or nobody else has any, and take them."""
        with self._changed:
            if self._waiting or not self._fits(needed_bytes, budget_bytes):
                ticket = object()
                self._waiting.append(ticket)
                try:
                    self._changed.wait_for(
                        lambda: (
                            self._waiting[0] is ticket and self._fits(needed_bytes, budget_bytes)
                        )
                    )
                finally:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
            self.taken_bytes += needed_bytes
            self.most_taken_bytes = max(self.most_taken_bytes, self.taken_bytes)

    def give_back(self, taken_bytes: int) -> None:
        """Free bytes that were taken."""
        with self._changed:
            self.taken_bytes -= taken_bytes
            if self._waiting:
                self._changed.notify_all()

    def _fits(self, needed_bytes: int, budget_bytes: int) -> bool:
        together = self.taken_bytes + needed_bytes
        return self.taken_bytes == 0 or together <= TOGETHER_SHARE * budget_bytes


class _Held(threading.local):
    """What this thread has taken, and in how many blocks of `decoding` it is."""

    taken_bytes = 0
    blocks = 0
    where: str | None = None


class decoding:  # noqa: N801 - used as a statement: `with decoding():`
    """A block in which an image is decoded and made smaller: what it takes is kept until its end.

    Blocks may be nested; the outermost one gives back. An image for which the system has no memory,
    whatever the budget says, is an `ImageError` like one that is too large for the budget.
    """

    def __enter__(self) -> None:
        _held.blocks += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _held.blocks -= 1
        if _held.blocks:
            return
        _give_back()
        where, _held.where = _held.where, None
        if isinstance(error, MemoryError):
            raise ImageError(
                "too large", "there is no memory left to decode it", where=where, fix=_FIX
            ) from error


def take_room(needed_bytes: int, *, size: tuple[int, int], where: str | None) -> None:
    """Wait for the room to decode an image, until the end of the block of `decoding`.

    Args:
        needed_bytes: all that is needed at a time, with what this thread took before in the block.
        size: width and height of the image as stored, for the error.
        where: the file's name, for the error.

    Raises:
        ImageError: "too large", more than the whole memory budget.
    """
    assert _held.blocks, "outside a block, nothing would give it back"
    _held.where = where
    if needed_bytes <= _held.taken_bytes:
        return
    budget_bytes = memory_budget_bytes()
    if needed_bytes > budget_bytes:
        width, height = size
        raise ImageError(
            "too large",
            f"decoding its {width}x{height} pixels takes {human_bytes(needed_bytes)}, and the "
            f"memory budget is {human_bytes(budget_bytes)}",
            where=where,
            fix=_FIX,
        )
    _give_back()
    room.take(needed_bytes, budget_bytes)
    _held.taken_bytes = needed_bytes


def _give_back() -> None:
    if _held.taken_bytes:
        room.give_back(_held.taken_bytes)
        _held.taken_bytes = 0


room = DecodeRoom()
"""That of this process."""
_held = _Held()
