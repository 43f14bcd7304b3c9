"""What reaches a pipe: UTF-8 whatever the machine's encoding, and no error when nobody reads."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shopsight.cli import streams
from tests.helpers import ProductPhotos

LABELS = "连衣裙 é \U0001f457"
WINDOWS = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
"""The encoding that Windows gives to pipes, which lacks most of the world's letters."""


def table_with_labels(products: ProductPhotos, path: Path) -> Path:
    lines = products.table.read_text(encoding="utf-8").splitlines()
    rows = [f"{products.folder}/{line}".replace(",dress,", f",{LABELS},") for line in lines[1:]]
    path.write_text("\n".join([lines[0], *rows]), encoding="utf-8")
    return path


def test_labels_of_any_language_reach_a_pipe(product_photos: ProductPhotos, tmp_path: Path) -> None:
    table = table_with_labels(product_photos, tmp_path / "labels.csv")
    shopsight = [sys.executable, "-m", "shopsight", "audit", str(table), "--allow-outside"]
    environment = os.environ | WINDOWS
    done = subprocess.run([*shopsight, "--json"], check=False, capture_output=True, env=environment)
    assert done.returncode in {0, 1}, done.stderr.decode()
    assert LABELS in json.dumps(json.loads(done.stdout.decode("utf-8")), ensure_ascii=False)
    done.stderr.decode("utf-8")


def test_a_stream_that_is_no_terminal_gets_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    pipe = io.TextIOWrapper(written, encoding="cp1252", newline="")
    monkeypatch.setattr(sys, "stdout", pipe)
    streams.use_utf8()
    # Half of a surrogate pair is what a file name that is not UTF-8 becomes.
    pipe.write(json.dumps({"label": LABELS, "file": "\udcff"}, ensure_ascii=False))
    pipe.flush()
    assert json.loads(written.getvalue().decode("utf-8")) == {"label": LABELS, "file": "\udcff"}


def test_a_terminal_keeps_its_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    written = io.BytesIO()
    terminal = Terminal(written, encoding="cp1252", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    streams.use_utf8()
    terminal.write("é 连")
    terminal.flush()
    assert terminal.encoding == "cp1252"
    assert written.getvalue() == b"\xe9 \\u8fde"


@pytest.mark.parametrize("words", [["recipes"], ["recipes", "balanced"]])
def test_a_reader_that_leaves_early_is_no_bug(words: list[str]) -> None:
    """The shell's `shopsight recipes | head -0`: the reader is gone before the first byte."""
    code = (
        "import os, sys; reader, writer = os.pipe(); os.dup2(writer, 1); os.close(reader);"
        "from shopsight.cli.app import main; main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], check=False, capture_output=True)
    assert done.returncode in {0, 1}
    assert done.stderr == b""


def test_how_systems_report_a_closed_pipe() -> None:
    assert streams.is_closed_pipe(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    invalid = OSError(errno.EINVAL, "Invalid argument")
    assert streams.is_closed_pipe(invalid) == (os.name == "nt")
    assert not streams.is_closed_pipe(OSError(errno.EINVAL, "Invalid argument", "a:b.csv"))
    assert not streams.is_closed_pipe(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.posix("/dev/full")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", [["recipes"], ["recipes", "--json"], ["--version"], ["--help"]])
def test_a_full_disk_under_stdout_is_named(words: list[str], buffered: bool) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "shopsight", *words],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
        )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[0] == "error: stdout: the disk is full"
    assert b"bug" not in done.stderr


@pytest.mark.posix("the shell's >&-")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_without_stdout_or_stderr_the_work_is_done(
    closed: str, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    shopsight = f'"{sys.executable}" -m shopsight'
    command = f'{shopsight} audit "{product_photos.folder}" --out "{tmp_path / "out"}" {closed}'
    done = subprocess.run(command, shell=True, check=False, capture_output=True)
    assert done.returncode in {0, 1}
    assert json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))["name"]
    assert b"Error" not in done.stderr
    missing = subprocess.run(
        f"{shopsight} audit no-such-data {closed}", shell=True, check=False, capture_output=True
    )
    assert missing.returncode == 2
