"""Writes docs/cli.md from the commands themselves: `python -m shopsight.cli.reference FILE`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shopsight.cli.options import PANEL

HEADER = """\
# Commands

Written by `make docs` from the commands themselves; a test compares the two.
Results go to stdout, progress and notes to stderr. Exit codes: 0 done, 1 a check failed, 2 a
mistake in the command or the data, 70 a bug of shopsight, 130 interrupted. `--debug` anywhere on
the line shows the whole traceback of an error.
"""
DATA_FLAGS = """\
## Data flags

How DATA is read. They mean the same for every command that takes DATA.
"""


def reference() -> str:
    """The Markdown page of all commands."""
    from typer.main import get_command

    from shopsight.cli.app import app

    commands = dict(all_commands(get_command(app)))
    pages = [_command_page(name, command) for name, command in commands.items()]
    data = [option for option in commands["audit"].params if _panel(option) == PANEL]
    flags = "\n".join([DATA_FLAGS, *_table([_option_row(option) for option in data])])
    return "\n".join([HEADER, *pages, flags])


def all_commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """The commands of a group by their whole names, such as "index build"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _command_page(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    words = " ".join(_argument_name(argument) for argument in arguments)
    lines = [f"## shopsight {name}", "", inspect.cleandoc(command.help or ""), ""]
    lines += ["```", f"shopsight {name} {words} [OPTIONS]".replace("  ", " "), "```", ""]
    rows = [f"| `{_argument_name(item)}` | {_text(item.help)} |" for item in arguments]
    own = [option for option in options if _panel(option) != PANEL]
    rows += [_option_row(option) for option in own]
    rows += ["| [data flags](#data-flags) | How DATA is read. |"] * (len(own) < len(options))
    return "\n".join([*lines, *_table(rows)])


def _panel(parameter: Any) -> str | None:
    panel: str | None = getattr(parameter, "rich_help_panel", None)
    return panel


def _table(rows: list[str]) -> list[str]:
    return ["| | |", "|---|---|", *rows, ""] if rows else []


def _argument_name(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = name if argument.required else f"[{name}]"
    return str(name) + "..." * (argument.nargs == -1 and not name.rstrip("]").endswith("..."))


def _option_row(option: Any) -> str:
    flags = "/".join(option.opts + option.secondary_opts)
    value = "" if option.is_flag else f" {_text(option.metavar or option.name.upper())}"
    shown = [_text(option.help)]
    # A default of None, False or nothing is what leaving the flag out means anyway.
    if option.default not in (None, False, [], ()) and not callable(option.default):
        shown.append(f"Default: `{option.default}`.")
    if option.required:
        shown.append("Required.")
    return str(f"| `{flags}{value}` | {' '.join(shown)} |")


def _text(help: str | None) -> str:
    # In Markdown a bar ends the cell, and <label> is a tag that no browser shows.
    return " ".join((help or "").split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8", newline="\n")
