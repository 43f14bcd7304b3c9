"""`shopsight recipes`: the shipped recipes, and the text of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_table

if TYPE_CHECKING:
    from shopsight.config.sections import About


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this recipe.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the shipped recipes, or print one (a start for your own)."""
    from shopsight.config.recipe import load_recipe, recipe_names, recipe_path

    if name is not None:
        recipe = load_recipe(name)
        if json:
            print_json(recipe.model_dump(mode="json"))
        else:
            sys.stdout.write(recipe_path(name).read_text(encoding="utf-8"))
        return
    abouts = {shipped: load_recipe(shipped).about for shipped in recipe_names()}
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


def _row(name: str, about: About) -> list[str]:
    measured = about.measured or "not measured"
    return [name, about.data, about.reported, measured, about.cost, about.source]
