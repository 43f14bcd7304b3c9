"""Every file is written, renamed and removed by `shopsight.files` and `shopsight.held_files`.

They know what Windows refuses. A write elsewhere stands in a block of `atomic_file`,
`atomic_folder` or `scratch_folder`, or is in the list below with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "shopsight"
MECHANISM = {"files.py", "held_files.py"}
BLOCKS = {"atomic_file", "atomic_folder", "scratch_folder"}
WRITES = {
    *("write_text", "write_bytes", "write_csv", "write_parquet", "sink_parquet", "write_ndjson"),
    *("save_file", "savez", "savez_compressed", "copyfile", "copytree", "extractall", "save"),
    # In the system's folder for temporary files, what a killed process leaves would stay.
    *("tofile", "mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory"),
}
MOVES = {"rename", "replace", "unlink", "rmdir", "rmtree", "remove", "removedirs", "move"}
FSYNC = {"fsync", "fdatasync"}

# Functions that are given a path within a block of their callers, and two with a rule of their own.
ALLOWED = {
    ("bundle/write.py", "_golden_bytes"): "writes to memory",
    ("bundle/write.py", "write_copy"): "its caller gives a part or scratch folder",
    ("catalog/label_spelling.py", "unify_labels"): "labels, no files",
    ("tables/table_files.py", "_stripped"): "columns, no files",
    ("charts/matrix.py", "_png"): "writes to memory",
    ("cli/reference.py", ""): "writes docs/cli.md, for developers",
    ("cli/streams.py", "open_missing"): "writes to nowhere",
    ("explanations/explain_journal.py", "add"): "appended to; the reader leaves out half a line",
    ("fetching/records.py", "append_journal"): "appended to; the reader leaves out half a line",
    ("io/archives.py", "unpack_zip"): "its callers give a part folder",
    ("io/hub.py", "download_file"): "its caller gives a file in a part folder",
    ("io/web.py", "download"): "its callers give a file in a part or scratch folder",
    ("desk/retraining.py", "start"): "the log of another process, which writes it line by line",
    ("desk/journal.py", "add"): "appended to; the reader cuts off half a line",
    ("desk/journal.py", "_append"): "a line is on the disk before it is answered",
    ("datasets/huggingface.py", "_written"): "its caller gives a part folder",
    ("datasets/synthetic.py", "write_jpeg"): "its caller gives a part folder",
    ("embeddings/ray_cluster.py", "_local"): "sockets of Ray need a short path",
    ("evaluation/score_files.py", "new_score_file"): "a temporary file, which is swept",
    ("evaluation/score_files.py", "finish"): "writes to that file",
    ("inference/answer_journal.py", "_new"): "appended to, with a journal of what is whole",
    ("inference/answer_journal.py", "_begin"): "cuts off what is behind the last whole piece",
    ("inference/answer_journal.py", "_record"): "the order of its flushes is its format",
    ("inference/product_writers.py", "_convert"): "its caller gives a part file",
    ("inference/product_writers.py", "_to_csv"): "its caller gives a part file",
    ("inference/writers.py", "_to_csv"): "its caller gives a part file",
    ("inference/writers.py", "_to_parquet"): "its caller gives a part file",
    ("inference/inputs.py", "_as_png"): "writes to memory",
    ("inference/precision_images.py", "write_precision_images"): "writes to memory",
    ("inference/reference_images.py", "_png"): "writes to memory",
    ("serve/served_index.py", "thumbnail"): "writes to memory",
    ("search/change_log.py", "write"): "within the atomic_folder that `_new` gives",
    ("search/change_log.py", "write_deleted"): "within the atomic_folder that `_new` gives",
    ("search/engine_copy.py", "copy_with_holes"): "its caller gives a scratch folder",
    ("loading/blob_store.py", "__init__"): "segments are appended to, see the module",
    ("loading/blob_store.py", "_record"): "the order of its flushes is its format",
    ("pages.py", "_webp"): "writes to memory",
    ("share/shared_copy.py", "write_shared_copy"): "its caller gives a part or scratch folder",
    (
        "training/tensorboard_events.py",
        "log_metrics",
    ): "appended to; TensorBoard leaves out half rows",
    ("training/checkpoints.py", "write_checkpoint"): "a pair of files, the first named by its hash",
}


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _opens_for_writing(call: ast.Call) -> bool:
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [arg.value for arg in given if isinstance(arg, ast.Constant)]
    return _name(call) == "open" and any(
        isinstance(mode, str) and set(mode) & set("wax+") and set(mode) <= set("wax+bt")
        for mode in modes
    )


def _moves(call: ast.Call) -> bool:
    """Whether a path is renamed or removed; strings, tables and lists have methods of that name."""
    if _name(call) not in MOVES or (call.keywords and _name(call) != "unlink"):
        return False
    if _name(call) in {"replace", "rename", "move"}:
        module = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
        of_os = module and call.func.value.id in {"os", "shutil"}  # type: ignore[union-attr]
        plain = len(call.args) == 1 and isinstance(call.args[0], ast.Name | ast.Call | ast.BinOp)
        return of_os or plain
    return _name(call) != "remove" or "os" in ast.unparse(call.func)


def _writes_in(path: Path) -> Iterator[tuple[str, int, str]]:
    """Function, line and source of each write outside of a block that makes it atomic."""

    def visit(node: ast.AST, function: str, safe: bool) -> Iterator[tuple[str, int, str]]:
        if isinstance(node, ast.FunctionDef):
            function, safe = node.name, False
        if isinstance(node, ast.With):
            calls = [item.context_expr for item in node.items]
            safe = safe or any(isinstance(c, ast.Call) and _name(c) in BLOCKS for c in calls)
        if isinstance(node, ast.Call):
            # `write_text` as a function is that of `shopsight.files`.
            ours = isinstance(node.func, ast.Name) and node.func.id == "write_text"
            writes = (_name(node) in WRITES and not ours) or _opens_for_writing(node)
            if _moves(node) or _name(node) in FSYNC or (writes and not safe):
                yield function, node.lineno, ast.unparse(node)[:80]
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function, safe)

    return visit(ast.parse(path.read_text(encoding="utf-8")), "", False)


def _found() -> list[tuple[str, str, int, str]]:
    return [
        (path.relative_to(ROOT).as_posix(), *place)
        for path in sorted(ROOT.rglob("*.py"))
        if path.name not in MECHANISM
        for place in _writes_in(path)
    ]


def test_files_are_written_in_one_way() -> None:
    others = [place for place in _found() if place[:2] not in ALLOWED]
    assert others == [], "write within atomic_file or atomic_folder; remove with held_files"


def test_no_exception_is_out_of_date() -> None:
    found = {place[:2] for place in _found()}
    assert sorted(set(ALLOWED) - found) == []


@pytest.mark.parametrize(
    "line",
    [
        "os.replace(a, b)",
        "path.rename(other)",
        "path.unlink(missing_ok=True)",
        "shutil.rmtree(folder)",
        "open(path, 'w')",
        "path.open('xb')",
        "table.write_csv(path)",
        "save_file(tensors, path)",
        "os.fsync(file)",
    ],
)
def test_a_raw_write_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"def f():\n    {line}\n", encoding="utf-8")
    assert [place[0] for place in _writes_in(tmp_path / "a.py")] == ["f"]


@pytest.mark.parametrize(
    "line", ["text.replace('a', 'b')", "table.rename({'a': 'b'})", "names.remove(name)", "open(a)"]
)
def test_what_only_sounds_like_a_write_is_not(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"def f():\n    {line}\n", encoding="utf-8")
    assert list(_writes_in(tmp_path / "a.py")) == []
