"""What the benchmarks import is there; they themselves take too long for a test."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

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
