"""Structs of Thrift's compact protocol, whole ones and such as never end."""

from __future__ import annotations

import pytest

from shopsight.io.thrift import ThriftReader


def struct(data: bytes) -> dict[int, object]:
    return ThriftReader(data, 0, len(data)).struct()


def test_values_by_the_numbers_of_their_fields() -> None:
    # 1: 150 (i32), 2: True, 4: "ab", 5: a struct of 1: -1 (i64), 25: [1, 2] (i32), 26: 2.5
    data = b"\x15\xac\x02\x11\x28\x02ab\x1c\x16\x01\x00\x09\x32\x25\x02\x04\x17" + b"\0" * 8 + b"\0"
    read = struct(data)
    assert read == {1: 150, 2: True, 4: None, 5: {1: -1}, 25: [1, 2], 26: None}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends early"),
        (b"\x15", "ends early"),
        (b"\x1c" * 1000, "nested"),
        (b"\x19" * 5000, "nested"),
        (b"\x1b" + b"\x01\xbb" * 5000, "nested"),
        (b"\x15" + b"\xff" * 1000, "without an end"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "longer than the bytes"),
        (b"\x18\xff\xff\xff\x7f", "ends early"),
        (b"\x1b\xff\xff\x7f\x55", "longer than the bytes"),
        (b"\x1f", "of kind 15"),
    ],
)
def test_what_has_no_end_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        struct(data)
