from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shopsight.cli.app import main
from tests.conftest import ProductPhotos


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Shopsight = Callable[..., Outcome]


def run(capsys: pytest.CaptureFixture[str], words: tuple[object, ...]) -> Outcome:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    shown = capsys.readouterr()
    return Outcome(int(end.value.code or 0), shown.out, shown.err)


@pytest.fixture
def shopsight(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shopsight:
    """Runs a command line in this process."""
    monkeypatch.delenv("COLUMNS", raising=False)
    return lambda *words: run(capsys, words)


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


SMALL = ("--recipe", "fashion-mnist-cnn", "--epochs", "1", "--set", "training.batch_size=16")
