"""Which process wrote something, and whether it still runs."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_MACHINE_DIGITS, _PID_DIGITS, _START_DIGITS = 6, 8, 4
MARK_DIGITS = _MACHINE_DIGITS + _PID_DIGITS + _START_DIGITS
"""Hexadecimal digits of a mark."""
# Numbers come again: the first process of a container that is started anew has its old one.
_START = uuid.uuid4().hex[:_START_DIGITS]


def in_own_group() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a child that Ctrl-C does not reach.

    In a group of its own: Ctrl-C reaches this process alone, which then ends its child.
    """
    if os.name == "posix":
        return {"start_new_session": True}
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


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
    return mark != own_mark() if pid == os.getpid() else not psutil.pid_exists(pid)


@cache
def _machine() -> str:
    """What tells processes of equal numbers apart: the machine, its start, the container."""
    known = [platform.node()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:_MACHINE_DIGITS]
