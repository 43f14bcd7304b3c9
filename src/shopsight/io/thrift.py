"""Thrift's compact protocol, in which Parquet writes what its files hold: values by field number.

Source: "Thrift Compact protocol encoding", apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

import mmap
from typing import Any

Fields = dict[int, Any]
"""A struct: its values by the numbers of its fields."""

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = {_I16, _I32, _I64}
_LONGEST_INTEGER = 10
_DEEPEST = 32
_LARGE_LIST = 15


class ThriftReader:
    """Reads structs from bytes that anybody may have written.

    Integers are numbers, structs are `Fields`, lists and sets are lists; texts, floats and maps,
    of which no size follows, are passed over and become None.

    Args:
        data: the bytes.
        place: of the first struct.
        end: where the bytes end for this reader.

    Attributes:
        place: behind what was read.
    """

    def __init__(self, data: bytes | mmap.mmap, place: int, end: int) -> None:
        self.place = place
        self._data = data
        self._end = min(end, len(data))

    def struct(self, depth: int = 0) -> Fields:
        """Read a struct.

        Raises:
            ValueError: it is none, is nested too deeply, or ends behind the end.
        """
        fields: Fields = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            fields[number] = kind == _TRUE if kind <= _FALSE else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        # Of structs, and of lists and maps within one another as well.
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        if kind in _INTEGERS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in {_LIST, _SET}:
            return self._list(depth + 1)
        if kind == _BINARY:
            self._skip(self._varint())
        elif kind == _DOUBLE:
            self._skip(8)
        elif kind in {_BYTE, _TRUE, _FALSE}:
            self._skip(1)
        elif kind == _MAP:
            self._map(depth + 1)
        else:
            raise ValueError(f"a value of kind {kind}")
        return None

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = head >> 4
        if size == _LARGE_LIST:
            size = self._varint()
        self._check_size(size)
        return [self._value(head & 15, depth) for _ in range(size)]

    def _map(self, depth: int) -> None:
        size = self._varint()
        self._check_size(size)
        if size:
            kinds = self._byte()
            for _ in range(size):
                self._value(kinds >> 4, depth)
                self._value(kinds & 15, depth)

    def _check_size(self, size: int) -> None:
        # Each value has a byte or more.
        if size > self._end - self.place:
            raise ValueError(f"a list of {size:,} values is longer than the bytes that follow")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 7 * _LONGEST_INTEGER, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("an integer without an end")

    def _byte(self) -> int:
        if self.place >= self._end:
            raise ValueError("it ends early")
        self.place += 1
        return self._data[self.place - 1]

    def _skip(self, count: int) -> None:
        if count > self._end - self.place:
            raise ValueError("it ends early")
        self.place += count
