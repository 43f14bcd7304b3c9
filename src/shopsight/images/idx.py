"""IDX containers (the format of MNIST and Fashion-MNIST): one file, many small raw images.

An image inside one has a path such as `train-images-idx3-ubyte.gz#17`, and is read as a binary PGM
or PPM file. No other module needs to know about containers.

Source: "The IDX file format" in Y. LeCun, C. Cortes, C. Burges, "The MNIST database".
"""

from __future__ import annotations

import math
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from shopsight.errors import ArchiveError, ImageError, LocationError
from shopsight.io.compressed import gunzip
from shopsight.io.confinement import place_of
from shopsight.io.local_files import read_file
from shopsight.memory import memory_budget_bytes
from shopsight.paths import full

IDX_BYTES = 8 << 30
"""The most that a file of images may have, unpacked; half of the memory at most."""

_MEMBER = re.compile(r"(?P<container>.*(?:ubyte|\.idx[134]?)(?:\.gz)?)#(?P<index>\d+)\Z", re.DOTALL)
_UNSIGNED_BYTE = 0x08
_MOST_DIMENSIONS = 4
# Images and labels, for training and for testing: 55 MB for Fashion-MNIST.
_KEPT_CONTAINERS = 4

_kept: OrderedDict[tuple[str, int, int], UInt8[np.ndarray, "..."]] = OrderedDict()
_lock = threading.Lock()


def idx_member(ref: str) -> tuple[str, int] | None:
    """Split a member's path into container and index; None when `ref` is an ordinary path."""
    found = _MEMBER.match(ref) if "#" in ref else None
    return (found["container"], int(found["index"])) if found else None


def read_idx(path: Path | str) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    Args:
        path: the file; gzipped when its suffix is .gz.

    Returns:
        All values, in the file's own shape.

    Raises:
        ImageError: the file is missing, cut off, or not IDX of unsigned bytes.
    """
    path = Path(path)
    data = _bytes_of(path)
    if len(data) < 4 or data[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        raise ImageError("not an image", "not an IDX file of unsigned bytes", where=str(path))
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    if not 0 < len(shape) <= _MOST_DIMENSIONS or (len(shape) > 1 and 0 in shape[1:]):
        raise ImageError("not an image", f"IDX of the shape {shape}", where=str(path))
    size = math.prod(shape)
    missing = size - (len(data) - start)
    if missing > 0:
        raise ImageError("truncated", f"{missing} bytes are missing at the end", where=str(path))
    return np.frombuffer(data, np.uint8, count=size, offset=start).reshape(shape)


def idx_length(path: Path | str) -> int:
    """Number of items in an IDX file, all of whose bytes are there.

    Raises:
        ImageError: as `read_idx`.
    """
    return len(_container(full(str(path)), None))


def _bytes_of(path: Path) -> bytes:
    most_bytes = min(IDX_BYTES, memory_budget_bytes() // 2)
    try:
        data = read_file(path, most_bytes=most_bytes)
        return gunzip(data, most_bytes=most_bytes) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise ImageError("missing", "no such file", where=str(path)) from None
    except LocationError as error:
        raise ImageError(error.reason, error.what, where=str(path)) from error
    except ArchiveError as error:
        reason = "truncated" if error.reason == "damaged" else error.reason
        raise ImageError(reason, error.what, where=str(path)) from error
    except OSError as error:
        raise ImageError("unreadable", error.strerror or str(error), where=str(path)) from error


def read_member(container: str, index: int, roots: Sequence[str] | None = None) -> bytes:
    """Read one image of an IDX container.

    Args:
        container: path of the IDX file.
        index: of the image, from 0.
        roots: `Access.roots`.

    Returns:
        A binary PGM file from a container of shape (n, h, w), a PPM file from (n, h, w, 3).

    Raises:
        ImageError: the container cannot be read, or has no such image.
    """
    pixels = _container(container, roots)
    where = f"{container}#{index}"
    if pixels.ndim not in {3, 4} or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise ImageError(
            "not an image", f"IDX of shape {pixels.shape} holds no images", where=where
        )
    if index >= len(pixels):
        raise ImageError("missing", f"the container holds {len(pixels)} images", where=where)
    kind = b"P5" if pixels.ndim == 3 else b"P6"
    height, width = pixels.shape[1:3]
    raw: bytes = pixels[index].tobytes()
    return b"%s %d %d 255\n" % (kind, width, height) + raw


def _container(path: str, roots: Sequence[str] | None) -> UInt8[np.ndarray, "..."]:
    """Read a container's pixels, once per process and version of the file."""
    try:
        place = place_of(path, roots)
        stat = Path(place).stat()
    except LocationError as error:
        raise ImageError(error.reason, error.what, where=path, fix=error.fix) from None
    except (OSError, ValueError):
        raise ImageError("missing", "no such file", where=path) from None
    key = (place, stat.st_size, stat.st_mtime_ns)
    with _lock:
        if key not in _kept:
            _kept[key] = read_idx(place)
            while len(_kept) > _KEPT_CONTAINERS:
                _kept.popitem(last=False)
        return _kept[key]
