"""The epoch cache: every picture decoded once, to the square that the network sees.

One folder holds the pictures of one geometry (size, resize, pad colour, ...), whatever catalogue
they come from: a picture is found by the hash of its file's bytes and its box. So folds, subsets,
other orders and other label columns share it, and a file that changed is another picture.

Each build appends to a segment of its own: a file of pixels, and a file with one record per
picture that is written after the pixels are on disk. A build that was interrupted leaves a
shorter segment, and the next one goes on from there; builds side by side cannot harm each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import simplejpeg
from filelock import FileLock, Timeout
from jaxtyping import Float64, Int64, UInt8

from shopsight.config import CacheSettings
from shopsight.data.canvas import CANVAS_VERSION, Box, canvas
from shopsight.data.catalog import Catalog
from shopsight.data.images import read_bytes
from shopsight.data.segments import Segments, SegmentWriter
from shopsight.errors import ConfigError, ImageError
from shopsight.files import free_bytes, human_bytes, write_json
from shopsight.preprocess import Preprocess
from shopsight.progress import say, task

CacheMode = Literal["raw", "jpeg"]
CACHE_VERSION = 1
JPEG_QUALITY = 95
# Measured on product photos at this quality without chroma subsampling: a sixth of the pixels.
JPEG_SHARE_OF_RAW = 1 / 6
FREE_SHARE_FOR_RAW = 0.5
# Pictures are decoded this many at a time, which bounds the memory of a build.
BLOCK_IMAGES = 256


class PixelSource(Protocol):
    """Where square pictures come from. `gather` may be called from many threads."""

    @property
    def size_px(self) -> int: ...

    @property
    def mode(self) -> Literal["raw", "jpeg", "off"]: ...

    def __len__(self) -> int: ...

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]: ...


@dataclass(frozen=True)
class Pictures:
    """The pictures of a catalogue and what they are to become."""

    refs: Sequence[str]
    boxes: Float64[np.ndarray, "n 4"] | None
    preprocess: Preprocess

    @property
    def raw_bytes(self) -> int:
        """Of one picture."""
        return self.preprocess.size**2 * 3

    def box(self, row: int) -> Box | None:
        if self.boxes is None or np.isnan(self.boxes[row]).any():
            return None
        return Box(*self.boxes[row].tolist())

    def make(self, row: int, *, sha: str | None = None) -> UInt8[np.ndarray, "s s 3"]:
        """Decode one picture.

        Raises:
            ImageError: it cannot be decoded, or its bytes do not have the hash `sha`.
        """
        ref = self.refs[row]
        data = read_bytes(ref)
        if sha is not None and sha256(data).hexdigest() != sha:
            raise ImageError("changed", "the file changed while it was being read", where=ref)
        return canvas(data, self.preprocess, box=self.box(row), where=ref)


class DecodingSource:
    """No cache: every picture is decoded whenever it is asked for."""

    mode: Literal["off"] = "off"

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    @property
    def size_px(self) -> int:
        return self._pictures.preprocess.size

    def __len__(self) -> int:
        return len(self._pictures.refs)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        side = self.size_px
        out = np.empty((len(rows), side, side, 3), np.uint8)
        for picture, row in zip(out, rows.tolist(), strict=True):
            picture[:] = self._pictures.make(row)
        return out


class RawSource:
    """Pixels in memory-mapped files."""

    mode: Literal["raw"] = "raw"

    def __init__(self, segments: Segments, keys: np.ndarray, size_px: int) -> None:
        self._size_px = size_px
        self._maps = [
            np.memmap(path, np.uint8, "r", shape=(count, size_px, size_px, 3))
            for path, count in zip(segments.paths, segments.counts, strict=True)
        ]
        self._segment, self._slot = segments.find(keys)
        assert (self._segment >= 0).all(), "a picture is not in the cache"

    @property
    def size_px(self) -> int:
        return self._size_px

    def __len__(self) -> int:
        return len(self._slot)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        out = np.empty((len(rows), self._size_px, self._size_px, 3), np.uint8)
        segment, slot = self._segment[rows], self._slot[rows]
        for number in np.unique(segment).tolist():
            inside = np.flatnonzero(segment == number)
            if len(inside) == len(rows):
                np.take(self._maps[number], slot, axis=0, out=out, mode="clip")
            else:
                out[inside] = self._maps[number][slot[inside]]
        return out


class JpegSource:
    """Squares compressed as JPEGs, in memory-mapped files."""

    mode: Literal["jpeg"] = "jpeg"

    def __init__(self, segments: Segments, keys: np.ndarray, size_px: int) -> None:
        self._size_px = size_px
        self._maps = [
            np.memmap(path, np.uint8, "r", shape=(int(ends[-1]),))
            for path, ends in zip(segments.paths, segments.ends, strict=True)
        ]
        self._segment, slot = segments.find(keys)
        assert (self._segment >= 0).all(), "a picture is not in the cache"
        self._start, self._end = segments.spans(self._segment, slot)

    @property
    def size_px(self) -> int:
        return self._size_px

    def __len__(self) -> int:
        return len(self._segment)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        out = np.empty((len(rows), self._size_px, self._size_px, 3), np.uint8)
        for picture, row in zip(out, rows.tolist(), strict=True):
            blob = self._maps[self._segment[row]][self._start[row] : self._end[row]]
            simplejpeg.decode_jpeg(blob, "RGB", buffer=picture)
        return out


def open_cache(
    catalog: Catalog,
    preprocess: Preprocess,
    *,
    settings: CacheSettings,
    sha256s: Sequence[str] | None = None,
    threads: int | None = None,
) -> PixelSource:
    """The square pictures of a catalogue; decodes those that the cache lacks.

    Args:
        sha256s: of each file's bytes, as hex (the audit has them); None: computed here.
        threads: that decode; None: one per core.

    Raises:
        ImageError: a file that cannot be decoded, by name.
        ConfigError: `settings.mode` is "raw" or "jpeg" and does not fit on the disk.
    """
    pictures = Pictures(catalog.refs(), catalog.boxes(), preprocess)
    if settings.mode == "off":
        return DecodingSource(pictures)
    workers = threads or os.cpu_count() or 1
    shas = _hashes(pictures.refs, workers) if sha256s is None else list(sha256s)
    assert len(shas) == len(pictures.refs), "one hash for each row"
    keys = picture_keys(shas, pictures.boxes)
    root = cache_folder(settings)
    mode = _mode_that_fits(settings, root, pictures, keys)
    if mode is None:
        return DecodingSource(pictures)
    folder = geometry_folder(root, preprocess, mode)
    segments = _complete(folder, pictures, shas, keys, mode=mode, threads=workers)
    source = RawSource if mode == "raw" else JpegSource
    return source(segments, keys, preprocess.size)


def cache_folder(settings: CacheSettings) -> Path:
    """Where caches live: the setting, else SHOPSIGHT_CACHE, else ~/.cache/shopsight."""
    told = settings.folder or os.environ.get("SHOPSIGHT_CACHE")
    return Path(told).expanduser() if told else Path.home() / ".cache" / "shopsight"


def geometry_folder(root: Path, preprocess: Preprocess, mode: CacheMode) -> Path:
    """The folder for pictures of this geometry; mean and std do not enter it."""
    key = sha256(_geometry(preprocess, mode).encode()).hexdigest()[:12]
    return root / "pixels" / f"{preprocess.size}px-{mode}-{key}"


def picture_keys(
    sha256s: Sequence[str], boxes: Float64[np.ndarray, "n 4"] | None
) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    """16 bytes for each picture, from its file's hash and its box."""
    plain = [bytes.fromhex(sha) for sha in sha256s]
    if boxes is not None:
        boxed = ~np.isnan(boxes).any(axis=1)
        plain = [
            sha256(key + box.tobytes()).digest() if cut else key
            for key, box, cut in zip(plain, boxes, boxed, strict=True)
        ]
    return np.array([key[:16] for key in plain], dtype="S16")


