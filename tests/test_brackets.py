"""Folders of the name `summer[2]` are no patterns: tables are read by their paths as they are."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "shopsight"
READERS = {"read_csv", "read_parquet", "scan_csv", "scan_parquet", "scan_ndjson", "scan_ipc"}


def test_no_table_is_read_by_a_pattern() -> None:
    """Polars takes brackets, asterisks and question marks of a path for a pattern, unless told."""
    calls = [
        (path.name, ast.unparse(node))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in READERS
    ]
    assert len(calls) > 6
    plain = ("glob=False", "(data", "(escape(", "(io.BytesIO(")
    assert [call for call in calls if not any(word in call[1] for word in plain)] == []
