"""Runs and bundles are found where they lie, and distinguished from each other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from shopsight.runs.discover import find_models, is_model, run_of
from shopsight.runs.run_folder import RunFolder


def test_models_are_found_newest_first(tiny_run: Path, tmp_path: Path) -> None:
    assert find_models(tmp_path, depth=4) == []
    shutil.copytree(tiny_run / "model", tmp_path / "bundle")
    shutil.copytree(tiny_run, tmp_path / "runs" / "second")
    os.utime(tmp_path / "bundle" / "model.json", (1, 1))
    assert find_models(tmp_path, depth=4) == [Path("runs/second"), Path("bundle")]
    assert find_models(tmp_path, depth=2) == [Path("bundle")]


def test_a_bundle_that_a_killed_process_was_writing_is_none(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run / "model", tmp_path / ".shopsight-0123456789ab.part")
    shutil.copytree(tiny_run / "model", tmp_path / "run" / ".shopsight-0123456789ab.part")
    assert find_models(tmp_path, depth=4) == []


def test_a_bundle_knows_the_run_that_it_lies_in(tiny_run: Path, tmp_path: Path) -> None:
    assert run_of(tiny_run) == run_of(tiny_run / "model") == RunFolder(tiny_run)
    for copied in (tmp_path / "alone", tmp_path / "elsewhere" / "model"):
        shutil.copytree(tiny_run / "model", copied)
        assert is_model(copied)
        assert run_of(copied) is None
    assert is_model(tiny_run)
    assert not is_model(tmp_path)
    assert run_of(tmp_path) is None


def test_a_relative_path_is_enough(own_run: Path, monkeypatch: object) -> None:
    before = Path.cwd()
    os.chdir(own_run)
    try:
        assert run_of("model") == run_of(".") == RunFolder(own_run)
    finally:
        os.chdir(before)
