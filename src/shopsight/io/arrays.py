"""NumPy's `.npz` files from elsewhere, of numbers only.

`np.load` allocates what an array's header says, however few bytes follow, and unpacks what the
archive holds, however much it is: 4 MB become 8 GB. Here every size is compared before anything is
allocated.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from shopsight.errors import ArchiveError, first_line
from shopsight.io.local_files import read_file

MOST_ARRAYS = 10_000
"""In one file."""
_KINDS = "biuf"
# Of a header, which NumPy parses as a Python literal; its own limit.
_HEADER_BYTES = 10_000
_ENTRY_MARK = b"PK\x01\x02"


def read_arrays(path: Path | str, *, most_bytes: int) -> dict[str, np.ndarray]:
    """Read all arrays of an `.npz` file.

    Args:
        path: the file.
        most_bytes: the file may have, and so may all its arrays together.

    Returns:
        Each array by its name, without `.npy`; their values cannot be changed.

    Raises:
        OSError: the file cannot be read.
        LocationError: it has more than `most_bytes`.
        ArchiveError: "damaged", "too large" (with the arrays unpacked), or "not allowed": an array
            of something else than booleans, integers and floats.
    """
    data = read_file(path, most_bytes=most_bytes)
    where = str(path)
    # At least as many as there are: each entry is an object of a kilobyte to zipfile.
    if data.count(_ENTRY_MARK) > MOST_ARRAYS:
        raise ArchiveError("too large", f"it holds more than {MOST_ARRAYS:,} arrays", where=where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive, most_bytes, where)
            return {
                member.filename.removesuffix(".npy"): _array(archive, member, where)
                for member in archive.infolist()
            }
    # Encrypted members are a RuntimeError, odd compression is a NotImplementedError.
    except (
        zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, OSError, OverflowError,
    ) as error:  # fmt: skip
        what = f"no file of arrays, or a damaged one: {first_line(error)}"
        raise ArchiveError("damaged", what, where=where) from error


def _check_members(archive: zipfile.ZipFile, most_bytes: int, where: str) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ArchiveError("damaged", "two arrays have one name", where=where)
    size = sum(member.file_size for member in members)
    if size > most_bytes:
        what = f"its arrays would have {size:,} bytes; {most_bytes:,} may be read"
        raise ArchiveError("too large", what, where=where)
    for member in members:
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ArchiveError(
                "not allowed", f"{member.filename} is packed in an unknown way", where=where
            )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> np.ndarray:
    """One array; what follows its header is as long as the header says."""
    content = io.BytesIO(archive.read(member))
    shape, fortran_order, dtype = _read_header(content)
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise ArchiveError(
            "not allowed", f"{member.filename} holds {dtype}, no numbers", where=where
        )
    count, start = math.prod(shape), content.tell()
    size = len(content.getbuffer()) - start
    if min(shape, default=0) < 0 or count * dtype.itemsize != size:
        what = f"{member.filename} has the shape {shape} of {dtype}, and {size:,} bytes"
        raise ArchiveError("damaged", what, where=where)
    values = np.frombuffer(content.getvalue(), dtype, count=count, offset=start)
    return values.reshape(shape, order="F" if fortran_order else "C")


def _read_header(content: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(content)
    if version == (1, 0):
        return npy.read_array_header_1_0(content, max_header_size=_HEADER_BYTES)
    if version == (2, 0):
        return npy.read_array_header_2_0(content, max_header_size=_HEADER_BYTES)
    # Version 3 is for names of fields that are not Latin 1.
    raise ValueError(f"version {version} of the format of arrays")
