"""Whether the rows of a text fit in memory: where they do not, polars ends the process."""

from __future__ import annotations

from shopsight.errors import TableError
from shopsight.memory import address_space_left_bytes, memory_budget_bytes
from shopsight.text import human_bytes

TOO_LARGE = "a machine with more memory, or a table of fewer columns or rows"
# The text and what the columns hold of it; of a cell, views in the pieces and in the whole.
_COPIES_OF_TEXT = 2
_CELL_BYTES = 32
# Allocators of several threads reserve so many addresses for a byte: five million rows, 6.3 GB.
_ADDRESSES_OF_BYTE = 6
SMALL_BYTES = 100_000_000
"""What takes no more is read in any case."""


def check_table_room(text: str, columns: int, where: str) -> None:
    """Refuse a text whose rows take more memory than may be.

    What they take at least: five million rows of three cells and 56 characters take 1.0 GB by this,
    and 1.7 GB at the peak with the work on them. Under `ulimit -v` it is addresses that run out.

    Args:
        text: the rows.
        columns: of the table.
        where: the file, for errors.

    Raises:
        TableError: there is not enough memory.
    """
    needed = _COPIES_OF_TEXT * len(text) + _CELL_BYTES * columns * text.count("\n")
    if needed <= SMALL_BYTES:
        return
    most = memory_budget_bytes()
    addresses = address_space_left_bytes()
    if addresses is not None:
        most = min(most, addresses // _ADDRESSES_OF_BYTE)
    if needed > most:
        raise TableError(
            f"its table takes {human_bytes(needed)} of memory; {human_bytes(most)} may be taken",
            where=where,
            fix=TOO_LARGE + (", or a higher `ulimit -v`" if addresses is not None else ""),
        )
