from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shopsight.cli.app import main
from tests.helpers import SMALL, ProductPhotos, Shopsight, run_command


@pytest.fixture
def shopsight(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shopsight:
    """Runs a command line in this process."""
    monkeypatch.delenv("COLUMNS", raising=False)
    return lambda *words: run_command(capsys, words)


@pytest.fixture(scope="session")
def finished_run(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small net trained for an epoch on the drawn images. Do not change it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    words = ["train", product_photos.folder, "--out", folder, *SMALL]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert not end.value.code
    return folder


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished_run, tmp_path / "run")
