"""Commands that are shown can be pasted: into a POSIX shell, cmd.exe and PowerShell alike."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
COMMAND = re.compile(r"\b(shopsight (audit|train|predict)|pip install|--[a-z]+-?[a-z]* )")
# What one of the shells does not know, and brackets outside of quotes, which are patterns in zsh.
FOREIGN = re.compile(r"--set [\w.]+=\[|'|\brm |\bexport |\$\w|~/|&&|2>|/dev/null|\.venv/bin|\\\n")


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String literals, with placeholders left out, that are no docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            continue
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                yield child.lineno, child.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_text_with_a_command_needs_one_shell(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        f"{path.name}:{line}: {text}"
        for line, text in texts(tree)
        if COMMAND.search(text) and FOREIGN.search(text.replace("demo's", ""))
    ]
    assert found == []


def test_a_spawned_process_may_import_the_main_module() -> None:
    """Multiprocessing imports it under this name; without a guard it would run the command."""
    runpy.run_module("shopsight.__main__", run_name="__mp_main__")
