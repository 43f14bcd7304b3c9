"""The epoch cache: every image decoded once, to the square that the network sees.

One folder holds the images of one geometry (size, resize, pad color, ...), whatever catalog
they come from: an image is found by the hash of its file's bytes and its box. So folds, subsets,
other orders and other label columns share it, and a file that changed is another image.

The pixels are in a blob store, see `shopsight.loading.blob_store`. A build that was interrupted
leaves what it decoded, and the next one decodes the rest; builds side by side cannot harm each
other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import simplejpeg
from jaxtyping import Float64, Int64, UInt8

from shopsight.cache_place import UNTRUSTED, cache_folder, one_after_another, unless_unwritable
from shopsight.catalog.catalog import Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.errors import ConfigError, ImageError
from shopsight.files import make_folder, write_json
from shopsight.held_files import free_bytes
from shopsight.images.decode import Header, header, read_bytes
from shopsight.loading.blob_store import KEY_BYTES, BlobStore, BlobWriter, Keys
from shopsight.loading.pixel_sources import DecodingSource, ImageSet, JpegSource, RawSource
from shopsight.paths import is_url
from shopsight.prefetch import core_count, prefetch
from shopsight.preprocess import PREPROCESS_VERSION, Preprocess
from shopsight.progress import notify, task
from shopsight.text import human_bytes

CacheMode = Literal["raw", "jpeg"]
Item = TypeVar("Item")
Made = TypeVar("Made")
CACHE_VERSION = 2
JPEG_QUALITY = 95
# Product photos take a seventh of the pixels at this quality without chroma subsampling.
JPEG_BY_RAW = 1 / 6
# A file of 2 kB is decoded to 256 px in the time in which that square is read from a disk.
SMALL_FILE_BY_RAW = 1 / 50
# Images of a quarter of the square's pixels or fewer: a cache would hold what was made up between
# them, and decoding so few costs less than the enlarging does.
FEW_PIXELS_BY_RAW = 1 / 4
SIZES_LOOKED_AT, HEADERS_LOOKED_AT = 1_000, 100
FREE_FRACTION_FOR_RAW, FREE_FRACTION_AT_MOST = 0.5, 0.95
# Images handed to a thread at once: many small ones, because handing over costs as much as
# decoding 28 px; few large ones, which bounds the memory of a build.
CHUNK_IMAGES, CHUNK_BYTES = 64, 4_000_000


@runtime_checkable
class PixelSource(Protocol):
    """Where square images come from. `gather` may be called from many threads."""

    @property
    def size_px(self) -> int:
        """Side of the squares."""

    @property
    def mode(self) -> Literal["raw", "jpeg", "off"]:
        """How the images are kept."""

    def __len__(self) -> int: ...

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        """Return the images of these rows."""


def pixel_kind(source: PixelSource) -> CacheMode:
    """What the squares hold: "raw" what was decoded, "jpeg" what compression made of it."""
    return "jpeg" if source.mode == "jpeg" else "raw"


def open_cache(
    catalog: Catalog,
    preprocess: Preprocess,
    *,
    settings: CacheSettings,
    sha256s: Sequence[str] | None = None,
    threads: int | None = None,
) -> PixelSource:
    """Open the square images of a catalog; decode those that the cache lacks.

    Args:
        catalog: The files, and boxes where `preprocess` looks at them.
        preprocess: The square that they become.
        settings: Where the squares are kept, and in which form.
        sha256s: Hash of each file's bytes, as hex (the audit has them); None: computed here.
        threads: Number of threads that decode; None: one per core.

    Raises:
        ImageError: A file that cannot be decoded, by name.
        ConfigError: `settings.mode` is "raw" or "jpeg" and does not fit on the disk.
    """
    boxes = catalog.boxes() if preprocess.boxes else None
    images = ImageSet(catalog.refs(), boxes, preprocess, catalog.access)
    if settings.mode == "off":
        return DecodingSource(images, sha256s)
    if settings.mode == "auto" and (why := _why_no_cache(images)):
        notify(f"Cache: none, as {why}")
        return DecodingSource(images, sha256s)
    workers = threads or core_count()
    shas = _hashes(images, workers) if sha256s is None else list(sha256s)
    assert len(shas) == len(images.refs), "one hash for each row"
    keys = image_keys(shas, images.boxes)
    root = cache_folder()
    if root == UNTRUSTED:
        return DecodingSource(images, shas)
    mode = _mode_that_fits(settings, root, images, keys)
    if mode is None:
        return DecodingSource(images, shas)
    folder = geometry_folder(root, preprocess, mode)
    with unless_unwritable(root):
        _complete(folder, images, shas, keys, mode=mode, threads=workers)
    store = BlobStore.read(folder)
    if len(_missing(store, keys)):
        return DecodingSource(images)
    source = RawSource if mode == "raw" else JpegSource
    return source(store, keys, preprocess.size_px)


def geometry_folder(root: Path, preprocess: Preprocess, mode: CacheMode) -> Path:
    """Return the folder for images of this geometry, whatever the network makes of them."""
    key = sha256(_geometry(preprocess, mode).encode()).hexdigest()[:12]
    return root / "pixels" / f"{preprocess.size_px}px-{mode}-{key}"


def image_keys(sha256s: Sequence[str], boxes: Float64[np.ndarray, "n 4"] | None) -> Keys:
    """Return 16 bytes for each image, from its file's hash and its box."""
    plain = [bytes.fromhex(sha) for sha in sha256s]
    if boxes is not None:
        boxed = ~np.isnan(boxes).any(axis=1)
        plain = [
            sha256(key + box.tobytes()).digest() if cut else key
            for key, box, cut in zip(plain, boxes, boxed, strict=True)
        ]
    return np.array([key[:16] for key in plain], dtype="S16")


