"""Fashion-MNIST: the published files, whatever source gives them."""

from __future__ import annotations

import gzip
import shutil
import socket
import time
from pathlib import Path

import pytest

from shopsight.datasets import fashion_mnist
from shopsight.datasets.fashion_mnist import (
    CLASS_NAMES,
    DEBIAN_FOLDER,
    SHA256,
    from_debian,
    open_fashion_mnist,
    verify,
)
from shopsight.errors import RemoteError, SourceError
from shopsight.files import sha256_bytes
from shopsight.images.decode import decode, read_bytes
from shopsight.io import connections
from shopsight.io.web import download
from tests.web_server import files_below, serving

installed = pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed here"
)


@installed
def test_the_published_files_are_verified_and_read() -> None:
    catalog = open_fashion_mnist(DEBIAN_FOLDER)
    assert len(catalog.rows_of("train")) == 60_000
    assert len(catalog.rows_of("test")) == 10_000
    assert catalog.labels == tuple(sorted(CLASS_NAMES))
    assert catalog.table["label"].value_counts()["count"].to_list() == [7_000] * 10
    first = catalog.take(catalog.rows_of("train")[:1])
    assert first.table["label"][0] == "Ankle boot"
    assert decode(read_bytes(first.refs()[0])).shape == (28, 28, 3)


@installed
def test_unpacked_files_below_the_root_serve_as_well(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in SHA256:
        packed = DEBIAN_FOLDER / f"{name}.gz"
        (raw / name).write_bytes(gzip.decompress(packed.read_bytes()))
        shutil.copyfile(packed, raw / packed.name)
    assert len(open_fashion_mnist(tmp_path)) == 70_000


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name in SHA256:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"shuffled"))
    with pytest.raises(SourceError, match="sha256 differs"):
        open_fashion_mnist(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="lacks the four Fashion-MNIST files"):
        open_fashion_mnist(tmp_path)
    with pytest.raises(SourceError, match="train-images-idx3-ubyte is missing"):
        verify(tmp_path)
    for name in SHA256:
        (tmp_path / f"{name}.gz").write_bytes(b"no gzip")
    with pytest.raises(SourceError, match="cannot be read"):
        verify(tmp_path)


@installed
def test_local_files_come_before_any_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path))
    assert open_fashion_mnist(None).root == str(DEBIAN_FOLDER)
    kept = tmp_path / "datasets" / "fashion-mnist"
    shutil.copytree(DEBIAN_FOLDER, kept)
    assert open_fashion_mnist(None).root == str(kept)
    assert said == []


@pytest.fixture
def nothing_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of the cache, on a machine without Debian's package and apt-get."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "absent")
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "cache" / "datasets" / "fashion-mnist"


def idx_files(folder: Path) -> dict[str, str]:
    """Four small IDX files, packed as published, and the hashes of what is in them."""
    folder.mkdir()
    hashes = {}
    for name in SHA256:
        shape = (2, 4, 4) if "images" in name else (2,)
        head = bytes((0, 0, 8, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape)
        data = head + bytes(range(32 if "images" in name else 2))
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        hashes[name] = sha256_bytes(data)
    return hashes


@pytest.mark.enable_socket
def test_the_first_mirror_that_has_the_files_is_used(
    tmp_path: Path, nothing_local: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(fashion_mnist, "SHA256", idx_files(tmp_path / "mirror"))
    wrong = tmp_path / "wrong"
    shutil.copytree(tmp_path / "mirror", wrong)
    (wrong / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"shuffled"))
    with serving() as server:
        server.routes = files_below(tmp_path)
        mirrors = [f"{server.url}/{name}/" for name in ("absent", "wrong", "mirror")]
        monkeypatch.setattr(fashion_mnist, "MIRRORS", mirrors)
        assert len(open_fashion_mnist(None)) == 4
    assert sorted(path.name for path in nothing_local.iterdir()) == sorted(
        f"{name}.gz" for name in SHA256
    )
    assert [line.split()[3] for line in said[:3]] == mirrors


def test_a_silent_mirror_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket_enabled: None
) -> None:
    """A server that accepts the connection and never answers."""
    monkeypatch.setattr(connections, "SILENCE_S", 0.2)
    monkeypatch.setattr(connections, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        began = time.perf_counter()
        with pytest.raises(RemoteError, match="did not answer in time"):
            download(url, tmp_path / "file", most_bytes=100, answer_s=9.0)
        assert time.perf_counter() - began < 5.0
    assert socket.getdefaulttimeout() is None


@pytest.mark.enable_socket
def test_without_any_source_every_attempt_is_named(
    nothing_local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server:
        monkeypatch.setattr(fashion_mnist, "MIRRORS", [f"{server.url}/"])
    with pytest.raises(SourceError) as caught:
        open_fashion_mnist(None)
    assert [detail.partition(": ")[0] for detail in caught.value.details] == [
        f"download from {server.url}/",
        "apt-get download dataset-fashion-mnist",
    ]
    assert "there is no apt-get" in caught.value.details[1]
    assert "--root" in str(caught.value)
    assert not nothing_local.exists()


@pytest.mark.network
def test_apt_get_brings_the_published_files(tmp_path: Path) -> None:
    from_debian(tmp_path)
    verify(tmp_path)
