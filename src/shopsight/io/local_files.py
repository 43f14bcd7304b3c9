"""Local files: regular ones, below the data's folders, and no larger than may be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from shopsight.errors import LocationError
from shopsight.io.confinement import place_of, place_of_name

_BLOCK_BYTES = 1 << 16
# What opening a link without following it gives, on most systems and on BSD's.
_IS_LINK = {errno.ELOOP, errno.EMLINK}


def read_file(path: Path | str, *, most_bytes: int, roots: Sequence[str] | None = None) -> bytes:
    """Read a whole file.

    Args:
        path: where it is, links followed.
        most_bytes: the file may have.
        roots: `Access.roots`.

    Raises:
        OSError: there is none, it may not be read, or it is a folder, a pipe or a device.
        LocationError: "outside", "too large".
        ValueError: the path has a zero byte.
    """
    with open_file(path, roots) as file:
        return read_all(file, str(path), most_bytes=most_bytes)


def open_file(path: Path | str, roots: Sequence[str] | None = None) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: where it is, links followed.
        roots: `Access.roots`.

    Raises:
        OSError, LocationError, ValueError: as `read_file`.
    """
    if roots is None:
        return open(path, "rb", opener=_open_regular)
    place = place_of_name(str(path), roots)
    if place is not None:
        try:
            return open(place, "rb", opener=_open_no_link)
        except OSError as error:
            if error.errno not in _IS_LINK:
                raise
    # What was judged is what is opened: a link that was put there meanwhile is an error.
    return open(place_of(str(path), roots), "rb", opener=_open_no_link)


def read_all(file: BinaryIO, path: str, *, most_bytes: int) -> bytes:
    """Read an open file to its end.

    Raises:
        LocationError: "too large"; before anything is read, where the system knows its size.
    """
    size = os.fstat(file.fileno()).st_size
    # Never asked for more than the file has: so much memory would be taken before it is read.
    data = b"" if size > most_bytes else file.read(size + 1)
    if size < len(data) <= most_bytes:
        # It grows, or the system does not know its size (/proc).
        blocks, length = [data], len(data)
        while length <= most_bytes and (block := file.read(_BLOCK_BYTES)):
            blocks.append(block)
            length += len(block)
        data = b"".join(blocks)
    if size > most_bytes or len(data) > most_bytes:
        raise LocationError("too large", f"the file has more than {most_bytes:,} bytes", where=path)
    return data


def _open_no_link(path: str, flags: int) -> int:
    return _open_regular(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _open_regular(path: str, flags: int) -> int:
    """Open a file, but no pipe or device, which may have no end or never begin."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "neither a file nor a folder, but a pipe or a device", path)
