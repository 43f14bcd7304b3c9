"""Append-only files of blobs, each found by a 16-byte key; safe to cut off at any moment.

A segment is `<name>.blobs`, the blobs one after another, and `<name>.index`, one record per blob:
its key, where it ends, and that it is whole. A record is written after its blob is on disk.
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

KEY_BYTES = 16
RECORD = np.dtype([("key", f"S{KEY_BYTES}"), ("end", "<i8")])
# An interrupted build loses at most this much work.
SECONDS_BETWEEN_RECORDS = 2.0
# A build's memory stays bounded however fast the disk takes the blobs.
BLOBS_BETWEEN_RECORDS = 4096

# Of dtype S16, which jaxtyping has no name for.
Keys = Shaped[np.ndarray, "n"]


@dataclass(frozen=True)
class Segments:
    """Every whole blob in a folder.

    Attributes:
        paths: of the blob files that hold any blob.
        keys, ends: of the blobs of each file, in the order of the file.
    """

    paths: tuple[Path, ...]
    keys: tuple[Shaped[np.ndarray, "_"], ...]
    ends: tuple[Int64[np.ndarray, "_"], ...]

    @classmethod
    def read(cls, folder: Path) -> Segments:
        """Read the indexes; records whose blob is not whole are passed over."""
        paths, keys, ends = [], [], []
        for index in sorted(folder.glob("*.index")):
            blobs = index.with_suffix(".blobs")
            if not blobs.is_file():
                continue
            data = index.read_bytes()
            records = np.frombuffer(data, RECORD, count=len(data) // RECORD.itemsize)
            records = records[records["end"] <= blobs.stat().st_size]
            if len(records):
                paths.append(blobs)
                keys.append(np.ascontiguousarray(records["key"]))
                ends.append(records["end"].astype(np.int64))
        return cls(tuple(paths), tuple(keys), tuple(ends))

    @property
    def counts(self) -> list[int]:
        """Blobs in each file."""
        return [len(keys) for keys in self.keys]

    def find(self, keys: Keys) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        """For each key the number of its segment and its place in there; -1 where there is none."""
        known, segment, place = self._sorted
        if not len(known):
            return np.full(len(keys), -1), np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        there = known[at] == keys
        return np.where(there, segment[at], -1), np.where(there, place[at], -1)

    def spans(
        self, segment: Int64[np.ndarray, "n"], place: Int64[np.ndarray, "n"]
    ) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        """Where the blobs start and end in their files."""
        starts, ends = np.empty(len(segment), np.int64), np.empty(len(segment), np.int64)
        for number, file_ends in enumerate(self.ends):
            inside = segment == number
            ends[inside] = file_ends[place[inside]]
            starts[inside] = np.concatenate([[0], file_ends[:-1]])[place[inside]]
        return starts, ends

    @cached_property
    def _sorted(self) -> tuple[Keys, Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
        if not self.keys:
            none = np.empty(0, np.int64)
            return np.empty(0, f"S{KEY_BYTES}"), none, none
        keys = np.concatenate(self.keys)
        segment = np.repeat(np.arange(len(self.keys)), self.counts)
        place = np.concatenate([np.arange(count) for count in self.counts])
        order = np.argsort(keys, kind="stable")
        return keys[order], segment[order], place[order]


class FixedBlobs:
    """Blobs that are arrays of one shape, memory-mapped, as the rows of one array.

    Args:
        keys: of the rows, each in one of the segments.
    """

    def __init__(
        self, segments: Segments, keys: Keys, dtype: DTypeLike, shape: tuple[int, ...]
    ) -> None:
        self._dtype, self._shape = np.dtype(dtype), shape
        self._maps = [
            np.memmap(path, self._dtype, "r", shape=(count, *shape))
            for path, count in zip(segments.paths, segments.counts, strict=True)
        ]
        self._segment, self._slot = segments.find(keys)
        assert (self._segment >= 0).all(), "a key is in no segment"

    def __len__(self) -> int:
        return len(self._slot)

    def take(self, rows: Int64[np.ndarray, "b"]) -> Shaped[np.ndarray, "b ..."]:
        """The arrays of those rows, copied into one."""
        out = np.empty((len(rows), *self._shape), self._dtype)
        segment, slot = self._segment[rows], self._slot[rows]
        for number in np.unique(segment).tolist():
            inside = np.flatnonzero(segment == number)
            if len(inside) == len(rows):
                # The slots are our own, so clipping them changes nothing; checking them would
                # make numpy copy through a buffer.
                np.take(self._maps[number], slot, axis=0, out=out, mode="clip")
            else:
                out[inside] = self._maps[number][slot[inside]]
        return out


class SegmentWriter:
    """Appends blobs to a new segment; what was added before an exception stays readable."""

    def __init__(self, folder: Path) -> None:
        name = uuid.uuid4().hex[:12]
        self._blobs = (folder / f"{name}.blobs").open("xb")
        self._index = (folder / f"{name}.index").open("xb")
        self._waiting: list[tuple[bytes, int]] = []
        self._end = 0
        self._recorded_at_s = time.monotonic()

    def add(self, key: bytes, blob: bytes) -> None:
        """Append one blob."""
        assert len(key) == KEY_BYTES
        self._blobs.write(blob)
        self._end += len(blob)
        self._waiting.append((key, self._end))
        late = time.monotonic() - self._recorded_at_s > SECONDS_BETWEEN_RECORDS
        if late or len(self._waiting) >= BLOBS_BETWEEN_RECORDS:
            self._record()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._record()
        self._blobs.close()
        self._index.close()
        if not self._end:
            Path(self._blobs.name).unlink()
            Path(self._index.name).unlink()

    def _record(self) -> None:
        # The order is the point: a record must never say that a blob is there before it is.
        self._blobs.flush()
        os.fsync(self._blobs.fileno())
        self._index.write(np.array(self._waiting, RECORD).tobytes())
        self._index.flush()
        self._waiting.clear()
        self._recorded_at_s = time.monotonic()
