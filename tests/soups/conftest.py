from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.soups.soup_runs import SoupRuns, make_soup_runs


@pytest.fixture(scope="session")
def soup_runs(tmp_path_factory: pytest.TempPathFactory) -> SoupRuns:
    """Runs that share a start. Do not change them."""
    return make_soup_runs(tmp_path_factory.mktemp("soups"))


@pytest.fixture
def fitted_run(soup_runs: SoupRuns, tmp_path: Path) -> Path:
    """A copy of a run whose head was a probe first, to be changed."""
    return shutil.copytree(soup_runs.fitted[0], tmp_path / "fitted")
