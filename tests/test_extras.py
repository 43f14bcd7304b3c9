from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from shopsight.errors import ExtraMissingError
from shopsight.extras import EXTRA_OF_MODULE, require


def test_every_extra_is_declared() -> None:
    pyproject = tomllib.loads(
        (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert set(EXTRA_OF_MODULE.values()) <= pyproject["project"]["optional-dependencies"].keys()


def test_a_missing_module_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ExtraMissingError, match=r'pip install "shopsight\[track\]"'):
        require("wandb")


def test_a_module_that_misses_one_of_its_own_imports_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kagglehub.py").write_text(
        "import something_else_that_is_missing\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kagglehub", raising=False)
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        require("kagglehub")
