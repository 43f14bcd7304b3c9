"""Stand-ins, on this machine, for the hosts that the data sets of `COMMANDS` are fetched from."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shopsight.datasets import clothing, fashion_mnist
from shopsight.datasets.clothing import digest_of_images
from shopsight.files import sha256_bytes
from tests.io.packages import ar_archive, tar_xz

_IMAGES = 60
_PACKED_FOLDER = "usr/share/datasets/small"


@dataclass(frozen=True)
class Sources:
    """What a command finds in place of hosts.

    Attributes:
        constants: that replace those of the package's modules, by module and name; as values of
            JSON, from which those of the module's types are made.
        programs: a folder with an `apt-get`, for the front of PATH.
    """

    constants: dict[str, dict[str, Any]]
    programs: Path


@contextmanager
def served_sources(folder: Path) -> Iterator[Sources]:
    """A small clothing-small as GitHub serves it, and a small fashion-mnist as Debian packs it.

    The web server is a process of its own: tests open no sockets.
    """
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*words, "--directory", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split(" port ")[1].split()[0]
            yield _make_sources(folder, f"http://127.0.0.1:{port}")
        finally:
            server.kill()


def _make_sources(folder: Path, address: str) -> Sources:
    hashes = _write_package(folder / "fashion.deb")
    programs = folder / "bin"
    programs.mkdir()
    apt_get = programs / "apt-get"
    apt_get.write_text(f'#!/bin/sh\ncp "{folder}/fashion.deb" .\n', encoding="utf-8")
    apt_get.chmod(0o700)
    # Another folder than Debian's, which may be installed.
    fashion = {"MIRRORS": [], "SHA256": hashes, "DEBIAN_FOLDER": f"/{_PACKED_FOLDER}"}
    small = {"SMALL_REPOSITORY": address, "SMALL_SHA256": _write_archive(folder)}
    constants = {clothing.__name__: small, fashion_mnist.__name__: fashion}
    return Sources(constants, programs)


def _write_archive(folder: Path) -> str:
    """Write `archive/<commit>.zip`; the digest of its images."""
    archive, hashes = folder / "archive" / f"{clothing.SMALL_COMMIT}.zip", {}
    archive.parent.mkdir(parents=True)
    rng, photo = np.random.default_rng(0), folder / "photo.jpg"
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(_IMAGES):
            Image.fromarray(rng.integers(0, 256, (12, 9, 3), np.uint8)).save(photo)
            parts = ("train", "validation", "test")
            name = f"{parts[number % 3]}/{('hat', 'dress')[number % 2]}/{number}.jpg"
            hashes[name] = sha256_bytes(photo.read_bytes())
            packed.write(photo, f"repository-1a2b/{name}")
    return digest_of_images(hashes)


def _write_package(package: Path) -> dict[str, str]:
    """Write Debian's package of four small IDX files; the hashes of what is packed in them."""
    package.parent.mkdir(parents=True, exist_ok=True)
    rng, hashes, files = np.random.default_rng(0), {}, {}
    for name in fashion_mnist.SHA256:
        pixels = rng.integers(0, 256, (_IMAGES, 4, 4), np.uint8)
        data = pixels if "images" in name else np.arange(_IMAGES, dtype=np.uint8) % 10
        head = bytes((0, 0, 8, data.ndim)) + b"".join(n.to_bytes(4, "big") for n in data.shape)
        content = head + data.tobytes()
        files[f"./{_PACKED_FOLDER}/{name}.gz"] = gzip.compress(content, mtime=0)
        hashes[name] = sha256_bytes(content)
    package.write_bytes(
        ar_archive(
            {
                "debian-binary": b"2.0\n",
                "control.tar.xz": tar_xz({"./control": b"Package: dataset-fashion-mnist\n"}),
                "data.tar.xz": tar_xz(files),
            }
        )
    )
    return hashes
