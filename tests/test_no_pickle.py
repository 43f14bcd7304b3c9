"""No file that shopsight opens can run code: nothing in the package unpickles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[1] / "src" / "shopsight").rglob("*.py"))
PICKLERS = {"pickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}


def unpickling(source: str) -> Iterator[str]:
    """What in `source` unpickles, or might, as `line: what`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module in ("torch", "numpy") and "load" in [a.name for a in node.names]:
                yield f"{node.lineno}: from {node.module} import load hides where it is called"
        else:
            names = []
        yield from (
            f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in PICKLERS
        )
        if isinstance(node, ast.Call):
            yield from _unsafe_call(node)


def _unsafe_call(call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if given.get("allow_pickle", "False") != "False":
        yield f"{call.lineno}: {called}(allow_pickle={given['allow_pickle']})"
    if given.get("weights_only", "True") != "True" or (
        called == "torch.load" and "weights_only" not in given
    ):
        yield f"{call.lineno}: {called} without weights_only=True"
    if called in ("np.load", "numpy.load") and "allow_pickle" not in given:
        yield f"{call.lineno}: {called} without allow_pickle=False"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import joblib.numpy_pickle",
        "from dill import loads",
        "def f():\n    import cloudpickle as c",
        "from torch import load",
        "import torch\ntorch.load('a.pt')",
        "torch.load('a.pt', weights_only=False)",
        "torch.load('a.pt', weights_only=trusted)",
        "trainer.fit(module, weights_only=False)",
        "np.load('a.npz')",
        "np.load('a.npz', allow_pickle=True)",
    ],
)
def test_each_door_to_pickle_is_seen(source: str) -> None:
    assert len(list(unpickling(source))) == 1


def test_safe_readers_pass() -> None:
    source = (
        "import torch\nfrom safetensors.torch import load_file\n"
        "torch.load('a.pt', weights_only=True)\nnp.load('a.npz', allow_pickle=False)\n"
        "json.load(file)"
    )
    assert not list(unpickling(source))


def test_the_package_unpickles_nothing() -> None:
    assert len(SOURCES) > 50
    found = [
        f"{path.name}:{what}"
        for path in SOURCES
        for what in unpickling(path.read_text(encoding="utf-8"))
    ]
    assert not found
