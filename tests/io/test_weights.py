"""Weight files of strangers: no larger in memory than on disk, and no code."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from shopsight.errors import WeightsError
from shopsight.io.tensor_header import StoredTensor, read_tensor_header
from shopsight.io.weights import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(3, dtype=torch.float16)}


def _same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items()
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_pytorch(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    assert _same(read_weights(path))
    torch.save({"model": WEIGHTS, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    assert _same(read_weights(path))


def test_safetensors_and_its_header(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.numpy.save_file(
        {name: tensor.numpy() for name, tensor in WEIGHTS.items()}, path, metadata={"a": "b"}
    )
    assert _same(read_weights(path))
    stored = read_tensor_header(path)
    assert stored == {
        "a.weight": StoredTensor("F32", (2, 3)),
        "a.bias": StoredTensor("F16", (3,)),
    }
    assert stored["a.weight"].num_bytes == 24


class Calls:
    """Pickled, it is a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _archive(path: Path, content: object, compression: int = zipfile.ZIP_STORED) -> None:
    """PyTorch's format with any pickle as its description."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("w/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("w/byteorder", "little")
        archive.writestr("w/data/0", bytes(64))
        archive.writestr("w/version", "3\n")


class Storage:
    """What torch pickles a tensor's numbers as: a type, a key and a count."""

    def __init__(self, count: int) -> None:
        self.count = count


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> object:
        if isinstance(value, Storage):
            return ("storage", torch.FloatStorage, "0", "cpu", value.count)
        return None


def _tensor_archive(path: Path, *, count: int, shape: tuple[int, ...]) -> None:
    rebuild = Calls(
        torch._utils._rebuild_tensor_v2, Storage(count), 0, shape, (1,) * len(shape), False, {}
    )
    file = io.BytesIO()
    _Pickler(file, protocol=2).dump({"a": rebuild})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", file.getvalue())
        archive.writestr("w/byteorder", "little")
        archive.writestr("w/data/0", bytes(64))
        archive.writestr("w/version", "3\n")


def _packed(path: Path) -> None:
    _archive(path, {"a": 1}, zipfile.ZIP_DEFLATED)


def _large_tensor(path: Path) -> None:
    _tensor_archive(path, count=16, shape=(10**9,))


def _bytearray(path: Path) -> None:
    _archive(path, {"a": Calls(bytearray, 10**10)})


def _tensor_of_any_size(path: Path) -> None:
    _archive(path, {"a": Calls(torch.FloatTensor, 10**9)})


def _storage_of_any_size(path: Path) -> None:
    _archive(path, {"a": Calls(torch.UntypedStorage, 10**10)})


def _old_storage(path: Path) -> None:
    """PyTorch's older format makes room for as many numbers as the pickle says."""
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"cpuq") == 1
    place = data.index(b"K\x04", data.index(b"cpuq"))
    path.write_bytes(
        data[:place] + b"\x8a\x06" + (10**12).to_bytes(6, "little") + data[place + 2 :]
    )


def _old_bytearray(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": Calls(bytearray, 10**10)}, protocol=2))


def _code(path: Path) -> None:
    _archive(path, {"a": Calls(print, "code was run")})


def _many_entries(path: Path) -> None:
    entry = b"PK\x01\x02" + bytes(42)
    path.write_bytes(b"PK\x03\x04" + entry * 200_000)


def _text(path: Path) -> None:
    path.write_text("<html>not found</html>", encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_packed, "is compressed"),
        (_large_tensor, "neither safetensors nor a PyTorch state dict"),
        (_bytearray, r"Python objects \(.*bytearray\)"),
        (_tensor_of_any_size, r"Python objects \(torch.FloatTensor\)"),
        (_storage_of_any_size, r"Python objects \(torch.storage.UntypedStorage\)"),
        (_old_storage, "holds more than it has: it says 1,000,000,000,000"),
        (_old_bytearray, r"Python objects \(.*bytearray\)"),
        (_code, r"Python objects \(.*print\)"),
        (_many_entries, "more than 100,000 entries"),
        (_text, "neither safetensors nor a PyTorch state dict"),
    ],
)
def test_what_is_refused(
    write: Callable[[Path], None],
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(WeightsError, match=said) as caught:
        read_weights(path)
    assert caught.value.where == str(path)
    assert capfd.readouterr().out == ""


def test_a_tensor_is_a_part_of_the_file(tmp_path: Path) -> None:
    """Forty gigabytes are said to lie behind it; it has its four numbers."""
    path = tmp_path / "w.pth"
    _tensor_archive(path, count=10**10, shape=(4,))
    assert read_weights(path)["a"].untyped_storage().nbytes() < 2000


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "8 by its shape"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "8 bytes behind"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "8 bytes behind"),
        ({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}}, "by its shape"),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, "a tensor of shape"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 8]}}, "a tensor of shape"),
        ({"a": {"dtype": "PICKLE", "shape": [2], "data_offsets": [0, 8]}}, "of type 'PICKLE'"),
        ({"a": {"dtype": "F32", "shape": [2]}}, "data_offsets"),
        ({"a": 3}, "cannot be read"),
        ([1], "holds no names"),
    ],
)
def test_headers_that_are_not_true(header: object, said: str, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + np.zeros(2, np.float32).tobytes())
    with pytest.raises(WeightsError, match=said):
        read_tensor_header(path)
    with pytest.raises(WeightsError, match=said):
        read_weights(path)


@pytest.mark.parametrize("data", [b"", b"\1", bytes(8), b"\xff" * 8, b"\x10" + bytes(7) + b"{}"])
def test_files_without_a_header(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="its header would have"):
        read_tensor_header(path)
