"""The bytes of a text table become text: by the encoding that was named, or by the likeliest."""

from __future__ import annotations

import codecs
import difflib
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from encodings.aliases import aliases

import numpy as np

from shopsight.errors import TableError
from shopsight.tables.likely_encoding import ENCODINGS, Reading, likely_readings
from shopsight.text import counted, listed

NAME_IT = "--encoding NAME, such as cp1252, cp1251, shift_jis, gb18030"
TRIED = "tried without --encoding: UTF-8, UTF-16, UTF-32, and the usual encodings of one language"

_MARKS = (
    # UTF-32's mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_BEYOND_ASCII = re.compile(rb"[\x80-\xff][^\n\r,;\t\"]*")
_CELL_END = re.compile(rb"[\n\r,;\t\"]")
_ESCAPED = re.compile("[\udc80-\udcff]")
_LOOKED_AT_BYTES = 65_536
# Two letters in UTF-16; fewer say nothing.
_LEAST_BYTES = 4
_LONGEST_CELL_BYTES = 300
_LONGEST_EXAMPLE = 30


def decode_table(data: bytes, encoding: str | None, where: str) -> tuple[str, list[str]]:
    r"""Decode a text table.

    Bytes of a UTF-8 table that are not UTF-8 become "\udc80" to "\udcff", for the reader of its
    rows to name the lines.

    Args:
        data: the whole table.
        encoding: its encoding; None tells it by the bytes.
        where: the file, for errors.

    Returns:
        The text, without a byte order mark; and a note on what was taken, with an example, unless
        that is UTF-8.

    Raises:
        TableError: the encoding is unknown or does not fit, or none makes text of these bytes.
    """
    decoded = decode_bytes(data, encoding, where)
    return decoded.text, list(decoded.notes)


@dataclass(frozen=True)
class Decoded:
    """The text of a table, and what it takes to write it again.

    Attributes:
        text: without a byte order mark, see `decode_table`.
        encoding: Python's name for how text becomes these bytes; it writes no byte order mark.
        notes: on what was taken.
    """

    text: str
    encoding: str
    notes: tuple[str, ...] = ()


def decode_bytes(data: bytes, encoding: str | None, where: str) -> Decoded:
    """`decode_table`, with the encoding that was taken."""
    if encoding is not None:
        text = _decode_as(encoding, data, where)
        return Decoded(text, _without_mark(codecs.lookup(encoding).name, data))
    unicode = _unicode_by_marks_and_zeros(data)
    if unicode is not None:
        text = _decode_as(unicode, data, where, fix=f"copy or download it again, or {NAME_IT}")
        note = f"the table is {unicode.upper()} text"
        return Decoded(text, _without_mark(unicode, data), (note,))
    data = data.removeprefix(codecs.BOM_UTF8)
    with suppress(UnicodeDecodeError):
        return Decoded(data.decode("utf-8"), "utf-8")
    text = data.decode("utf-8", "surrogateescape")
    broken = sum(1 for _ in _ESCAPED.finditer(text))
    # Two bytes of another encoding are UTF-8 by chance only once in a while.
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if beyond_ascii - broken > broken:
        return Decoded(text, "utf-8")
    return _decode_likeliest(data, where)


def _without_mark(encoding: str, data: bytes) -> str:
    """The encoding that writes the same bytes without a mark at their beginning."""
    if encoding == "utf-8-sig":
        return "utf-8"
    if encoding not in {"utf-16", "utf-32"}:
        return encoding
    # Without a mark Python takes the order of the machine.
    is_big = data.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    is_little = data.startswith(codecs.BOM_UTF16_LE) or sys.byteorder == "little"
    return f"{encoding}-be" if is_big or not is_little else f"{encoding}-le"


def has_escapes(text: str) -> bool:
    """Whether `decode_table` met bytes that are not of the table's encoding."""
    return _ESCAPED.search(text) is not None


def _unicode_by_marks_and_zeros(data: bytes) -> str | None:
    """UTF-16 or UTF-32 by its mark; without one by the zeros of its ASCII: commas, line ends."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    head = np.frombuffer(data[: _LOOKED_AT_BYTES // 2 * 2][: len(data) // 2 * 2], np.uint8)
    if len(head) < _LEAST_BYTES:
        return None
    zeros = [int((head[parity::2] == 0).sum()) for parity in (0, 1)]
    fewer, more = sorted(zeros)
    if more <= len(head) / 20 or fewer * 20 > more:
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _decode_likeliest(data: bytes, where: str) -> Decoded:
    cells = _cells_beyond_ascii(data)
    readings = likely_readings(cells)
    for reading in readings:
        try:
            text = data.decode(reading.encoding)
        except UnicodeDecodeError:
            # A byte further on is none of this encoding.
            continue
        return Decoded(text, reading.encoding, (_about(reading, readings, cells),))
    raise TableError(
        "the encoding of the table is not clear",
        where=where,
        details=[
            *(f"as {ENCODINGS[name]}: {example}" for name, example in _trials(cells)),
            TRIED,
        ],
        fix=NAME_IT,
    )


def _about(taken: Reading, readings: list[Reading], cells: list[bytes]) -> str:
    note = (
        f"the table is not UTF-8: read as {ENCODINGS[taken.encoding]}, "
        f"e.g. {_example(cells, taken.encoding)}"
    )
    rivals = [one.encoding for one in readings if one.is_rival and one.encoding != taken.encoding]
    if rivals:
        others = [f"{name} {_example(cells, name)}" for name in rivals]
        return f"{note} (it could be {listed(others, most=3)}: --encoding NAME)"
    return f"{note} (--encoding NAME reads it otherwise)"


def _trials(cells: list[bytes]) -> list[tuple[str, str]]:
    return [(name, _example(cells, name)) for name in ("cp1252", "cp1251", "gb18030")]


def _example(cells: list[bytes], encoding: str) -> str:
    """The first cell as an encoding reads it."""
    # A cell may have been cut within a character.
    text = cells[0].decode(encoding, "replace").strip() if cells else ""
    short = text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]}..."
    return f"'{short}'"


def _cells_beyond_ascii(data: bytes) -> list[bytes]:
    """Distinct cells with bytes beyond ASCII, from the start of the table on."""
    cells: dict[bytes, None] = {}
    size = end = 0
    for found in _BEYOND_ASCII.finditer(data):
        start = max(end, found.start() - _LONGEST_CELL_BYTES)
        before = _CELL_END.split(data[start : found.start()])[-1]
        end = found.end()
        cell = (before + found[0])[: 2 * _LONGEST_CELL_BYTES]
        if cell not in cells:
            cells[cell] = None
            size += len(cell)
        if size > _LOOKED_AT_BYTES:
            break
    return list(cells)


def _decode_as(
    encoding: str, data: bytes, where: str, *, fix: str = f"leave out --encoding, or {NAME_IT}"
) -> str:
    try:
        codec = codecs.lookup(encoding)
        "a".encode(codec.name)  # Codecs that make no text are refused here.
    except (LookupError, ValueError) as error:
        known = sorted(set(aliases.values()) - {encoding})
        near = difflib.get_close_matches(encoding.replace("-", "_"), known, n=1, cutoff=0.5)
        raise TableError(
            f"{encoding!r} is not a known encoding"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            where=where,
            details=[TRIED],
            fix=NAME_IT,
        ) from error
    try:
        return data.decode(codec.name).removeprefix("\ufeff")
    except UnicodeError as error:
        raise TableError(
            f"the table is not {codec.name} text: {error}",
            where=where,
            details=_line_of(error, data),
            fix=fix,
        ) from error


def _line_of(error: UnicodeError, data: bytes) -> list[str]:
    if not isinstance(error, UnicodeDecodeError):
        return []
    line = data.count(b"\n", 0, error.start) + 1
    return [f"does not fit, first in line {line:,}: {counted(error.end - error.start, 'byte')}"]
