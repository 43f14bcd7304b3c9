"""Values of more than 8 bits, and floats, to the levels 0 to 255.

A file says how its values are stored, not which of them is white: 32-bit integers and floats come
from programs that measure or compute. Values within 0 to 1 are taken as fractions of white, those
within 0 to 255 as levels, integers within 0 to 65535 as levels of 16 bits. Anything else is refused
with its range: a scale that is guessed makes the same product dark in one file and bright in
another.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Num, UInt8

from shopsight.errors import ImageError

_WHITE_8, _WHITE_16 = 255, 65535
# Values that are scaled at a time: in between they have 64 bits.
_STRIP_VALUES = 1 << 19


def from_bits(values: Num[np.ndarray, "..."], bits: int) -> UInt8[np.ndarray, "..."]:
    """Scale unsigned integers, of which 2**bits - 1 is white; larger ones count as white."""
    white = 2**bits - 1
    levels = np.empty(values.shape, np.uint8)
    for rows in _strips(values):
        known = np.clip(values[rows].astype(np.int64), 0, white)
        levels[rows] = (known * _WHITE_8 + white // 2) // white
    return levels


def from_any(values: Num[np.ndarray, "..."], *, where: str | None) -> UInt8[np.ndarray, "..."]:
    """Scale integers of 32 bits or floats by their range, as the module says.

    Args:
        values: of any shape, not empty.
        where: the file's name, for the error.

    Raises:
        ImageError: "unsupported": values outside the ranges, or that are no numbers.
    """
    is_float = values.dtype.kind == "f"
    strips = _strips(values) if is_float else ()
    bad = sum(int(np.count_nonzero(~np.isfinite(values[rows]))) for rows in strips)
    if bad:
        raise ImageError(
            "unsupported", f"{bad:,} of {values.size:,} values are NaN or infinite", where=where
        )
    low, high = values.min(), values.max()
    if low >= 0 and is_float and high <= 1:
        return _rounded(values, _WHITE_8)
    if low >= 0 and high <= _WHITE_8:
        return _rounded(values, 1)
    if low >= 0 and high <= _WHITE_16 and not is_float:
        return from_bits(values, 16)
    known = "0 to 1, or 0 to 255" if is_float else "0 to 255, or 0 to 65535"
    span = f"{low:g} to {high:g}" if is_float else f"{low:,} to {high:,}"
    raise ImageError(
        "unsupported",
        f"values of {span}, of which none is known to be white (known: {known}); "
        "scale them and save 8 bits per channel",
        where=where,
    )


def _rounded(values: Num[np.ndarray, "..."], factor: int) -> UInt8[np.ndarray, "..."]:
    levels = np.empty(values.shape, np.uint8)
    for rows in _strips(values):
        levels[rows] = np.rint(values[rows] * factor)
    return levels


def _strips(values: Num[np.ndarray, "..."]) -> Iterator[slice]:
    """Runs of rows, which together are all, each of about `_STRIP_VALUES` or one row."""
    rows = max(1, _STRIP_VALUES * len(values) // max(1, values.size))
    return (slice(top, top + rows) for top in range(0, len(values), rows))
