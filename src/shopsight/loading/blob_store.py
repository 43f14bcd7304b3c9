"""Append-only files of blobs, each found by a 16-byte key; safe to cut off at any moment.

**On disk.** A store is a folder of *segments*. Each writer adds one segment of its own, two files
with a random name of 12 hexadecimal digits:

    <name>.blobs   the blobs, one after another; no header, no padding
    <name>.index   one record of 24 bytes per blob, in the same order; no header
                     bytes 0..15   the key (part of a SHA-256; zero bytes at its end count)
                     bytes 16..23  where the blob ends in <name>.blobs, int64, little-endian

A blob starts where the one before it ends. What a blob means (pixels of a certain size, a JPEG, a
feature) is up to whoever keeps the folder, which says so in a file beside the segments, and makes
another folder where the meaning changes. A key may be in several segments; the first counts, as
all hold the same content. Nothing is ever changed or deleted.

**When a writer dies.** A record is written after its blob is on disk (`fsync`), so that a record
never promises what is not there. A killed process loses what it added since the last record, at
most `SECONDS_BETWEEN_RECORDS` of work; what is then behind the last record of the blobs' file is
never read. After a power failure the index may also end in part of a record, or in zeros that the
file system put there: records are read up to the first that is not whole, does not end behind the
one before it, or ends behind the blobs' file.

**Side by side.** Writers share no file, and readers see what was recorded when they looked. There
is no checksum of the blobs: a file that a disk corrupts later is not noticed.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Int64, Shaped
from numpy.typing import DTypeLike

from shopsight.held_files import remove_file
from shopsight.write_errors import write_errors_named

KEY_BYTES = 16
RECORD = np.dtype([("key", f"S{KEY_BYTES}"), ("end", "<i8")])
# An interrupted build loses at most this much work.
SECONDS_BETWEEN_RECORDS = 2.0
# A build's memory stays bounded however fast the disk takes the blobs.
BLOBS_BETWEEN_RECORDS = 4096

# The dtype is S16, for which jaxtyping has no name.
Keys = Shaped[np.ndarray, "n"]


@dataclass(frozen=True)
class BlobStore:
    """Every whole blob in a folder, as it was when the folder was read.

    Attributes:
        paths: Blob files that hold any blob, one per segment.
        keys: Keys of each segment's blobs, in the order of its file.
        ends: Where each segment's blobs end in its file.
    """

    paths: tuple[Path, ...]
    keys: tuple[Shaped[np.ndarray, "_"], ...]
    ends: tuple[Int64[np.ndarray, "_"], ...]

    @classmethod
    def read(cls, folder: Path) -> BlobStore:
        """Read the indexes of a folder, which need not exist; what is not readable is absent."""
        paths, keys, ends = [], [], []
        for index in sorted(folder.glob("*.index")):
            blobs = index.with_suffix(".blobs")
            try:
                records = _whole_records(index.read_bytes(), blobs.stat().st_size)
            except OSError:
                # Half a segment, or one that this user may not read.
                continue
            if len(records):
                paths.append(blobs)
                keys.append(np.ascontiguousarray(records["key"]))
                ends.append(records["end"].astype(np.int64))
        return cls(tuple(paths), tuple(keys), tuple(ends))

    @property
    def counts(self) -> list[int]:
        """Number of blobs in each segment."""
        return [len(keys) for keys in self.keys]

    def find(self, keys: Keys) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        """Return each key's segment and its index in there; -1 for a key that is missing."""
        known, segment, index = self._sorted
        if not len(known):
            return np.full(len(keys), -1), np.full(len(keys), -1)
        nearest = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        found = known[nearest] == keys
        return np.where(found, segment[nearest], -1), np.where(found, index[nearest], -1)

    def spans(
        self, segment: Int64[np.ndarray, "n"], index: Int64[np.ndarray, "n"]
    ) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        """Return where the blobs start and end in their files, in bytes."""
        starts, ends = np.empty(len(segment), np.int64), np.empty(len(segment), np.int64)
        for number, file_ends in enumerate(self.ends):
            inside = segment == number
            ends[inside] = file_ends[index[inside]]
            starts[inside] = np.concatenate([[0], file_ends[:-1]])[index[inside]]
        return starts, ends

    @cached_property
    def _sorted(self) -> tuple[Keys, Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        if not self.keys:
            none = np.empty(0, np.int64)
            return np.empty(0, f"S{KEY_BYTES}"), none, none
        keys = np.concatenate(self.keys)
        segment = np.repeat(np.arange(len(self.keys)), self.counts)
        index = np.concatenate([np.arange(count) for count in self.counts])
        order = np.argsort(keys, kind="stable")
        return keys[order], segment[order], index[order]


class FixedBlobs:
    """Blobs that are arrays of one shape, memory-mapped, as the rows of one array.

    Args:
        store: The store that holds them.
        keys: Keys of the rows, each in the store.
        dtype: Element type of the arrays.
        shape: Shape of one array.
    """

    def __init__(
        self, store: BlobStore, keys: Keys, dtype: DTypeLike, shape: tuple[int, ...]
    ) -> None:
        self._dtype, self._shape = np.dtype(dtype), shape
        self._maps = [
            np.memmap(path, self._dtype, "r", shape=(count, *shape))
            for path, count in zip(store.paths, store.counts, strict=True)
        ]
        self._segment, self._index = store.find(keys)
        assert (self._segment >= 0).all(), "a key is not in the store"

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, rows: Int64[np.ndarray, "b"]) -> Shaped[np.ndarray, "b ..."]:
        """As `take`."""
        return self.take(rows)

    def take(self, rows: Int64[np.ndarray, "b"]) -> Shaped[np.ndarray, "b ..."]:
        """Return the arrays of these rows, copied into one."""
        out = np.empty((len(rows), *self._shape), self._dtype)
        segment, index = self._segment[rows], self._index[rows]
        for number in np.unique(segment).tolist():
            inside = np.flatnonzero(segment == number)
            if len(inside) == len(rows):
                # The indices are our own, so clipping them changes nothing; checking them would
                # make numpy copy through a buffer.
                np.take(self._maps[number], index, axis=0, out=out, mode="clip")
            else:
                out[inside] = self._maps[number][index[inside]]
        return out


