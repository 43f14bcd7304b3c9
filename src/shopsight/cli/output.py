"""What the commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDE = 200


def print_json(value: Any) -> None:
    """The result as JSON, alone on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_line(text: str = "") -> None:
    sys.stdout.write(text + "\n")


def print_note(text: str) -> None:
    """A line that is not the result: on stderr."""
    sys.stderr.write(text + "\n")


@dataclass(frozen=True)
class Column:
    name: str
    right: bool = False
    fold: bool = True


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> None:
    """A table on stdout; columns wrap to the terminal, and stay whole when piped."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.fold,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # COLUMNS is honoured by rich itself; a pipe has no width, and must not cut anything.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def count(number: int) -> str:
    return f"{number:,}"
