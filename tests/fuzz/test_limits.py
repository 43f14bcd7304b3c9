"""What the limits of fuzzing are themselves: a hang and a bomb fail, and the next input is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.limits import ADDRESS_BYTES, within_limits

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits of a process"),
    pytest.mark.posix("Windows has no such limits"),
]


def follow(path: Path) -> str:
    """Do what the file's content says."""
    word = path.read_text(encoding="utf-8")
    while word == "spin":
        pass
    return str(len(bytes(ADDRESS_BYTES))) if word == "swell" else word


def test_inputs_that_take_too_much_fail_alone(tmp_path: Path) -> None:
    inputs = {"1": b"spin", "2": b"read", "3": b"swell", "4": b"read"}
    answers = within_limits(f"{__name__}:follow", inputs, tmp_path, longest_s=1)
    assert [answers[name].word for name in inputs] == ["", "read", "", "read"]
    # SIGPROF: by processor time, however busy the machine is.
    assert answers["1"].failure.startswith("the process ended by -27")
    assert "MemoryError" in answers["3"].failure
