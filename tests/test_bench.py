"""What the benchmarks import is there; they themselves take too long for a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "bench").rglob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shopsight"):
            module = import_module(node.module or "")
            for name in node.names:
                # A submodule is an attribute of its package only once it was imported.
                there = hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}")
                assert there, f"{node.module} has no {name.name}"


@pytest.fixture
def run_all(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS[0].parents[1] / "bench"))
    return import_module("run_all")


def required_of(path: Path) -> set[str]:
    """What a script's parser insists on: flags that are required, and arguments by place."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr == "add_argument" and isinstance(node.args[0], ast.Constant):
            name, options = str(node.args[0].value), {one.arg for one in node.keywords}
            if "required" in options or not (name.startswith("-") or "nargs" in options):
                found.add(name)
    return found


def test_each_benchmark_gets_what_it_needs_or_is_skipped(run_all: ModuleType) -> None:
    folder = Path(run_all.__file__ or "").parent
    whole = run_all.Inputs("clothes", "groceries", "vectors", 1 << 40)
    assert len(run_all.names()) > 20
    for name in run_all.names():
        required = required_of(folder / f"bench_{name}.py")
        plan = run_all.plan_of(name, whole)
        assert isinstance(plan, list), name
        flags = {word for word in required if word.startswith("-")}
        assert flags <= set(plan), name
        assert len(required - flags) <= len([word for word in plan[:1] if word[0] != "-"]), name
        if required:
            assert run_all.plan_of(name, run_all.Inputs()).startswith("needs "), name


def test_benchmarks_without_their_data_are_skipped_with_a_line(run_all: ModuleType) -> None:
    command = [sys.executable, str(run_all.__file__), "index", "words", "probe"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == [
        "-- index: skipped, needs --index-cache CACHE, filled by bench/index_vectors.py",
        "-- words: skipped, needs --clothing FOLDER and --groceries FOLDER",
        "-- probe: skipped, needs --clothing FOLDER",
    ]
    done = subprocess.run([*command, "no_such"], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "no benchmark no_such; there are arcface, audit" in done.stderr


def test_a_benchmark_that_fails_does_not_end_the_others(
    run_all: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in (("a", "import no_such_module"), ("b", "open('b.txt', 'w').close()")):
        (tmp_path / f"bench_{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run_all.run(["a", "b"], run_all.Inputs()) == ["a"]
    assert (tmp_path / "b.txt").is_file()
