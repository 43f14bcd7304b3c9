from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import pytest
from torchvision.datasets import FashionMNIST

from shopsight.datasets import fashion_mnist
from shopsight.datasets.fashion_mnist import (
    CLASS_NAMES,
    DEBIAN_FOLDER,
    SHA256,
    ar_members,
    open_fashion_mnist,
    verify,
)
from shopsight.errors import SourceError
from shopsight.images.decode import decode, read_bytes

installed = pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed here"
)


def ar_archive(members: dict[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        parts += [head.encode(), data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def tar_xz(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


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
    with pytest.raises(SourceError, match="four Fashion-MNIST files"):
        open_fashion_mnist(tmp_path)
    with pytest.raises(SourceError, match="train-images-idx3-ubyte is missing"):
        verify(tmp_path)
    for name in SHA256:
        (tmp_path / f"{name}.gz").write_bytes(b"no gzip")
    with pytest.raises(SourceError, match="cannot be read"):
        verify(tmp_path)


def test_a_debian_package_is_unpacked_without_dpkg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tar_xz({"usr/share/datasets/fashion-mnist/README": b"odd"})
    package = tmp_path / "x.deb"
    package.write_bytes(ar_archive({"debian-binary": b"2.0\n", "data.tar.xz": data}))
    monkeypatch.setenv("PATH", str(tmp_path))
    fashion_mnist._unpack_deb(package, tmp_path / "tree")
    kept = tmp_path / "tree/usr/share/datasets/fashion-mnist/README"
    assert kept.read_bytes() == b"odd"


def test_members_of_an_ar_archive() -> None:
    members = {"debian-binary": b"2.0\n", "odd": b"123", "last": b""}
    assert dict(ar_members(ar_archive(members))) == members
    with pytest.raises(SourceError, match="not an ar archive"):
        list(ar_members(b"PK"))


def test_with_no_source_in_reach_every_way_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "absent")
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(FashionMNIST, "mirrors", ["file:///absent/"])
    with pytest.raises(SourceError) as caught:
        open_fashion_mnist(None)
    text = str(caught.value)
    assert "apt-get: there is no apt-get" in text
    assert "torchvision:" in text
    assert "--root" in text
    assert not (tmp_path / "cache" / "datasets" / "fashion-mnist").exists()


@pytest.mark.network
def test_apt_get_brings_the_published_files(tmp_path: Path) -> None:
    fashion_mnist._from_apt(tmp_path)
    verify(tmp_path)
