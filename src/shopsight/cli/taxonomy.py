"""`shopsight taxonomy`: whether the labels of DATA are paths that a platform knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataArgument, DataOptions, takes_data
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress

SHOWN = 50
"""Paths that are printed; --json has them all."""


@takes_data
def check(
    data: DataArgument,
    options: DataOptions,
    taxonomy: Annotated[
        str,
        typer.Option(
            "--taxonomy",
            metavar="shopify|FILE",
            help="Look labels up in Shopify's list, or in a text file with a path on each line.",
        ),
    ],
) -> None:
    """Name the labels of DATA that a taxonomy does not have, with the nearest paths that it has.

    No image is read. Exits with 1 if some labels do not exist.
    """
    with shown_progress():
        found = api.check_taxonomy(data, taxonomy=taxonomy, read=options.read)
    if options.json:
        print_json(found.to_json())
    else:
        _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: api.TaxonomyCheck) -> None:
    for one in found.unknown[:SHOWN]:
        print_line(f"{one.label} ({api.counted(one.images, 'image')})")
        if one.known is not None:
            print_line(f"  exists down to: {one.known}")
        for near in one.nearest:
            print_line(f"  near: {near}")
    if len(found.unknown) > SHOWN:
        print_line(f"... ({api.count_text(len(found.unknown))} in all; --json has them)")
    version = f" {found.version}" if found.version else ""
    known = f"{found.taxonomy}{version} ({api.counted(found.num_paths, 'path')})"
    labels = api.counted(found.num_labels, "label")
    if found.ok:
        print_line(f"{labels} of {found.data} are all in {known}{_ids(found)}")
        return
    print_line(
        f"{len(found.unknown):,} of {labels} of {found.data} "
        f"({api.counted(found.unknown_images, 'image')} of {found.num_images:,}) are not in "
        f"{known}{_ids(found)}"
    )


def _ids(found: api.TaxonomyCheck) -> str:
    return f"; {found.ids:,} as ids" if found.ids else ""


COMMANDS: dict[str, Callable[..., None]] = {"check": check}
"""The verbs of `shopsight taxonomy`."""