def _geometry(preprocess: Preprocess, mode: CacheMode) -> str:
    pixels = preprocess.model_dump_json(exclude={"mean", "std", "average"})
    encoding = f"jpeg {JPEG_QUALITY}" if mode == "jpeg" else "raw"
    return f"{CACHE_VERSION} {PREPROCESS_VERSION} {encoding} {pixels}"


def _mode_that_fits(
    settings: CacheSettings, root: Path, images: ImageSet, keys: Keys
) -> CacheMode | None:
    """Return the mode to use, None when nothing fits; notify what it takes."""
    free = free_bytes(root)
    asked: tuple[CacheMode, ...] = ("raw", "jpeg")
    if settings.mode in asked:
        asked = (settings.mode,)
    for mode in asked:
        each = images.raw_bytes * (1 if mode == "raw" else JPEG_BY_RAW)
        folder = geometry_folder(root, images.preprocess, mode)
        distinct = np.unique(keys)
        missing = int((BlobStore.read(folder).find(distinct)[0] < 0).sum())
        needed = missing * each
        cautious = settings.mode == "auto" and mode == "raw"
        allowed = free * (FREE_FRACTION_FOR_RAW if cautious else FREE_FRACTION_AT_MOST)
        if missing and needed > allowed:
            continue
        room = f"; {human_bytes(needed)} of the {human_bytes(free)} that are free"
        notify(
            f"Cache: {len(distinct):,} images at {images.preprocess.size_px} px, "
            f"{human_bytes(len(distinct) * each)} {mode}, {missing:,} to decode"
            f"{room if missing else ''}; in {folder}"
        )
        return mode
    short = (
        f"a cache of {len(keys):,} images at {images.preprocess.size_px} px does not fit: "
        f"{human_bytes(free)} are free in {root}"
    )
    if settings.mode != "auto":
        raise ConfigError(
            short, where="cache.mode", fix="--cache-dir FOLDER on a larger disk, or auto"
        )
    notify(f"Cache: off, because {short}")
    return None


