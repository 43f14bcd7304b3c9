"""What the C library does with freed memory while a network computes on a CPU.

torch takes every activation from `malloc`. What is freed glibc gives back to the system, buffers
beyond 32 MiB always, so that each batch has the same pages zeroed and mapped anew: with
EfficientNet-Lite in fp32 a quarter to two fifths of the time, in training
(`bench/bench_training_step.py`) and in inference (`bench/bench_inference.py`).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# Numbers and limits of <malloc.h>; the values are those at which glibc's own adaption ends.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_ADAPTED = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20, _MMAP_MAX: 65_536}
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}  # -1: never


@contextmanager
def retain_freed_memory() -> Iterator[bool]:
    """Hold on to freed memory within the block, and return it to the system at its end.

    The process then holds its peak all along, and some more for gaps between buffers. Blocks may
    lie within each other or run side by side: the end of the last one counts. Gives whether the
    C library could be told: only glibc can.
    """
    library = _glibc()
    if library is None:
        yield False
        return
    _blocks.enter(library)
    try:
        yield True
    finally:
        _blocks.leave(library)


class _Blocks:
    """Counts the blocks that are open: the setting is the whole process's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = 0

    def enter(self, library: ctypes.CDLL) -> None:
        with self._lock:
            self._open += 1
            if self._open == 1:
                for number, value in _KEEP.items():
                    library.mallopt(number, value)

    def leave(self, library: ctypes.CDLL) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                for number, value in _ADAPTED.items():
                    library.mallopt(number, value)
                library.malloc_trim(0)


_blocks = _Blocks()


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    found = all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt"))
    return library if found else None
