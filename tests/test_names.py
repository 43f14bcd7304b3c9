"""No name is undefined, except where jaxtyping reads a shape as text: `Float32[np.ndarray, "n c"]`.

ruff and mypy take the letters of shapes for names, so the project ignores undefined names; a
forgotten import would pass both.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import jaxtyping

ROOT = Path(__file__).parents[1]


def shapes(tree: ast.AST) -> list[ast.Constant]:
    """The shapes in jaxtyping's annotations."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and hasattr(jaxtyping, node.value.id)
            and isinstance(node.slice, ast.Tuple)
        ):
            last = node.slice.elts[-1]
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                found.append(last)
    return found


def undefined_names(paths: list[Path]) -> list[str]:
    """Where a name is undefined that is no part of a shape."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821"]
    command += ["--output-format", "json", "--no-cache", *map(str, paths)]
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode in {0, 1}, done.stderr
    inside: dict[str, list[ast.Constant]] = {}
    left = []
    for problem in json.loads(done.stdout):
        file, place = problem["filename"], problem["location"]
        if file not in inside:
            inside[file] = shapes(ast.parse(Path(file).read_text(encoding="utf-8")))
        row, column = place["row"], place["column"] - 1
        if not any(
            (shape.lineno, shape.col_offset)
            <= (row, column)
            < (shape.end_lineno, shape.end_col_offset)
            for shape in inside[file]
        ):
            left.append(f"{file}:{row}: {problem['message']}")
    return left


def test_no_name_is_undefined() -> None:
    folders = [ROOT / name for name in ("src", "tests", "bench", ".ci")]
    assert undefined_names(folders) == []


def test_a_forgotten_import_is_found(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "from __future__ import annotations\n"
        "import numpy as np\n"
        "from jaxtyping import Float32\n"
        'def mean(values: Float32[np.ndarray, "n c"], like: "Table") -> dict[str, "Row"]:\n'
        "    return json.loads(str(values.mean()))\n",
        encoding="utf-8",
    )
    found = undefined_names([file])
    assert [line.rpartition("`")[0].rpartition("`")[2] for line in found] == [
        "Table",
        "Row",
        "json",
    ]