def _why_no_cache(images: ImageSet) -> str:
    """Why a cache would only take room; empty where it saves time."""
    refs = images.refs[:: max(1, len(images.refs) // SIZES_LOOKED_AT)]
    if not refs or any(map(is_url, refs)):
        return ""
    try:
        mean = sum(Path(ref).stat().st_size for ref in refs) // len(refs)
        if mean <= images.raw_bytes * SMALL_FILE_BY_RAW:
            return f"files of {human_bytes(mean)} are decoded as fast as read"
        if mean > images.raw_bytes:
            return ""
        few = refs[:: max(1, len(refs) // HEADERS_LOOKED_AT)]
        known = [header(read_bytes(ref, images.access), where=ref) for ref in few]
    except (OSError, ImageError):
        # An image within a file of many, or one that is gone: that is said when it is read.
        return ""
    pixels = sum(3 * one.width * one.height for one in known) // len(known)
    if pixels > images.raw_bytes * FEW_PIXELS_BY_RAW:
        return ""
    width, height = (sum(sides) // len(known) for sides in zip(*map(_sides, known), strict=True))
    return f"images of {width} x {height} px hold a fraction of the pixels that it would keep"


def _sides(one: Header) -> tuple[int, int]:
    return one.width, one.height


def _complete(
    folder: Path,
    images: ImageSet,
    shas: Sequence[str],
    keys: Keys,
    *,
    mode: CacheMode,
    threads: int,
) -> None:
    """Add the images that the folder's store lacks."""
    if not len(_missing(BlobStore.read(folder), keys)):
        return
    make_folder(folder)
    about = folder / "about.json"
    if not about.exists():
        write_json(about, {"geometry": _geometry(images.preprocess, mode)})
    # The lock only saves double work, for instance by the processes of a distributed run:
    # the store is safe without it.
    with _only_builder(folder):
        missing = _missing(BlobStore.read(folder), keys)
        if len(missing):
            _decode_into(folder, images, shas, keys, missing, mode=mode, threads=threads)


def _missing(store: BlobStore, keys: Keys) -> Int64[np.ndarray, "m"]:
    """Return the first row of each distinct image that the store lacks."""
    _, first = np.unique(keys, return_index=True)
    first = np.sort(first)
    return first[store.find(keys[first])[0] < 0]


def _decode_into(
    folder: Path,
    images: ImageSet,
    shas: Sequence[str],
    keys: Keys,
    rows: Int64[np.ndarray, "m"],
    *,
    mode: CacheMode,
    threads: int,
) -> None:
    def encoded(row: int) -> bytes:
        pixels = images.make(row, sha=shas[row])
        if mode == "raw":
            return pixels.tobytes()
        jpeg: bytes = simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, colorsubsampling="444")
        return jpeg

    chunk = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // images.raw_bytes))
    with BlobWriter(folder) as writer, task("Decoding", total=len(rows)) as advance:
        blobs = _by_threads(encoded, rows.tolist(), chunk=chunk, threads=threads)
        for row, blob in zip(rows.tolist(), blobs, strict=True):
            writer.add(keys[row].ljust(KEY_BYTES, b"\0"), blob)
            advance(1)


def _hashes(images: ImageSet, threads: int) -> list[str]:
    def digest(ref: str) -> str:
        return sha256(read_bytes(ref, images.access)).hexdigest()

    with task("Hashing", total=len(images.refs)) as advance:
        hashes = []
        for digested in _by_threads(digest, images.refs, chunk=CHUNK_IMAGES, threads=threads):
            hashes.append(digested)
            advance(1)
        return hashes


def _by_threads(
    work: Callable[[Item], Made], items: Sequence[Item], *, chunk: int, threads: int
) -> Iterator[Made]:
    """Yield work(item) for each item, in order, in constant memory."""

    def make(number: int) -> list[Made]:
        return [work(item) for item in items[number * chunk : (number + 1) * chunk]]

    for made in prefetch(make, range(math.ceil(len(items) / chunk)), threads=threads):
        yield from made


def _only_builder(folder: Path) -> AbstractContextManager[None]:
    return one_after_another(
        folder / "build.lock",
        waiting=f"Cache: waiting for another process that is filling {folder}",
        without=f"Cache: no locks on this file system; processes may decode twice in {folder}",
    )
