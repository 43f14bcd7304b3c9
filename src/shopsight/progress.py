"""How library code reports progress, without knowing who displays it.

Library code opens a `task` and advances it, or calls `notify` with a line for the user. Nothing is
shown unless a listener is installed: the command line installs a display with `use_listener`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from shopsight.address_secrets import masked
from shopsight.control_characters import one_line

Advance = Callable[[int], None]
"""Counts further units of a task as done."""


@runtime_checkable
class ProgressListener(Protocol):
    """What displays progress: a terminal, a log, or a test."""

    def task(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """Show a task for as long as the block lasts; see `shopsight.progress.task`."""
        ...

    def notify(self, text: str) -> None:
        """Show one line; see `shopsight.progress.notify`."""
        ...


_listener: ContextVar[ProgressListener | None] = ContextVar("shopsight_progress", default=None)


@contextmanager
def use_listener(listener: ProgressListener | None) -> Iterator[None]:
    """Send the progress of everything inside the block to `listener`; None shows nothing."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def task(
    title: str, total: int | None = None, unit: str = "images"
) -> AbstractContextManager[Advance]:
    """Open a task whose progress is counted.

    Use it as `with task("Decoding", total=n) as advance: ... advance(1)`; `advance` must be
    called from the thread that opened the task.

    Args:
        title: what is done, such as "Decoding".
        total: how many units there are; None if that is not known.
        unit: what is counted, in the plural.
    """
    listener = _listener.get()
    if listener is None:
        return nullcontext(lambda _count: None)
    return listener.task(one_line(title), total, unit)


def notify(text: str) -> None:
    """Report one line: what was guessed, reused, left out or planned."""
    listener = _listener.get()
    if listener is not None:
        listener.notify(one_line(masked(text)))
