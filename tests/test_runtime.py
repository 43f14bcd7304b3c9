from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from shopsight import runtime
from shopsight.runtime import retain_freed_memory

BUFFER_MIB = 256


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fill_and_free() -> None:
    torch.ones(BUFFER_MIB << 18)  # fp32


def test_memory_is_held_within_the_block_and_given_back_at_its_end() -> None:
    before = resident_mib()
    with retain_freed_memory() as kept:
        if not kept:
            pytest.skip("the C library is not glibc")
        fill_and_free()
        within = resident_mib()
    after = resident_mib()
    assert within - after > BUFFER_MIB - 32
    assert after - before < 32


def test_the_allocator_gives_back_again_after_a_failed_block() -> None:
    with pytest.raises(ZeroDivisionError), retain_freed_memory():
        _ = 1 // 0
    before = resident_mib()
    fill_and_free()
    assert resident_mib() - before < 32


def test_a_block_within_another_does_not_end_it() -> None:
    with retain_freed_memory() as kept:
        if not kept:
            pytest.skip("the C library is not glibc")
        with retain_freed_memory():
            fill_and_free()
        within = resident_mib()
    assert within - resident_mib() > BUFFER_MIB - 32


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    with retain_freed_memory() as kept:
        assert not kept
