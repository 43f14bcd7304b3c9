"""Text is opened with an encoding everywhere: without one it is cp1252 on Windows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for name in ("src", "tests", "bench") for path in (ROOT / name).rglob("*.py"))
# They prove that Windows' rules bite.
DELIBERATE = {"tests/not_portable.py", "tests/test_windows.py"}
OPENERS_WITHOUT_TEXT = {"Image", "os", "gzip", "zipfile", "tarfile", "fsspec", "webbrowser"}


def _mode(call: ast.Call, position: int) -> str:
    """The mode of a call of `open`; "" if it is no literal."""
    given = {word.arg: word.value for word in call.keywords}
    mode = given.get("mode", call.args[position] if len(call.args) > position else None)
    if mode is None:
        return "r"
    return mode.value if isinstance(mode, ast.Constant) and isinstance(mode.value, str) else ""


def _needs_encoding(call: ast.Call) -> bool:
    words = {word.arg for word in call.keywords}
    if isinstance(call.func, ast.Name):
        return call.func.id == "open" and "b" not in _mode(call, 1)
    if not isinstance(call.func, ast.Attribute):
        return False
    name, owner = call.func.attr, ast.unparse(call.func.value)
    if name in ("read_text", "write_text"):
        return len(call.args) <= (name == "write_text")
    if name == "open":
        mode = _mode(call, 0)
        return owner not in OPENERS_WITHOUT_TEXT and bool(mode) and "b" not in mode
    return owner == "subprocess" and bool(words & {"text", "universal_newlines"})


def without_encoding(tree: ast.AST) -> Iterator[int]:
    """The lines of calls that open text, or read it from a subprocess, without an encoding."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _needs_encoding(node):
            words = {word.arg for word in node.keywords}
            if not words & {"encoding", None}:
                yield node.lineno


def test_text_has_an_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}"
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() not in DELIBERATE
        for line in without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_search_finds_what_it_is_for() -> None:
    wrong = "open(p)\np.open('w')\np.read_text()\np.write_text('')\nsubprocess.run(c, text=True)\n"
    right = "open(p, 'rb')\np.open(mode='wb')\np.read_text('utf-8')\nos.open(p, 0)\np.open(flags)\n"
    assert list(without_encoding(ast.parse(wrong))) == [1, 2, 3, 4, 5]
    assert list(without_encoding(ast.parse(right))) == []