class BlobWriter:
    """Appends blobs to a new segment; what was added before an exception stays readable.

    Args:
        folder: Folder of the store; it exists.

    Raises:
        WriteError: The disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{uuid.uuid4().hex[:12]}.blobs"
        with write_errors_named(self._path):
            self._blobs = self._path.open("xb")
            self._index = self._path.with_suffix(".index").open("xb")
        self._unrecorded: list[tuple[bytes, int]] = []
        self._end = 0
        self._recorded_at_s = time.monotonic()

    def add(self, key: bytes, blob: bytes) -> None:
        """Append one blob, which is not empty.

        Raises:
            WriteError: The disk is full; what was recorded before stays.
        """
        assert len(key) == KEY_BYTES
        assert blob
        with write_errors_named(self._path):
            self._append(key, blob)

    def _append(self, key: bytes, blob: bytes) -> None:
        self._blobs.write(blob)
        self._end += len(blob)
        self._unrecorded.append((key, self._end))
        late = time.monotonic() - self._recorded_at_s > SECONDS_BETWEEN_RECORDS
        if late or len(self._unrecorded) >= BLOBS_BETWEEN_RECORDS:
            self._record()

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with write_errors_named(self._path), self._index, self._blobs:
            self._record()
        if not self._end:
            remove_file(self._path)
            remove_file(self._path.with_suffix(".index"))

    def _record(self) -> None:
        # The order is the point: a record must never say that a blob is there before it is.
        self._blobs.flush()
        os.fsync(self._blobs.fileno())
        self._index.write(np.array(self._unrecorded, RECORD).tobytes())
        self._index.flush()
        self._unrecorded.clear()
        self._recorded_at_s = time.monotonic()


def _whole_records(data: bytes, blobs_bytes: int) -> Shaped[np.ndarray, "_"]:
    """Return the records up to the first that cannot be right; see the module on dying writers."""
    records = np.frombuffer(data, RECORD, count=len(data) // RECORD.itemsize)
    ends = records["end"]
    wrong = np.flatnonzero((np.diff(ends, prepend=0) <= 0) | (ends > blobs_bytes))
    return records[: wrong[0]] if len(wrong) else records
