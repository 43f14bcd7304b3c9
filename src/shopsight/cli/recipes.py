"""`shopsight recipes`: the shipped recipes, and the text of one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_table


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this recipe.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the shipped recipes, or print one (a start for your own)."""
    if name is not None:
        if json:
            print_json(api.recipe(name).model_dump(mode="json"))
        else:
            sys.stdout.write(api.recipe_text(name))
        return
    abouts = api.recipes()
    if json:
        print_json([{"name": shipped} | about.model_dump() for shipped, about in abouts.items()])
        return
    columns = [
        Column("recipe", fold=False),
        Column("data", fold=False),
        Column("reported"),
        Column("measured here"),
        Column("cost"),
        Column("source"),
    ]
    print_table(columns, [_row(shipped, about) for shipped, about in abouts.items()])
    print_line("print one: shopsight recipes NAME")
    print_line("use one:   shopsight train DATA --recipe NAME --out runs/NAME")


def _row(name: str, about: api.About) -> list[str]:
    measured = about.measured or "not measured"
    return [name, about.data, about.reported, measured, about.cost, about.source]
