"""IDX containers: members are read as images, and errors name the member."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from shopsight.errors import ImageError
from shopsight.images import idx
from shopsight.images.decode import Header, decode, header, read_bytes
from shopsight.images.idx import idx_length, read_idx
from tests.images.samples import HEIGHT, WIDTH, jpeg


def test_idx_members(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 20), dtype=np.uint8)
    content = bytes((0, 0, 8, 3)) + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    plain, packed = tmp_path / "train-images-idx3-ubyte", tmp_path / "t10k-images-idx3-ubyte.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    for container in (plain, packed):
        for index in range(3):
            data = read_bytes(f"{container}#{index}")
            assert header(data) == Header("pnm", 20, 28)
            assert (decode(data) == pixels[index][:, :, None]).all()
        with pytest.raises(ImageError, match="holds 3 images"):
            read_bytes(f"{container}#3")
    with pytest.raises(ImageError, match="no such file"):
        read_bytes(f"{tmp_path / 'absent-idx3-ubyte.gz'}#0")
    (tmp_path / "cut-idx3-ubyte").write_bytes(content[:-9])
    with pytest.raises(ImageError, match="9 bytes are missing"):
        read_bytes(f"{tmp_path / 'cut-idx3-ubyte'}#0")


def test_a_hash_in_an_ordinary_name(tmp_path: Path) -> None:
    path = tmp_path / "shirt#2.jpg"
    path.write_bytes(jpeg())
    assert decode(read_bytes(str(path))).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "shape",
    [(4_000_000_000,), (65_536, 65_536, 65_536), (1,) * 255, (5, 0, 3), (2**32 - 1, 2**32 - 1)],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_sizes_beyond_the_file(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x-images-idx3-ubyte{suffix}"
    head = bytes((0, 0, 8, len(shape))) + b"".join(one.to_bytes(4, "big") for one in shape)
    path.write_bytes(gzip.compress(head) if suffix else head)
    tracemalloc.start()
    for read in (read_idx, idx_length):
        with pytest.raises(ImageError, match=r"missing at the end|of the shape"):
            read(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "IDX_BYTES", 1_000_000)
    (tmp_path / "x-ubyte.gz").write_bytes(gzip.compress(bytes(20_000_000), 1))
    with pytest.raises(ImageError, match="more than 1,000,000 bytes") as caught:
        read_idx(tmp_path / "x-ubyte.gz")
    assert caught.value.reason == "too large"


def test_a_file_of_no_dimension(tmp_path: Path) -> None:
    path = tmp_path / "a-idx0-ubyte"
    path.write_bytes(bytes((0, 0, 8, 0, 1)))
    with pytest.raises(ImageError, match=r"IDX of the shape \(\)"):
        idx_length(path)