def _geometry(preprocess: Preprocess, mode: CacheMode) -> str:
    pixels = preprocess.model_dump_json(exclude={"mean", "std"})
    encoding = f"jpeg {JPEG_QUALITY}" if mode == "jpeg" else "raw"
    return f"{CACHE_VERSION} {CANVAS_VERSION} {encoding} {pixels}"


def _mode_that_fits(
    settings: CacheSettings, root: Path, pictures: Pictures, keys: np.ndarray
) -> CacheMode | None:
    """The mode to use, None when nothing fits; says what it takes and why."""
    free = free_bytes(root)
    asked: tuple[CacheMode, ...] = ("raw", "jpeg")
    if settings.mode in asked:
        asked = (settings.mode,)
    for mode in asked:
        each = pictures.raw_bytes * (1 if mode == "raw" else JPEG_SHARE_OF_RAW)
        folder = geometry_folder(root, pictures.preprocess, mode)
        distinct = np.unique(keys)
        missing = int((Segments.read(folder).find(distinct)[0] < 0).sum())
        needed = missing * each
        share = FREE_SHARE_FOR_RAW if settings.mode == "auto" and mode == "raw" else 0.95
        if missing and needed > share * free:
            continue
        say(
            f"Cache: {len(distinct):,} pictures at {pictures.preprocess.size} px, "
            f"{human_bytes(len(distinct) * each)} {mode}, {missing:,} of them to decode "
            f"({human_bytes(needed)}; {human_bytes(free)} free) in {folder}"
        )
        return mode
    short = (
        f"a cache of {len(keys):,} pictures at {pictures.preprocess.size} px does not fit: "
        f"{human_bytes(free)} are free in {root}"
    )
    if settings.mode != "auto":
        raise ConfigError(
            short, where="cache.mode", fix="--set cache.folder=FOLDER on a larger disk, or auto"
        )
    say(f"Cache: off, because {short}")
    return None


