from __future__ import annotations

import pytest

from tests.helpers import Shopsight, run_command


@pytest.fixture
def shopsight(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shopsight:
    """Runs a command line in this process."""
    monkeypatch.delenv("COLUMNS", raising=False)
    return lambda *words: run_command(capsys, words)
