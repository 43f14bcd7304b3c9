from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import Fuzz


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing but this machine is reached, whatever an input names."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture
def fuzz(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Fuzz:
    monkeypatch.setenv("COLUMNS", "200")
    return Fuzz(tmp_path, capsys, monkeypatch)
