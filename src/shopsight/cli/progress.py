"""Progress on stderr: live bars in a terminal, a line per finished task elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shopsight import api
from shopsight.cli import streams
from shopsight.progress import Advance, ProgressListener, use_listener

if TYPE_CHECKING:
    from rich.progress import Progress

# Tasks shorter than this get no line in a log.
SHORTEST_LOGGED_S = 1.0


class BarListener:
    """Shows live bars in a terminal."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    @contextmanager
    def task(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        bar = self._bars.add_task(title, total=total, unit=unit)
        try:
            yield lambda count: self._bars.advance(bar, count)
        finally:
            self._bars.remove_task(bar)

    def notify(self, text: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(text))


class LineListener:
    """Writes plain lines to a log file or a pipe."""

    @contextmanager
    def task(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        started = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count

        yield advance
        took_s = time.monotonic() - started
        if took_s >= SHORTEST_LOGGED_S:
            counted = f"1 {api.one_of(unit)}" if done == 1 else f"{done:,} {unit}"
            self.notify(f"{title}: {counted} in {took_s:.0f} s")

    def notify(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show the progress of everything inside the block on stderr."""
    if not sys.stderr.isatty():
        lines: ProgressListener = LineListener()
        with use_listener(lines):
            yield
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=streams.terminal(sys.stderr)),
        transient=True,
    )
    # Meanwhile rich shows above the bars what is printed: text that is shown, as it was before.
    with bars, streams.shown(), use_listener(BarListener(bars)):
        yield
