"""What ends a command from outside does so as Ctrl-C does: work is put down, exit code 130."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Sent by Slurm, systemd, docker and kill; sent when the terminal is closed.
_ENDING = ("SIGTERM", "SIGHUP")


@contextmanager
def ending_as_interrupted() -> Iterator[None]:
    """Have the signals that end a process raise `KeyboardInterrupt` inside the block.

    One that whoever started the command ignores, as nohup does with SIGHUP, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Windows has no SIGHUP.
    known = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    ours = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
