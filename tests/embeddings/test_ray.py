"""A real Ray cluster on loopback, in processes of its own: the same vectors as without it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from shopsight.commands.embed import embed
from shopsight.commands.index import build_index
from shopsight.datasets.synthetic import draw_catalog
from shopsight.embeddings.store import EmbeddingFolder, Embeddings
from shopsight.search.index import open_index

# Not importorskip: this process would have imported it before shopsight does.
if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LITE0 = "embedded:tf_efficientnet_lite0"
BY_RAY = ("--runner", "ray", "--runner-workers", "2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, one of them twice, and two files that are none."""
    folder = tmp_path_factory.mktemp("ray") / "photos"
    draw_catalog(folder, products_per_class=12)
    files = sorted(folder.rglob("*.jpg"))
    files[3].write_bytes(b"")
    files[40].write_bytes(b"no image")
    files[7].with_name("copy.jpg").write_bytes(files[7].read_bytes())
    return folder


@pytest.fixture(scope="module")
def plain(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingFolder:
    """What this process embeds."""
    out = tmp_path_factory.mktemp("plain")
    embed(LITE0, photos, out=out, device="cpu", precision="32")
    return EmbeddingFolder(out)


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "shopsight", *map(str, arguments)]
    return subprocess.Popen(
        [*command, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONWARNINGS": "error::DeprecationWarning:shopsight"},
    )


def workers_of(process: subprocess.Popen[str]) -> Iterator[psutil.Process]:
    """Processes of a command that have opened the model and embed a block."""
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            title = " ".join(child.cmdline())
            if "ImageWorker" in title and ".submit" in title:
                yield child
        except psutil.Error:
            continue


def assert_loopback(process: subprocess.Popen[str]) -> None:
    """No process of the cluster can be reached from another machine."""
    listening = [
        connection.laddr.ip
        for child in psutil.Process(process.pid).children(recursive=True)
        for connection in child.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def assert_equal(found: Embeddings, expected: Embeddings) -> None:
    assert found.space == expected.space
    assert found.table.equals(expected.table)  # The same ids in the same order.
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-5)


def test_two_workers_embed_as_one_process_does(
    photos: Path, plain: EmbeddingFolder, tmp_path: Path
) -> None:
    out = EmbeddingFolder(tmp_path / "vectors")
    # What was stored before is not handed to the workers.
    before = plain.read()
    out.create(before.space, model=LITE0, data="photos")
    out.write(before.table.head(50), before.vectors[:50])
    arguments = ("embed", LITE0, photos, "--out", out.path, "--precision", "32", *BY_RAY)
    process = started(*arguments)
    said, _ = process.communicate()
    assert process.returncode == 1, said  # Two files are no images.
    assert "Ray on this machine: 2 workers" in said
    assert "50 of 193 images have their embeddings already" in said
    # What is left, equal photos once, and the file that is no image.
    left = before.table["content"][50:].n_unique() + 1
    assert f"Embedding: {left} images" in said
    assert_equal(out.read(), before)
    failed = [pl.read_csv(folder.path / "failed.csv") for folder in (out, plain)]
    assert failed[0].equals(failed[1])
    # Ray wrote nothing by itself, but for how much it writes.
    own = [line for line in said.splitlines() if "ray" in line.replace("/ray", "")]
    assert all("RAY_BACKEND_LOG_LEVEL" in line for line in own), own


def test_a_killed_worker_is_survived(photos: Path, plain: EmbeddingFolder, tmp_path: Path) -> None:
    out = EmbeddingFolder(tmp_path / "vectors")
    process = started("embed", LITE0, photos, "--out", out.path, "--precision", "32", *BY_RAY)
    killed = None
    while killed is None and process.poll() is None:
        for worker in workers_of(process):
            assert_loopback(process)
            worker.kill()
            killed = worker.pid
            break
        time.sleep(0.05)
    said, _ = process.communicate()
    assert killed is not None, said
    assert process.returncode == 1, said
    assert_equal(out.read(), plain.read())


def test_an_index_is_the_same(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("qdrant_edge")
    process = started("index", "build", LITE0, photos, "--out", tmp_path / "ray", *BY_RAY)
    said, _ = process.communicate()
    assert process.returncode == 1, said
    build_index(LITE0, photos, out=tmp_path / "plain", device="cpu")
    with open_index(tmp_path / "ray") as found, open_index(tmp_path / "plain") as expected:
        assert found.items().equals(expected.items())
        np.testing.assert_allclose(found.vectors(), expected.vectors(), atol=1e-3)  # f16
