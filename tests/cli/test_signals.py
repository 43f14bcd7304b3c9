"""Ctrl-C, SIGTERM and a closed terminal: the work is put down, and it is said how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shopsight import api
from shopsight.errors import WriteError
from tests.helpers import Shopsight

SAID = "interrupted; the same command goes on from what was kept\n"
# A command whose work is to wait for a signal.
WAITING = """
import sys, time
from shopsight import api
from shopsight.errors import WriteError
def work(*_given, **_named):
    try:
        print("works", flush=True)
        time.sleep(60)
    finally:
        print("put down", flush=True)
api.audit = work
from shopsight.cli.app import main
main(sys.argv[1:])
"""


def test_ctrl_c_ends_with_its_exit_code_and_a_next_step(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "audit", interrupted)
    outcome = shopsight("audit", tmp_path)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", SAID)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.posix("signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_what_ends_a_process_puts_its_work_down(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING, "audit", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"works\n"
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"put down\n", SAID.encode())


@pytest.mark.posix("signals of POSIX")
def test_a_closed_terminal_that_is_ignored_ends_nothing(tmp_path: Path) -> None:
    """As nohup has it."""
    script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + WAITING
    command = [sys.executable, "-c", script, "audit", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"works\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"put down\n")


def test_a_full_disk_names_the_run_that_continues(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    def filled(*_given: object, **_named: object) -> None:
        raise WriteError("the disk is full: 0 B are free", where=str(own_run / "run.json"))

    monkeypatch.setattr(api, "train", filled)
    outcome = shopsight("train", own_run, "--out", own_run)
    assert outcome.code == 2
    assert f"resume with: shopsight train --resume {own_run}\n" in outcome.err
    assert "error: " in outcome.err
