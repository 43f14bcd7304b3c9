"""Interrupts commands, and checks what they leave and how the next one goes on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.kill.commands import ALL, check_whole, leftovers, tree
from tests.kill.conftest import Kill

SAID = {
    "full_at": ("the disk is full: ",),
    "read_only_at": ("Read-only file system",),
    "moved_at": ("moved or removed while it was written",),
}


def killed(kill: Kill, name: str, **fault: float) -> None:
    """Kill a command, look at what it left, and run the next one."""
    command = ALL[name]
    _, expected = kill.whole(name)
    folder, places = kill.begin(command)
    ended = kill.server.run(command.line(places), folder, **fault)
    assert ended.code in (0, 1, -9), ended.printed
    check_whole(folder)
    _goes_on(kill, name, folder, places, expected)


def filled(kill: Kill, name: str, number: int, *, fault: str = "full_at") -> None:
    """Fill the disk at a change of a command's files, then free it and run the next one.

    Args:
        kill: runs the commands.
        name: of the command.
        number: of the change, counted from 1.
        fault: or "read_only_at", where the disk refuses all changes, or "moved_at", where the
            folder of the results is moved, and is brought back for the next command.
    """
    command = ALL[name]
    said = SAID[fault]
    if fault == "moved_at" and command.copies_run:
        # Before it was read.
        said += ("is not a run folder",)
    _, expected = kill.whole(name)
    folder, places = kill.begin(command)
    before = tree(folder / "out")
    ended = kill.server.run(command.line(places), folder, **{fault: number})
    about = f"change {number}: {ended.code}\n{ended.printed}"
    check_whole(folder)
    if ended.code == 0:
        # Only the cache was not written, and that was said. Moved before the first result or after
        # the last one, the folder has all.
        has_all = max(folder / "out", folder / "moved", key=lambda place: len(tree(place)))
        assert command.result(has_all) == expected, about
        kill.forget(folder)
        return
    assert ended.code == 2, about
    assert any(words in ended.printed for words in said), about
    assert "bug of shopsight" not in ended.printed, about
    assert str(folder) in ended.printed, "the error says where"
    if fault == "moved_at":
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "moved").rename(folder / "out")
    if command.copies_run:
        # Of a run: what was scored before.
        assert before.keys() <= tree(folder / "out").keys()
    _goes_on(kill, name, folder, places, expected)


def _goes_on(kill: Kill, name: str, folder: Path, places: dict[str, str], expected: object) -> None:
    command = ALL[name]
    kill.succeed(command.next_line(places), folder)
    check_whole(folder)
    assert command.result(folder / "out") == expected
    left = leftovers(folder / "out")
    assert left == [], left
    kill.forget(folder)


def moments(kill: Kill, name: str, count: int) -> list[float]:
    """Random moments of the command's time, in seconds."""
    generator, seconds = random.Random(name), kill.whole(name)[0].seconds
    return [seconds * generator.uniform(0.02, 0.98) for _ in range(count)]


def changes(kill: Kill, name: str, count: int) -> list[int]:
    """Random ones of the command's changes to files, counted from 1; the last one is among them."""
    if kill.server.faults is None:
        pytest.skip("needs Linux and a C compiler")
    generator, most = random.Random(name), kill.whole(name)[0].changes
    others = range(1, most)
    return sorted([*generator.sample(others, min(count - 1, len(others))), most])
