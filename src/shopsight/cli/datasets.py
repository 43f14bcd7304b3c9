"""`shopsight data`: the data sets that are known by name."""

from __future__ import annotations

from typing import Annotated

import typer

from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, count, print_json, print_line, print_table


def data(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Tell all about this one.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the data sets known by name, or tell where one is looked for."""
    from shopsight.config.recipe import load_recipe, recipe_names
    from shopsight.datasets.registry import DATASETS, dataset

    chosen = DATASETS.values() if name is None else [dataset(name)]
    facts = [
        {
            "name": one.name,
            "title": one.title,
            "license": one.licence,
            "classes": one.classes,
            "images": one.images,
            "source": one.source,
            "recipes": [
                recipe for recipe in recipe_names() if load_recipe(recipe).about.data == one.name
            ],
        }
        for one in chosen
    ]
    if json:
        print_json(facts if name is None else facts[0])
        return
    if name is not None:
        for key, value in facts[0].items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            print_line(f"{key + ':':9} {text or '-'}")
        print_line(f"use it:   shopsight audit {name}")
        return
    columns = [
        Column("data set", fold=False),
        Column("title"),
        Column("images", right=True),
        Column("classes", right=True),
        Column("license"),
    ]
    print_table(
        columns,
        [
            [one.name, one.title, count(one.images), count(one.classes), one.licence]
            for one in chosen
        ],
    )
    print_line("any image data set of the Hugging Face hub: hf:OWNER/NAME")
    print_line("where one is looked for: shopsight data NAME")
