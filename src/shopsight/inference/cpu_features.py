"""Which products of small numbers this machine's processor has instructions for."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

_VNNI = {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


@cache
def cpu_flags() -> frozenset[str] | None:
    """The processor's flags as Linux names them; None where they are not known."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return None


def has_vnni() -> bool | None:
    """Whether products of eight bits are summed in 32; None where that is not known.

    Without it (AVX2 and plain AVX-512) sums of two products are kept in 16 bits, and overflow.
    """
    return _has_any(_VNNI)


def has_bf16() -> bool | None:
    """Whether the processor multiplies bf16; None where that is not known."""
    return _has_any(_BF16)


def _has_any(wanted: set[str]) -> bool | None:
    flags = cpu_flags()
    return None if flags is None else bool(wanted & flags)
