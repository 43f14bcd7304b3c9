from __future__ import annotations

import io
import sys
import time

import pytest

from shopsight.cli import progress as shown
from shopsight.progress import notify, task


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _work() -> None:
    notify("12 of [many] files")
    with task("Decoding", total=3, unit="files") as advance:
        for _ in range(3):
            advance(1)


def test_nothing_is_shown_to_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    _work()
    assert capsys.readouterr() == ("", "")


def test_lines_for_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown.shown_progress():
        _work()
    out, err = capsys.readouterr()
    assert (out, err) == ("", "12 of [many] files\n")
    monkeypatch.setattr(shown, "SHORTEST_LOGGED_S", 0.0)
    with shown.shown_progress():
        _work()
        with task("Measuring", total=1, unit="batches") as advance:
            advance(1)
    err = capsys.readouterr().err
    assert "Decoding: 3 files in 0 s\n" in err
    assert "Measuring: 1 batch in 0 s\n" in err


def test_bars_for_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with shown.shown_progress():
        with task("Decoding", total=3, unit="files") as advance:
            advance(2)
            time.sleep(0.3)
        _work()
    assert "Decoding" in screen.getvalue()
    assert "2/3" in screen.getvalue()
    assert "12 of [many] files" in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_a_failure_passes_through() -> None:
    def failing() -> None:
        with shown.shown_progress(), task("Decoding"):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        failing()
