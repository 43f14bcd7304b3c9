"""Owners of an index that are killed at random moments: nothing acknowledged is lost or wrong."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from shopsight.search.index import open_index
from tests.search.vectors import assert_holds, empty_index

pytest.importorskip("qdrant_edge")

OWNER = Path(__file__).with_name("killed_owner.py")


def killed(folder: Path, seed: int, after_s: float, *, compacting: bool) -> list[dict[str, Any]]:
    """What an owner said until it was killed, some time after it had opened the index."""
    command = [sys.executable, str(OWNER), str(folder), str(seed)]
    command.append("compact" if compacting else "change")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as owner:
        assert owner.stdout is not None
        first = owner.stdout.readline()
        if compacting and seed % 2:
            kill_builder(owner.pid, within_s=after_s)
        else:
            time.sleep(after_s)
        owner.kill()
        lines = [first, *owner.stdout]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kill_builder(owner: int, *, within_s: float) -> None:
    """Kill the process that builds a generation, as soon as there is one."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        for child in psutil.Process(owner).children():
            child.kill()
        time.sleep(0.05)


def expected_after(
    lines: list[dict[str, Any]], before: dict[int, int]
) -> tuple[dict[int, int], dict[int, int]]:
    """The acknowledged state, and that with the change that was begun last."""
    state, maybe = dict(before), dict(before)
    for line in lines:
        if "begin" in line:
            maybe = dict(state)
            for number in line["numbers"]:
                if line["begin"] == "delete":
                    maybe.pop(number, None)
                else:
                    maybe[number] = line["version"]
        elif "done" in line:
            state = maybe
    return state, maybe


def held(folder: Path) -> dict[int, int]:
    with open_index(folder) as index:
        return {int(item[-5:]): version for item, version in index.items(["version"]).iter_rows()}


def no_builder(*, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        commands = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
        if not any("shopsight.search.builder" in command for command in commands):
            return True
        time.sleep(0.1)
    return False


def check_rounds(folder: Path, rounds: int, *, compacting: bool) -> None:
    empty_index(folder, exact_below=20)
    moments, state = random.Random(rounds + compacting), dict[int, int]()
    for seed in range(rounds):
        lines = killed(folder, seed, moments.uniform(0.0, 0.6), compacting=compacting)
        assert "opened" in lines[0], lines
        state, maybe = expected_after(lines, state)
        found = held(folder)
        assert found in (state, maybe), (seed, lines[-4:])
        state = found
        assert_holds(folder, state)
        left = [one.name for one in (folder / "generations").iterdir()]
        assert len(left) == 1, left
        # Builders whose owner was killed have ended, too.
        assert no_builder(within_s=20)


@pytest.mark.parametrize("compacting", [False, True], ids=["change", "compact"])
def test_nothing_acknowledged_is_lost(tmp_path: Path, compacting: bool) -> None:
    check_rounds(tmp_path / "index", 3 if compacting else 2, compacting=compacting)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("compacting", [False, True], ids=["change", "compact"])
def test_nothing_acknowledged_is_lost_in_many_rounds(tmp_path: Path, compacting: bool) -> None:
    check_rounds(tmp_path / "index", 50, compacting=compacting)
