"""Disks that are full or may not be written, and files that grow too large."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import inputs
from tests.fuzz.folders import Tree, make, trainable
from tests.fuzz.harness import Fuzz
from tests.helpers import SMALL, read_only

pytestmark = [pytest.mark.slow, pytest.mark.posix("mounts a small disk, or limits its files")]

COMMANDS = (
    ("audit", "photos", "--out", "DISK/audit"),
    ("split", "photos", "--out", "DISK/split.csv"),
    ("predict", "RUN", "photos", "--out", "DISK/p.parquet"),
    ("predict", "RUN", "photos", "--sort-into", "DISK/sorted"),
    ("evaluate", "RUN", "photos", "--out", "DISK/report.html", "--split", "all"),
    ("train", "photos", "--out", "DISK/run", *SMALL),
)


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[None]:
    """A disk of this size at `folder`; without the right to mount, files of at most this size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(folder)]
    if sys.platform == "linux" and not subprocess.run(mount, check=False).returncode:
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_kb * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(
    tree=trainable(),
    words=st.sampled_from(COMMANDS),
    size_kb=st.sampled_from([0, 8, 16, 40, 100, 200, 400, 800, 1600]),
    cached=st.booleans(),
)
@inputs("disks")
def test_disks(
    fuzz: Fuzz, tiny_run: Path, tree: Tree, words: tuple[str, ...], size_kb: int, cached: bool
) -> None:
    with fuzz.input() as case:
        make(tree, case.inputs)
        disk = case.outputs / "disk"
        places = {"RUN": str(tiny_run)}
        filled = [places.get(word, word).replace("DISK/", f"{disk}/") for word in words]
        if cached:
            filled += ["--cache-dir", str(disk / "cache")]
        if size_kb:
            with small_disk(disk, size_kb):
                case.run(*filled)
        else:
            disk.mkdir()
            with read_only(disk):
                case.run(*filled)