def _complete(
    folder: Path,
    pictures: Pictures,
    shas: Sequence[str],
    keys: np.ndarray,
    *,
    mode: CacheMode,
    threads: int,
) -> Segments:
    """All segments of the folder, after the missing pictures were added."""
    segments = Segments.read(folder)
    if not len(_missing(segments, keys)):
        return segments
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "about.json"
    if not about.exists():
        write_json(about, {"geometry": _geometry(pictures.preprocess, mode)})
    # The lock only saves double work, for instance by the processes of a distributed run:
    # segments are safe without it, on file systems where locks do nothing.
    with _only_builder(folder):
        missing = _missing(Segments.read(folder), keys)
        if len(missing):
            _decode_into(folder, pictures, shas, keys, missing, mode=mode, threads=threads)
    return Segments.read(folder)


def _missing(segments: Segments, keys: np.ndarray) -> Int64[np.ndarray, "m"]:
    """The first row of each distinct picture that no segment holds."""
    _, first = np.unique(keys, return_index=True)
    first = np.sort(first)
    return first[segments.find(keys[first])[0] < 0]


def _decode_into(
    folder: Path,
    pictures: Pictures,
    shas: Sequence[str],
    keys: np.ndarray,
    rows: Int64[np.ndarray, "m"],
    *,
    mode: CacheMode,
    threads: int,
) -> None:
    def blob(row: int) -> bytes:
        pixels = pictures.make(row, sha=shas[row])
        if mode == "raw":
            return pixels.tobytes()
        return simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, colorsubsampling="444")

    with (
        SegmentWriter(folder) as writer,
        ThreadPoolExecutor(threads, thread_name_prefix="shopsight-decode") as pool,
        task("Decoding", total=len(rows)) as advance,
    ):
        for start in range(0, len(rows), BLOCK_IMAGES):
            block = rows[start : start + BLOCK_IMAGES].tolist()
            for row, pixels in zip(block, pool.map(blob, block), strict=True):
                writer.add(keys[row].ljust(16, b"\0"), pixels)
                advance(1)


def _hashes(refs: Sequence[str], threads: int) -> list[str]:
    def digest(ref: str) -> str:
        return sha256(read_bytes(ref)).hexdigest()

    with (
        ThreadPoolExecutor(threads, thread_name_prefix="shopsight-hash") as pool,
        task("Hashing", total=len(refs)) as advance,
    ):
        hashes = []
        for value in pool.map(digest, refs):
            hashes.append(value)
            advance(1)
        return hashes


@contextmanager
def _only_builder(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "build.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Cache: waiting for another process that is filling {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
