"""Which process wrote something, and whether it still runs."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

_MACHINE_DIGITS, _PID_DIGITS, _START_DIGITS = 6, 8, 4
MARK_DIGITS = _MACHINE_DIGITS + _PID_DIGITS + _START_DIGITS
"""Hexadecimal digits of a mark."""
# Numbers come again: the first process of a container that is started anew has its old one.
_START = uuid.uuid4().hex[:_START_DIGITS]
# Windows: asking how a process ended, and its answers.
_QUERY, _STILL_ACTIVE, _ACCESS_DENIED = 0x1000, 259, 5


def own_mark() -> str:
    """The mark of this process: its machine, its number and its start, in `MARK_DIGITS` digits."""
    return f"{_machine()}{os.getpid():0{_PID_DIGITS}x}{_START}"


def has_ended(mark: str) -> bool:
    """Whether the process of a mark surely runs no more.

    Not of a process on another machine, in another container, or before this machine was started
    anew: of these nothing is known.
    """
    machine, pid = mark[:_MACHINE_DIGITS], int(mark[_MACHINE_DIGITS:-_START_DIGITS], 16)
    if machine != _machine():
        return False
    return mark != own_mark() if pid == os.getpid() else not _runs(pid)


@cache
def _machine() -> str:
    """What tells processes of equal numbers apart: the machine, its start, the container."""
    known = [platform.node()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:_MACHINE_DIGITS]


def _runs(pid: int) -> bool:
    if sys.platform == "win32":
        # There, `os.kill` would end it.
        return _runs_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # Somebody else's.
        return True
    return True


def _runs_on_windows(pid: int) -> bool:
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(_QUERY, False, pid)
    if not handle:
        last: int = ctypes.get_last_error()  # type: ignore[attr-defined]
        return last == _ACCESS_DENIED
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not known or code.value == _STILL_ACTIVE
