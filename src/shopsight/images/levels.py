"""Values of more than 8 bits, and floats, to the levels 0 to 255.

A file says how its values are stored, not which of them is white: 32-bit integers and floats come
from programs that measure or compute. Values within 0 to 1 are taken as fractions of white, those
within 0 to 255 as levels, integers within 0 to 65535 as levels of 16 bits. Anything else is refused
with its range: a scale that is guessed makes the same product dark in one file and bright in
another.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num, UInt8

from shopsight.errors import ImageError

_WHITE_8, _WHITE_16 = 255, 65535


def from_bits(values: Num[np.ndarray, "..."], bits: int) -> UInt8[np.ndarray, "..."]:
    """Scale unsigned integers, of which 2**bits - 1 is white; larger ones count as white."""
    white = 2**bits - 1
    known = np.clip(values.astype(np.int64), 0, white)
    return np.asarray((known * _WHITE_8 + white // 2) // white, np.uint8)


def from_any(values: Num[np.ndarray, "..."], *, where: str | None) -> UInt8[np.ndarray, "..."]:
    """Scale integers of 32 bits or floats by their range, as the module says.

    Args:
        values: of any shape.
        where: the file's name, for the error.

    Raises:
        ImageError: "unsupported": values outside the ranges, or that are no numbers.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise ImageError(
            "unsupported", f"{bad:,} of {values.size:,} values are NaN or infinite", where=where
        )
    low, high = values.min(), values.max()
    if low >= 0 and values.dtype.kind == "f" and high <= 1:
        return np.asarray(np.rint(values * _WHITE_8), np.uint8)
    if low >= 0 and high <= _WHITE_8:
        return np.asarray(np.rint(values), np.uint8)
    if low >= 0 and high <= _WHITE_16 and values.dtype.kind != "f":
        return from_bits(values, 16)
    known = "0 to 1, or 0 to 255" if values.dtype.kind == "f" else "0 to 255, or 0 to 65535"
    span = f"{low:g} to {high:g}" if values.dtype.kind == "f" else f"{low:,} to {high:,}"
    raise ImageError(
        "unsupported",
        f"values of {span}, of which none is known to be white (known: {known}); "
        "scale them and save 8 bits per channel",
        where=where,
    )
