"""Files of arrays from strangers: numbers only, and no more than the file may have."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from shopsight.errors import ArchiveError, LocationError
from shopsight.io.arrays import read_arrays

MEGABYTE = 1_000_000


def npy(shape: str, dtype: str = "<f4", values: bytes = b"", *, version: int = 1) -> bytes:
    """A file of one array whose header says anything."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + len(header).to_bytes(2, "little") + header + values


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def reason_of(path: Path, *, most_bytes: int = MEGABYTE) -> str:
    with pytest.raises(ArchiveError) as caught:
        read_arrays(path, most_bytes=most_bytes)
    assert caught.value.where == str(path)
    return caught.value.reason


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numbers_come_back(save: type, tmp_path: Path) -> None:
    arrays = {
        "image_0": np.frombuffer(b"bytes", np.uint8),
        "logits": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "empty": np.zeros((0, 3)),
        "one": np.array(True),
        "big": np.arange(3, dtype=">i2"),
    }
    save(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz", most_bytes=MEGABYTE)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (npy("(1000000000, 1000)"), "damaged"),
        (npy("(2,)", values=bytes(7)), "damaged"),
        (npy("(2,)", values=bytes(9)), "damaged"),
        (npy("(-1,)"), "damaged"),
        (npy("(-1, -2)", values=bytes(8)), "damaged"),
        (npy("(0, 99999999999999999999)"), "damaged"),
        (npy("(" + "1, " * 200 + ")", values=bytes(4)), "damaged"),
        (npy("(1,)", values=bytes(4), version=3), "damaged"),
        (npy("(1,)", values=bytes(4), version=9), "damaged"),
        (npy("(1,)" + " " * 20_000, values=bytes(4)), "damaged"),
        (npy("__import__('os').getcwd()"), "damaged"),
        (npy("(1,)", "|O", values=bytes(8)), "not allowed"),
        (npy("(1,)", "<U2", values=bytes(8)), "not allowed"),
        (npy("(1,)", "|V8", values=bytes(8)), "not allowed"),
        (b"not an array", "damaged"),
        (b"", "damaged"),
    ],
)
def test_headers_that_lie(member: bytes, reason: str, tmp_path: Path) -> None:
    assert reason_of(packed(tmp_path / "a.npz", {"a.npy": member})) == reason


def test_structured_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3, [("x", "f4"), ("y", "i8")]))
    assert reason_of(tmp_path / "a.npz") == "not allowed"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "a.npz", {"a.npy": bytes(50 * MEGABYTE)})
    assert bomb.stat().st_size < MEGABYTE
    tracemalloc.start()
    assert reason_of(bomb) == "too large"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * MEGABYTE
    with pytest.raises(LocationError, match="more than 1,000 bytes") as caught:
        read_arrays(bomb, most_bytes=1_000)
    assert caught.value.reason == "too large"


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    data = packed(tmp_path / "a.npz", {"a.npy": bytes(50 * MEGABYTE)}).read_bytes()
    size = (50 * MEGABYTE).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    assert reason_of(tmp_path / "a.npz") == "damaged"


def test_too_many_arrays(tmp_path: Path) -> None:
    many = packed(tmp_path / "a.npz", {f"{number}.npy": b"" for number in range(10_001)})
    assert reason_of(many, most_bytes=2 * MEGABYTE) == "too large"


def test_no_archive(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18) + b"tail", b"\x93NUMPY"):
        (tmp_path / "a.npz").write_bytes(data)
        if data[2:4] == b"\x05\x06":
            assert read_arrays(tmp_path / "a.npz", most_bytes=MEGABYTE) == {}
        else:
            assert reason_of(tmp_path / "a.npz") == "damaged"
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent.npz", most_bytes=MEGABYTE)


def test_an_encrypted_member(tmp_path: Path) -> None:
    data = bytearray(packed(tmp_path / "a.npz", {"a.npy": npy("()", values=bytes(4))}).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(data)
    assert reason_of(tmp_path / "a.npz") == "damaged"
