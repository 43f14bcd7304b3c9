"""One door for bytes: outside of `io/`, nothing opens an address, an archive or others' files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "shopsight"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What opens addresses, and what unpacks.
MODULES = {
    *("urllib.request", "http.client", "ftplib", "socket", "ssl", "fsspec", "s3fs", "gcsfs"),
    *("adlfs", "requests", "httpx", "aiohttp", "urllib3", "huggingface_hub"),
    *("zipfile", "tarfile", "gzip", "bz2", "lzma", "zlib", "zstandard", "shutil.unpack_archive"),
}
# These of them open nothing.
HARMLESS = {"getproxies", "url2pathname", "pathname2url", "gaierror"}
# Readers that allocate what a file says, or that take an address or a pattern for a path.
READERS = {"np.load", "numpy.load", "np.fromfile", "np.memmap", "torch.load"}
WEIGHTS = {"safe_open", "load_file", "load_model"}
POLARS = re.compile(r"(pl|polars)\.(read|scan)_\w+")
IMPORTERS = {"import_module", "__import__", "require"}
OPENERS = {"open", "read_bytes", "read_text", "fdopen"}
# Packages whose paths come from tables, links and folders of strangers.
OF_STRANGERS = (
    "audit", "bundle", "catalog", "datasets", "folders", "image_files", "images", "inference",
    "labels", "loading", "tables",
)  # fmt: skip

ALLOWED: dict[tuple[str, str], str] = {
    ("audit/thumb_rows.py", "np.memmap"): "a temporary file that it has just made",
    ("backbones/downloads.py", "huggingface_hub.constants"): "asks where its cache is",
    ("backbones/downloads.py", "torch.hub.get_dir"): "asks where its cache is",
    ("backbones/fastervit.py", "torch.hub.download_url_to_file"): "fixed addresses",
    ("bundle/read.py", "safetensors.numpy.load_file"): "after `io.weights` has compared the sizes",
    ("client.py", "http.client"): "asks the service that the user named",
    ("datasets/registry.py", "found.open"): "opens a named data set",
    ("embeddings/ray_cluster.py", "socket"): "whether the cluster that the user named answers",
    ("evaluation/score_files.py", "np.fromfile"): "its own scratch files",
    ("images/png.py", "zlib"): "checksums",
    ("inference/answer_journal.py", "self._file.read_text"): "its own journal",
    ("inference/answer_journal.py", "self.answers.open"): "its own journal",
    ("inference/sorted_copies.py", "now.read_bytes"): "files that it wrote",
    ("inference/product_writers.py", "lines.open"): "its own scratch file",
    ("inference/product_writers.py", "pl.scan_ndjson"): "its own scratch file",
    ("inference/writers.py", "lines.open"): "its own part file",
    ("inference/writers.py", "pl.scan_ndjson"): "its own part file",
    ("loading/blob_store.py", "index.read_bytes"): "the pixel cache",
    ("loading/blob_store.py", "np.memmap"): "the pixel cache",
    ("loading/pixel_sources.py", "np.memmap"): "the pixel cache",
    ("search/change_log.py", "np.load"): "mapped, so that nothing is allocated",
    ("words/word_table.py", "safetensors.numpy.load_file"): "a file of an installed package",
    ("runtime.py", "huggingface_hub.constants"): "asks where its cache is",
    ("runtime.py", "socket"): "which address to listen at, and time-outs",
    ("runtime.py", "ssl"): "where certificates are",
    ("serve/drain.py", "socket"): "accepts connections",
    ("serve/server.py", "socket"): "listens",
    ("share/hub.py", "require huggingface_hub"): "uploads to the repository that the user named",
    ("training/checkpoints.py", "load_file"): "checkpoints of a run",
}
"""File and what is used in it: why."""


def uses(source: str, name: str) -> Iterator[tuple[str, int]]:
    """What in the file of this name goes past the door, each with its line."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from ((one.name, line) for one in node.names if _is_door(one.name))
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{one.name}" for one in node.names if one.name not in HARMLESS]
            yield from ((one, line) for one in names if _is_door(one))
        elif isinstance(node, ast.Call):
            yield from ((used, line) for used in _called(node, name))


def _is_door(module: str) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in MODULES)


def _called(call: ast.Call, file: str) -> Iterator[str]:
    called = ast.unparse(call.func)
    last = called.rpartition(".")[2]
    if (
        called in READERS
        or last in WEIGHTS
        or called.startswith("torch.hub.")
        or (POLARS.fullmatch(called) and not _is_of_bytes(call))
    ):
        yield called
    elif last in IMPORTERS and call.args and isinstance(call.args[0], ast.Constant):
        module = str(call.args[0].value)
        yield from [f"{last} {module}"] * _is_door(module)
    elif file.startswith(tuple(f"{one}/" for one in OF_STRANGERS)):
        # The functions `read_bytes` and `read_text` are those of the door.
        is_opener = last in OPENERS if isinstance(call.func, ast.Attribute) else last == "open"
        if is_opener and not (_is_of_bytes(call) or _writes(call)):
            yield called


def _is_of_bytes(call: ast.Call) -> bool:
    """Whether bytes are read, or a path that is taken for no pattern, address or folder."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    source = ast.unparse(call.args[0]) if call.args else ""
    return source.startswith("io.BytesIO(") or given.get("glob") == "False"


def _writes(call: ast.Call) -> bool:
    words = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [word.value for word in words if isinstance(word, ast.Constant)]
    return any(isinstance(mode, str) and set(mode) & set("wxa") for mode in modes)


def _found() -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for path in SOURCES:
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("io/"):
            for used, line in uses(path.read_text(encoding="utf-8"), name):
                found.setdefault((name, used), []).append(line)
    return found


def test_nothing_goes_past_the_door() -> None:
    assert len(SOURCES) > 200
    past = {place: lines for place, lines in _found().items() if place not in ALLOWED}
    assert past == {}


def test_no_exception_is_out_of_date() -> None:
    assert sorted(set(ALLOWED) - set(_found())) == []


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("import urllib.request", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("def f():\n    import fsspec", "fsspec"),
        ("from http.client import HTTPConnection", "http.client.HTTPConnection"),
        ("from zipfile import ZipFile as Z", "zipfile.ZipFile"),
        ("import gzip as g", "gzip"),
        ("import_module('requests')", "import_module requests"),
        ("np.load(path, allow_pickle=False)", "np.load"),
        ("torch.load(path, weights_only=True)", "torch.load"),
        ("safetensors.torch.load_file(path)", "safetensors.torch.load_file"),
        ("torch.hub.load('a', 'b')", "torch.hub.load"),
        ("pl.read_parquet(path)", "pl.read_parquet"),
        ("pl.scan_csv('s3://a/b.csv').collect()", "pl.scan_csv"),
        ("Path(cell).read_bytes()", "Path(cell).read_bytes"),
        ("with open(cell, 'rb') as file: pass", "open"),
        ("Image.open(path)", "Image.open"),
    ],
)
def test_each_way_past_is_seen(source: str, used: str) -> None:
    assert [found for found, _ in uses(source, "images/a.py")] == [used]


def test_what_is_read_by_the_door_passes() -> None:
    source = (
        "from urllib.request import getproxies\nread_bytes(ref, access)\nopen_file(path)\n"
        "pl.read_parquet(io.BytesIO(data))\npl.read_csv(path, glob=False)\n"
        "Image.open(io.BytesIO(data))\nopen(path, 'xb')\npath.open('w', encoding='utf-8')"
    )
    assert list(uses(source, "images/a.py")) == []
