"""`shopsight.api` re-exports what `shopsight.commands` defines, lazily and typed."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import shopsight
from shopsight import api
from shopsight.commands.train import train

VERBS = (
    *("audit", "compare", "compare_backbones", "data_sets", "demo", "doctor", "evaluate", "load"),
    *("open_catalog", "predict", "profile", "recipes", "recommend", "resume", "split", "train"),
)


def test_every_name_is_there() -> None:
    assert set(VERBS) <= set(dir(api))
    assert dir(api) == api.__all__
    for name in api.__all__:
        assert getattr(api, name) is getattr(api, name), name


def test_a_name_is_imported_when_it_is_used() -> None:
    code = (
        "import sys; from shopsight import api; dir(api);"
        "assert 'shopsight.commands.train' not in sys.modules;"
        "assert api.DEFAULT_RECIPE == 'balanced';"
        "assert 'polars' not in sys.modules and 'pydantic' not in sys.modules;"
        "api.recipes; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_verb_is_the_function_of_its_command() -> None:
    assert api.train is train
    assert api.load is shopsight.load
    assert "precision" in inspect.signature(api.load).parameters


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"shopsight\.api.*'tarin'"):
        api.tarin  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
def test_types_are_seen_by_mypy(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(
        "from shopsight import api\n"
        "reveal_type(api.train)\n"
        "reveal_type(api.audit('photos').counts)\n"
        "api.tarin\n"
        "api.split('photos', vall=0.2)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(user)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        encoding="utf-8",
    )
    found = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert "TrainResult" in found[0]
    assert "Mapping[str, int]" in found[1] or "Mapping[builtins.str, builtins.int]" in found[1]
    assert "has no attribute" in found[2]
    assert "vall" in found[3]
