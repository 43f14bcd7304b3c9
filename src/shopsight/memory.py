"""How much memory the work may take, from what this process may have at all.

A container's limit counts before the machine's memory: a process that goes beyond it is killed
without a word. What is kept at once (images that are being decoded, pieces of a table, logits of
10,000 classes) is sized by `memory_budget_bytes`, never by what the machine happens to have free.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

BUDGET_SHARE = 0.75
"""Of what this process may have: the rest is for the interpreter, libraries and the page cache."""
ASSUMED_BYTES = 4 << 30
"""Taken where the system does not say how much memory there is."""
_NO_LIMIT = 1 << 60
"""Version 1 of control groups writes about 2^63 where there is no limit."""

_chosen_bytes: list[int] = []
_lock = threading.Lock()


@contextmanager
def use_memory_budget(gb: float | None) -> Iterator[None]:
    """Keep within `gb` (10^9 bytes) of memory inside the block, in all threads; None: the default.

    A setting of the process and not of the context: threads that decode look it up.
    """
    if gb is None:
        yield
        return
    with _lock:
        _chosen_bytes.append(int(gb * 1e9))
    try:
        yield
    finally:
        with _lock:
            _chosen_bytes.pop()


def memory_budget_bytes() -> int:
    """Bytes that the work may take: what `use_memory_budget` chose, else `BUDGET_SHARE` of all."""
    with _lock:
        if _chosen_bytes:
            return _chosen_bytes[-1]
    return _default_budget_bytes()


@cache
def _default_budget_bytes() -> int:
    # Once: it is asked for each image, and the system's answer takes longer than a small one.
    return int(BUDGET_SHARE * (memory_limit_bytes() or ASSUMED_BYTES))


def memory_budget_is_chosen() -> bool:
    """Whether `use_memory_budget` says how much memory the work may take."""
    with _lock:
        return bool(_chosen_bytes)


def memory_limit_bytes() -> int | None:
    """The most that this process may have: of the machine, its container and its user's limit."""
    limits = [physical_memory_bytes(), _address_space_bytes(), *_control_group_bytes()]
    known = [limit for limit in limits if limit is not None and limit < _NO_LIMIT]
    return min(known, default=None)


def physical_memory_bytes() -> int | None:
    """Memory of the machine; None where the system does not say."""
    try:
        return int(psutil.virtual_memory().total)
    except (OSError, RuntimeError):
        return None


def address_space_left_bytes() -> int | None:
    """What `ulimit -v` leaves of addresses to this process; None without such a limit."""
    limit = _address_space_bytes()
    if limit is None:
        return None
    return max(limit - int(psutil.Process().memory_info().vms), 0)


def _address_space_bytes() -> int | None:
    """`ulimit -v`."""
    try:
        import resource
    except ModuleNotFoundError:
        # Windows has no such limit.
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else int(soft)


def _control_group_bytes(system: Path = Path("/")) -> Iterator[int]:
    """The limits of the control groups that this process is in, from the outermost inwards.

    Inside a container, /proc names the group as the host sees it, and /sys/fs/cgroup is the
    group itself: both the root of the file system and the named group are asked.
    """
    with suppress(OSError):
        groups = (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        for group in groups:
            _, controllers, path = (*group.split(":", 2), "", "", "")[:3]
            if controllers not in {"", "memory"} and "memory" not in controllers.split(","):
                continue
            base = system / "sys/fs/cgroup" / ("memory" if controllers else "")
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            parts = [part for part in path.split("/") if part not in {"", "..", "."}]
            for depth in range(len(parts) + 1):
                yield from _limit_in(base.joinpath(*parts[:depth]) / name)


def _limit_in(file: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        # "max" is no number: there is no limit.
        yield int(file.read_text(encoding="utf-8"))
