"""What a safetensors file says that it holds, compared with its size before anything is read.

The format: eight bytes with the length of a JSON header, the header (name to type, shape and place
of each tensor), and the numbers, without a gap.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.errors import WeightsError, first_line
from shopsight.io.json_files import parse_json
from shopsight.io.local_files import open_file
from shopsight.memory import memory_budget_bytes
from shopsight.text import human_bytes

HEADER_BYTES = 16 << 20
"""The most that a header may have; that of a network of ten thousand tensors has one megabyte."""

BYTES_OF = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2,
    "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of a number of each type."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        kind: its type, a key of `BYTES_OF`.
        shape: its sizes.
    """

    kind: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes in the file, and in memory."""
        return math.prod(self.shape) * BYTES_OF[self.kind]


def read_tensor_header(path: Path | str) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, in the order of their places.

    Raises:
        WeightsError: it is none, or its header says more or less than the file has.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise _damaged(path, f"its header would have {length:,} of {size:,} bytes")
            if length > HEADER_BYTES:
                raise _damaged(path, f"its header has {length:,} bytes, more than {HEADER_BYTES:,}")
            header = parse_json(file.read(length))
        return _checked(header, size - 8 - length, path)
    except OSError as error:
        raise WeightsError(
            f"cannot be read: {error.strerror or first_line(error)}", where=str(path)
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"its header cannot be read ({first_line(error)})") from error


def check_fits_in_memory(stored: Mapping[str, StoredTensor], path: Path | str) -> None:
    """Refuse a file whose tensors take more memory than the work may take.

    Raises:
        WeightsError: they do.
    """
    size, most = sum(tensor.num_bytes for tensor in stored.values()), memory_budget_bytes()
    if size > most:
        raise WeightsError(
            f"has {human_bytes(size)} of tensors; {human_bytes(most)} of memory may be taken",
            where=str(path),
            fix="open it where there is more memory",
        )


def _checked(header: Any, num_bytes: int, path: Path | str) -> dict[str, StoredTensor]:
    if not isinstance(header, dict):
        raise _damaged(path, "its header holds no names")
    header.pop("__metadata__", None)
    places: dict[str, tuple[int, int]] = {}
    tensors: dict[str, StoredTensor] = {}
    for name, said in header.items():
        tensors[name] = tensor = _stored(said)
        begin, end = map(int, said["data_offsets"])
        if end - begin != tensor.num_bytes:
            raise _damaged(
                path,
                f"{name[:80]} has {end - begin:,} bytes in the file, and {tensor.num_bytes:,} by "
                f"its shape {list(tensor.shape)[:6]} of {tensor.kind}",
            )
        places[name] = begin, end
    order = sorted(tensors, key=places.__getitem__)
    ends = [0, *(places[name][1] for name in order)]
    if [places[name][0] for name in order] != ends[:-1] or ends[-1] != num_bytes:
        raise _damaged(path, f"its tensors are not the {num_bytes:,} bytes behind its header")
    return {name: tensors[name] for name in order}


def _stored(said: Mapping[str, Any]) -> StoredTensor:
    kind, shape = said["dtype"], said["shape"]
    if kind not in BYTES_OF:
        raise ValueError(f"a tensor of type {str(kind)[:20]!r}")
    if not isinstance(shape, list) or not all(type(one) is int and one >= 0 for one in shape):
        raise ValueError(f"a tensor of shape {str(shape)[:60]}")
    return StoredTensor(kind, tuple(shape))


def _damaged(path: Path | str, why: str) -> WeightsError:
    return WeightsError(
        f"is no safetensors file, or a damaged one: {why}",
        where=str(path),
        fix="copy it again from where it was made",
    )
