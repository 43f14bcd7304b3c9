"""What the commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from shopsight import api
from shopsight.cli import streams
from shopsight.control_characters import json_text, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console

# The exit code of a program that Ctrl-C ended.
INTERRUPTED = 130
WIDE = 200
# rich puts this between two columns of a table.
BETWEEN_COLUMNS = "   "
# A longer word (mostly a path) may be broken.
LONGEST_WORD = 48
SHOWN_FAILURES = 5
"""Images that are named where some could not be read."""
# A taller cell makes the rows of a table hard to follow.
MOST_LINES = 5


def print_json(value: Any) -> None:
    """Print the result as JSON, alone on stdout."""
    sys.stdout.write(json_text(value, indent=2, default=str) + "\n")


def print_line(text: str = "") -> None:
    """Print a line of the result, on stdout; what a terminal would obey is written as escapes."""
    sys.stdout.write(one_line(text) + "\n")


def print_note(text: str) -> None:
    """Print what is not the result, on stderr, likewise; an error has several lines."""
    sys.stderr.write(printable(text) + "\n")


def print_not_read(failed: Collection[tuple[str, str]], *, then: str = "") -> None:
    """Print which images could not be read, on stderr: some by name, and how many there are.

    Args:
        failed: their names, each with why.
        then: what becomes of them.
    """
    for name, why in list(failed)[:SHOWN_FAILURES]:
        print_note(f"not read: {name}: {why}")
    if len(failed) > SHOWN_FAILURES or (failed and then):
        print_note(f"not read: {api.counted(len(failed), 'image')}" + f"; {then}" * bool(then))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        right: align cells at the right.
        fold: wrap cells that are too long.
    """

    name: str
    right: bool = False
    fold: bool = True


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> None:
    """Print a table on stdout, or a block of lines per row where the terminal is too narrow.

    Columns wrap between words, which stay whole.

    Args:
        columns: their names and alignment.
        rows: a cell for each column.
        title: a line above the table.
    """
    from rich.console import Console
    from rich.text import Text

    columns = [replace(column, name=one_line(column.name)) for column in columns]
    rows = [[one_line(cell) for cell in row] for row in rows]
    # COLUMNS is honored by rich itself; a pipe has no width, and must not cut anything.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    console = Console(file=streams.terminal(sys.stdout), width=width, highlight=False)
    if title is not None:
        console.print(Text(one_line(title)))
        print_line()
    widths = _widths(columns, rows, console.width)
    if widths is None:
        _print_blocks(console, columns, rows)
    else:
        _print_columns(console, columns, rows, widths)
    print_line()


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> list[int] | None:
    """The width of each column; None if they do not fit side by side, or only in tall cells."""
    from rich.cells import cell_len

    cells = [[column.name, *(row[index] for row in rows)] for index, column in enumerate(columns)]
    whole = [max(map(cell_len, column)) for column in cells]
    least = [
        min(LONGEST_WORD, max(cell_len(word) for cell in column for word in cell.split(" ")))
        if folds.fold
        else length
        for folds, column, length in zip(columns, cells, whole, strict=True)
    ]
    spare = width - len(BETWEEN_COLUMNS) * (len(columns) - 1) - sum(least)
    if spare < 0:
        return None
    asked = [most - word for most, word in zip(whole, least, strict=True)]
    fraction = min(1.0, spare / max(1, sum(asked)))
    widths = [word + int(fraction * more) for word, more in zip(least, asked, strict=True)]
    tall = any(most > MOST_LINES * given for most, given in zip(whole, widths, strict=True))
    return None if tall else widths


def _print_columns(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        show_header=any(column.name for column in columns),
    )
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(Text(column.name), justify=justify, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _print_blocks(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> None:
    """Print the first cell of each row, and below it the others by the names of their columns."""
    from rich.table import Table
    from rich.text import Text

    for number, row in enumerate(rows):
        if number:
            print_line()
        console.print(Text(row[0], overflow="fold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, min_width=max(2 + len(column.name) for column in columns))
        grid.add_column(overflow="fold")
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell:
                grid.add_row(Text(f"  {column.name}"), Text(cell))
        console.print(grid)
