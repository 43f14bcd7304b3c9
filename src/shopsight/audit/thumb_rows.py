"""Thumbnails of many files as one array: in memory, or above a size in a file that is mapped."""

from __future__ import annotations

import tempfile
from contextlib import suppress

import numpy as np
from jaxtyping import UInt8

from shopsight.images.thumbnails import THUMB_BYTES
from shopsight.memory import memory_budget_bytes

_MAPPED_SHARE = 0.1
"""Of the memory budget: what takes more is mapped."""
_BLOCK_ROWS = 65_536


def empty_thumbs(count: int) -> UInt8[np.ndarray, "n t"]:
    """Zeros for so many thumbnails.

    Above a tenth of the memory budget they are in a file without a name, which vanishes with the
    array: the system drops what it needs the memory for, and reads it again. Where no such file
    can be written they are in memory.
    """
    shape = (count, THUMB_BYTES)
    if count * THUMB_BYTES > _MAPPED_SHARE * memory_budget_bytes():
        with suppress(OSError), tempfile.TemporaryFile(prefix="shopsight-thumbs-") as file:
            # Written, not left as a hole: a full disk is an error here, and a crash in a mapping.
            blank = bytes(_BLOCK_ROWS * THUMB_BYTES)
            for start in range(0, count, _BLOCK_ROWS):
                file.write(blank[: min(_BLOCK_ROWS, count - start) * THUMB_BYTES])
            file.flush()
            return np.memmap(file, np.uint8, "r+", shape=shape)
    return np.zeros(shape, np.uint8)
