"""A long text of a table in pieces: less memory, and most of it read by polars.

What the csv module takes of a text, and which rows it refuses, is what counts; polars reads those
pieces that both read alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, UInt8

from shopsight.tables.row_check import RowCheck, empty_as_null

_QUOTE, _END, _RETURN = ord('"'), ord("\n"), ord("\r")
PIECE_CHARACTERS = 1_000_000
"""A text is read in pieces of about so many characters."""


def lines_of_text(text: str) -> Iterator[str]:
    """Lines with their ends, as a file gives them that was opened with `newline=""`.

    Made of pieces of the text: the memory of `StringIO` is four bytes for each letter.
    """
    for piece in _pieces(text):
        yield from io.StringIO(piece, newline="")


def whole_rows(text: str) -> Iterator[str]:
    """The text in pieces that end where a row does.

    Behind an even number of quotes no cell is open, unless one stands within a cell without quotes:
    then the reader of the piece says that it ends too early.
    """
    begun, quotes = list[str](), 0
    for piece in _pieces(text):
        begun.append(piece)
        quotes += piece.count('"')
        if quotes % 2 == 0:
            yield "".join(begun)
            begun.clear()
    yield "".join(begun)


def read_well_formed(piece: str, separator: str, check: RowCheck) -> pl.DataFrame | None:
    """The rows of a part by polars, several times as fast; None where it may read them otherwise.

    Quotes must stand around whole cells, which may be of several lines, and each row must have its
    number of separators.
    """
    # A mark of a byte order would be taken away.
    if "\ufeff" in piece:
        return None
    data = _with_plain_ends(np.frombuffer(piece.encode(), np.uint8))
    if data is None:
        return None
    inside = _within_quotes(data, ord(separator))
    if inside is None:
        return None
    ends = np.flatnonzero((data == _END) & ~inside)
    marks = np.flatnonzero((data == ord(separator)) & ~inside)
    if not len(ends):
        return None
    is_blank = check.width == 1 and (np.diff(ends, prepend=-1) == 1).any()
    if is_blank or (np.diff(np.searchsorted(marks, ends), prepend=0) != check.width - 1).any():
        return None
    has_quotes = inside.any()
    columns = {str(at): pl.String for at in range(check.width)}
    frame = pl.read_csv(
        io.BytesIO(data.tobytes()), has_header=False, separator=separator, schema=columns
    )
    if len(frame) != len(ends):
        return None
    frame = empty_as_null(frame) if has_quotes and '""' in piece else frame
    if check.header is not None and frame["0"].eq_missing(check.header[0] or None).any():
        return None  # The header may be there again.
    return frame


def _with_plain_ends(data: UInt8[np.ndarray, "n"]) -> UInt8[np.ndarray, "m"] | None:
    """The bytes of rows that end in line feeds, the last too; None where some end otherwise.

    Within quotes, line ends are a part of the cell and stay.
    """
    if len(data) and data[-1] != _END:
        data = np.append(data, np.uint8(_END))
    returns = data == _RETURN
    if not returns.any():
        return data
    within = _is_odd_count(data == _QUOTE)
    before_end = np.append(data[1:] == _END, False)
    if (returns & ~before_end & ~within).any():
        return None
    kept: UInt8[np.ndarray, "m"] = data[~(returns & ~within)]
    return kept


def _within_quotes(data: UInt8[np.ndarray, "n"], separator: int) -> Bool[np.ndarray, "n"] | None:
    """Which bytes lie within quotes; None unless these stand around whole cells.

    Of the quotes, every other one opens: one behind a separator or a line end, or the second of a
    pair that is a quote within a cell. The others close, before a separator, a line end or a quote.
    """
    is_quote = data == _QUOTE
    if not is_quote.any():
        return np.zeros(len(data), bool)
    places = np.flatnonzero(is_quote)
    if len(places) % 2:
        return None
    cell_ends = np.isin(data, (separator, _END, _QUOTE))
    opening, closing = places[::2], places[1::2]
    good = (opening == 0) | cell_ends[opening - 1]
    if not good.all() or not cell_ends[closing + 1].all():
        return None
    return _is_odd_count(is_quote)


def _is_odd_count(marks: Bool[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Whether the number of marks up to each place, and with it, is odd."""
    # Counted modulo 256, which is even: an eighth of the memory.
    counts = np.cumsum(marks, dtype=np.uint8)
    return (counts & 1).view(np.bool_)


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end where a line does."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE_CHARACTERS) + 1 or len(text)
        yield text[start:end]
        start = end
