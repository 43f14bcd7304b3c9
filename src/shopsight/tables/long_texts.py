"""A long text of a table in pieces: less memory, and most of it read by polars.

What the csv module takes of a text, and which rows it refuses, is what counts; polars reads those
pieces that both read alike.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import polars as pl

from shopsight.tables.row_check import RowCheck, empty_as_null

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

    Quotes must stand around whole cells, and each line must have its number of separators.
    """
    text = piece.replace("\r\n", "\n").removesuffix("\n")
    bare = _quoted_cells(separator).sub("", text) if '"' in text else text
    # A mark of a byte order would be taken away.
    if any(mark in f"\n{bare}\n" for mark in ('"', "\r", "\n\n", "\n\ufeff")):
        return None
    data = np.frombuffer(f"{bare}\n".encode(), np.uint8)
    ends, marks = (np.flatnonzero(data == ord(mark)) for mark in ("\n", separator))
    if (np.diff(np.searchsorted(marks, ends), prepend=0) != check.width - 1).any():
        return None
    columns = {str(at): pl.String for at in range(check.width)}
    frame = pl.read_csv(
        io.BytesIO(text.encode()), has_header=False, separator=separator, schema=columns
    )
    frame = empty_as_null(frame) if '""' in text else frame
    if check.header is not None and frame["0"].eq_missing(check.header[0] or None).any():
        return None  # The header may be there again.
    return frame


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end where a line does."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE_CHARACTERS) + 1 or len(text)
        yield text[start:end]
        start = end


@cache
def _quoted_cells(separator: str) -> re.Pattern[str]:
    """Cells within quotes, on one line."""
    mark = re.escape(separator)
    return re.compile(rf'(?:^|(?<={mark}))"[^"\n]*(?:""[^"\n]*)*"(?={mark}|$)', re.MULTILINE)
