"""`shopsight data`: the data sets that are known by name."""

from __future__ import annotations

from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_table


def data(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Describe this one.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the data sets known by name, or show where shopsight looks for one."""
    if name is None:
        _list(json)
    else:
        _describe(api.data_set(name), json)


def _list(json: bool) -> None:
    known = api.data_sets()
    if json:
        print_json([one.to_json() for one in known])
        return
    columns = [
        Column("data set", fold=False),
        Column("title"),
        Column("images", right=True),
        Column("classes", right=True),
        Column("license"),
    ]
    rows = [
        [
            one.name,
            one.title,
            api.count_text(one.num_images),
            api.count_text(one.num_classes),
            one.license,
        ]
        for one in known
    ]
    print_table(columns, rows)
    print_line("any image data set of the Hugging Face hub: hf:OWNER/NAME")
    print_line("where shopsight looks for one: shopsight data NAME")


def _describe(one: api.DataSet, json: bool) -> None:
    if json:
        print_json(one.to_json())
        return
    rows = {
        "name": one.name,
        "title": one.title,
        "license": one.license,
        "classes": str(one.num_classes),
        "images": str(one.num_images),
        "source": one.source,
        "recipes": ", ".join(one.recipes) or "-",
    }
    for key, text in rows.items():
        print_line(f"{key + ':':9} {text}")
    print_line(f"use it:   shopsight audit {one.name}")
