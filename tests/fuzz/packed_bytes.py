"""Archives, arrays and weights, broken in many ways, and what reading owes to each."""

from __future__ import annotations

import functools
import gzip
import io
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

from shopsight.catalog.idx_pairs import container_catalog
from shopsight.errors import ShopsightError
from shopsight.images.decode import read_bytes
from shopsight.io import archives
from shopsight.io.arrays import read_arrays
from shopsight.io.tensor_header import read_tensor_header
from shopsight.memory import use_memory_budget
from tests.fuzz.file_bytes import photo
from tests.fuzz.limits import named

BUDGET_GB = 1.0


def _or_its_error(read: Callable[[], str]) -> str:
    """What reading gives, or the kind of error of ours."""
    with use_memory_budget(BUDGET_GB):
        try:
            return read()
        except ShopsightError as error:
            return named(error)


def read_as_idx(path: Path) -> str:
    """Read the images of an IDX file with the labels beside it."""

    def read() -> str:
        catalog = container_catalog([path.name], name="idx", root=str(path.parent))
        if len(catalog):
            read_bytes(str(path.parent / catalog.table["image"][0]))
        return "images"

    return _or_its_error(read)


def unpack(path: Path) -> str:
    """Unpack an archive: below its folder are files of no more than may be, and no links."""
    folder = path.with_name(f"{path.name}.out")
    # No dpkg.
    os.environ["PATH"] = ""

    def read() -> str:
        if path.name.endswith("zip"):
            hashes = archives.zip_hashes(path)
            archives.unpack_zip(path, folder)
            assert len(hashes) == sum(one.is_file() for one in folder.rglob("*"))
        else:
            archives.unpack_deb(path, folder)
        return "files"

    try:
        return _or_its_error(read)
    finally:
        assert not any(
            one.is_symlink() and not one.resolve().is_relative_to(folder.resolve())
            for one in folder.rglob("*")
        )
        shutil.rmtree(folder, ignore_errors=True)


def read_as_arrays(path: Path) -> str:
    """Read the arrays of a file of them."""

    def read() -> str:
        read_arrays(path, most_bytes=100_000_000)
        return "arrays"

    return _or_its_error(read)


def read_as_tensors(path: Path) -> str:
    """Read the header of weights; what it lets pass is read by safetensors too."""

    def read() -> str:
        told = read_tensor_header(path)
        assert sum(one.num_bytes for one in told.values()) <= path.stat().st_size
        return "tensors"

    return _or_its_error(read)


def _idx(*shape: int) -> bytes:
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


@functools.cache
def idx_files() -> dict[str, bytes]:
    """Whole files of images."""
    return {
        "images-idx3-ubyte": _idx(9, 4, 5),
        "images-idx4-ubyte": _idx(3, 4, 5, 3),
        "images-idx3-ubyte.gz": gzip.compress(_idx(9, 4, 5), mtime=0),
        "bomb-images-idx3-ubyte.gz": gzip.compress(_idx(1000, 20, 20), mtime=0),
    }


@functools.cache
def archive_files() -> dict[str, bytes]:
    """Whole archives: zip files packed in all ways, and Debian packages."""
    found = {
        f"{kind}.zip": _zip(kind)
        for kind in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
            zipfile.ZIP_BZIP2,
            zipfile.ZIP_LZMA,
        )
    }
    return found | {f"{kind or 'plain'}.deb": _deb(kind) for kind in ("", "gz", "xz", "bz2")}


def _zip(kind: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for number in range(3):
            archive.writestr(f"shoe/{number}.jpg", photo(number))
        archive.writestr("zeros", bytes(5000))
    return file.getvalue()


def _deb(kind: str) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode=f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name in ("usr/a.jpg", "usr/" + "long/" * 40 + "b.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(photo(1))
            archive.addfile(member, io.BytesIO(photo(1)))
        link = tarfile.TarInfo("usr/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a.jpg"
        archive.addfile(link)
    name, content = f"data.tar.{kind}", tar.getvalue()
    header = f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    return archives.AR_MAGIC + header + content + b"\n" * (len(content) % 2)


@functools.cache
def array_files() -> dict[str, bytes]:
    """Whole files of arrays."""
    arrays = {"logits": np.ones((3, 4), np.float32), "image_000": np.arange(9, dtype=np.uint8)}
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays)
    np.savez_compressed(packed, **arrays, ints=np.arange(40).reshape(5, 8).T)
    return {"plain.npz": plain.getvalue(), "packed.npz": packed.getvalue()}


@functools.cache
def tensor_files() -> dict[str, bytes]:
    """Whole weights."""
    tensors = {"a.weight": np.ones((3, 4), np.float32), "b": np.arange(5), "c": np.zeros((), "f2")}
    return {"w.safetensors": safetensors.numpy.save(tensors, {"format": "pt"})}
