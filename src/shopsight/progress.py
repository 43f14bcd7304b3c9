"""How long work says how far it is, without knowing who listens.

Library code opens a `task` and advances it, or calls `notify` with a line worth telling. Nothing is
shown unless somebody listens: the command line installs a rich display with `use_listener`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

Advance = Callable[[int], None]


@runtime_checkable
class ProgressListener(Protocol):
    def task(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Advance]: ...

    def notify(self, text: str) -> None: ...


_listener: ContextVar[ProgressListener | None] = ContextVar("shopsight_progress", default=None)


@contextmanager
def use_listener(listener: ProgressListener) -> Iterator[None]:
    """Send the progress of everything inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def task(
    title: str, total: int | None = None, unit: str = "images"
) -> AbstractContextManager[Advance]:
    """A stretch of work.

    Use it as `with task("Decoding", total=n) as advance: ... advance(1)`; `advance` must be
    called from the thread that opened the task.
    """
    listener = _listener.get()
    if listener is None:
        return nullcontext(lambda _count: None)
    return listener.task(title, total, unit)


def notify(text: str) -> None:
    """One line worth telling: what was guessed, reused, left out or planned."""
    listener = _listener.get()
    if listener is not None:
        listener.notify(text)
