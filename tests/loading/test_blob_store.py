from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shopsight.errors import WriteError
from shopsight.loading.blob_store import RECORD, BlobStore, BlobWriter
from tests.windows import is_open


def key(number: int) -> bytes:
    # Ends in zero bytes, as a hash may.
    return number.to_bytes(8, "big") + bytes(8)


def keys(*numbers: int) -> np.ndarray:
    return np.array([key(number) for number in numbers], "S16")


def fill(folder: Path, *numbers: int) -> None:
    with BlobWriter(folder) as writer:
        for number in numbers:
            writer.add(key(number), blob(number))


def blob(number: int) -> bytes:
    return bytes([number]) * (number + 1)


def read_back(store: BlobStore, *numbers: int) -> list[bytes]:
    segment, index = store.find(keys(*numbers))
    starts, ends = store.spans(segment, index)
    files = [path.read_bytes() for path in store.paths]
    return [files[s][a:b] for s, a, b in zip(segment, starts, ends, strict=True)]


def test_blobs_come_back_by_key_from_any_segment(tmp_path: Path) -> None:
    assert BlobStore.read(tmp_path / "none").find(keys(1))[0].tolist() == [-1]
    fill(tmp_path, 5, 3, 200)
    fill(tmp_path, 0, 8)
    store = BlobStore.read(tmp_path)
    assert sorted(store.counts) == [2, 3]
    assert read_back(store, 8, 3, 0, 200, 5, 3) == [blob(n) for n in (8, 3, 0, 200, 5, 3)]
    assert store.find(keys(8, 99))[0][1] == -1


def test_a_key_in_two_segments_is_found_once(tmp_path: Path) -> None:
    fill(tmp_path, 1, 2)
    fill(tmp_path, 2, 3)
    assert read_back(BlobStore.read(tmp_path), 1, 2, 3) == [blob(1), blob(2), blob(3)]


def test_the_format_on_disk_is_as_documented(tmp_path: Path) -> None:
    fill(tmp_path, 7, 2)
    (index,), (blobs,) = tmp_path.glob("*.index"), tmp_path.glob("*.blobs")
    assert index.stem == blobs.stem
    assert blobs.read_bytes() == blob(7) + blob(2)
    ends = (len(blob(7)), len(blob(7)) + len(blob(2)))
    records = [key(n) + end.to_bytes(8, "little") for n, end in zip((7, 2), ends, strict=True)]
    assert index.read_bytes() == b"".join(records)


def test_an_exception_keeps_what_was_added(tmp_path: Path) -> None:
    def interrupted() -> None:
        with BlobWriter(tmp_path) as writer:
            writer.add(key(4), blob(4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_back(BlobStore.read(tmp_path), 4) == [blob(4)]


def test_a_full_disk_is_named_and_what_was_recorded_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 4)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="the disk is full"):
        fill(tmp_path, 5)
    store = BlobStore.read(tmp_path)
    assert read_back(store, 4) == [blob(4)]
    assert store.find(keys(5))[0].tolist() == [-1]
    assert not is_open(str(tmp_path))


def test_a_writer_that_adds_nothing_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_torn_files_are_read_up_to_the_tear(tmp_path: Path) -> None:
    fill(tmp_path, 1, 2, 3)
    index, blobs = next(tmp_path.glob("*.index")), next(tmp_path.glob("*.blobs"))
    whole = index.read_bytes()
    index.write_bytes(whole[: 2 * RECORD.itemsize + 5])
    assert BlobStore.read(tmp_path).counts == [2]
    index.write_bytes(whole)
    blobs.write_bytes(blobs.read_bytes()[:-1])
    store = BlobStore.read(tmp_path)
    assert store.counts == [2]
    assert store.find(keys(3))[0].tolist() == [-1]
    # What a file system may put behind the last record when the power fails.
    index.write_bytes(whole[: RECORD.itemsize] + bytes(2 * RECORD.itemsize))
    assert BlobStore.read(tmp_path).counts == [1]
    blobs.unlink()
    assert BlobStore.read(tmp_path).counts == []


def test_a_killed_writer_loses_only_its_last_moments(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from shopsight.loading import blob_store
blob_store.BLOBS_BETWEEN_RECORDS = 10
writer = blob_store.BlobWriter(Path({str(tmp_path)!r}))
for number in range(25):
    writer.add(number.to_bytes(8, "big") + bytes(8), bytes([number]) * (number + 1))
os._exit(9)  # as if killed: nothing is flushed or closed
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == 9
    store = BlobStore.read(tmp_path)
    assert store.counts == [20]
    assert read_back(store, *range(20)) == [blob(number) for number in range(20)]


def test_a_disk_that_is_full_before_the_first_blob_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _mode: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(WriteError, match="the disk is full"):
        BlobWriter(tmp_path)
