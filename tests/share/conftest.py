"""A Hub on this machine, asked by the Hub's real client, and what is pushed to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from shopsight import api
from shopsight.cache_place import use_cache_dir
from tests.hub_server import TOKEN, HubServer, hub_serving


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """An empty Hub, whose owner this user is, and an empty cache."""
    with hub_serving() as server, use_cache_dir(tmp_path / "cache"):
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        # It would upload large files by a protocol of its own.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture(scope="session")
def exported_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, exported for fp32 and int8. Do not change it."""
    run = shutil.copytree(tiny_run, tmp_path_factory.mktemp("exported") / "run")
    api.export(run, precision=("fp32", "int8"))
    return run


@pytest.fixture
def bundle_files(tiny_run: Path) -> dict[str, bytes]:
    """The files of the tiny run's bundle, by name."""
    return {path.name: path.read_bytes() for path in (tiny_run / "model").iterdir()}
