from __future__ import annotations

import os
from pathlib import Path

import pytest

from shopsight import api


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3, 5}, raising=False)
    cpu = next(fact for fact in api.doctor() if fact.name == "cpu")
    assert cpu.value.endswith("3 cores for this process")


def test_the_cache_of_this_block_is_described(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "blobs").write_bytes(b"x" * 2000)
    with api.use_cache_dir(tmp_path / "cache"):
        facts = {fact.name: fact.value for fact in api.doctor()}
    assert str(tmp_path / "cache") in facts["cache"]
    assert facts["cache size"] == "2.0 kB"
